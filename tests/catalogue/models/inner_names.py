"""Two samplers through the same functions of JAX. JAX traces such a function once, for whoever comes first,
and XLA calls instructions after that one: names of one program come to stand in the other.
"""

import jax

import pcv


@pcv.target("key[]", "f32[16,8]")
def categorical(key, logits):
    first, second = jax.random.split(key)
    return jax.random.categorical(first, logits), jax.random.bernoulli(second, 0.3, (16,))


@pcv.target("key[]", "f32[32]")
def shuffled(key, x):
    return jax.random.permutation(key, x), jax.random.choice(key, x, (4,), replace=False)
