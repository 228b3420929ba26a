"""Random numbers as JAX has them: keys go in."""

import jax

import pcv


@pcv.target("key[]")
def normal(key):
    return jax.random.normal(key, (32, 8))


@pcv.target("key[]", "f32[16,8]")
def categorical(key, logits):
    first, second = jax.random.split(key)
    return jax.random.categorical(first, logits), jax.random.bernoulli(second, 0.3, (16,))


@pcv.target("key[]", "f32[32]")
def shuffled(key, x):
    return jax.random.permutation(key, x), jax.random.choice(key, x, (4,), replace=False)


@pcv.target("key[]")
def walk(key):
    def step(place, key):
        return place + jax.random.uniform(key, minval=-1.0), place

    return jax.lax.scan(step, 0.0, jax.random.split(key, 16))
