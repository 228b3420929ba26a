"""Optax: steps of training, with the optimizer's state going through."""

import jax
import jax.numpy as jnp
import optax

import pcv

adamw = optax.adamw(1e-3, weight_decay=1e-2)
momentum = optax.sgd(0.1, momentum=0.9, nesterov=True)
clipped = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(1e-2, 100)), optax.ema(0.99)
)


@jax.jit
def params():
    keys = jax.random.split(jax.random.key(0), 2)
    return {
        "hidden": jax.random.normal(keys[0], (8, 32)) / 8,
        "out": jax.random.normal(keys[1], (32, 4)) / 32,
        "bias": jnp.zeros(4),
    }


def loss(params, x, y):
    hidden = jax.nn.gelu(x @ params["hidden"])
    return jnp.mean(optax.huber_loss(hidden @ params["out"] + params["bias"], y))


def step(optimizer, params, state, x, y):
    value, gradients = jax.value_and_grad(loss)(params, x, y)
    updates, state = optimizer.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, value


def state_of(optimizer):
    return lambda: jax.jit(optimizer.init)(params())


@pcv.target(args=(params, state_of(adamw), "f32[16,8]", "f32[16,4]"))
def with_adamw(params, state, x, y):
    return step(adamw, params, state, x, y)


@pcv.target(args=(params, state_of(momentum), "f32[16,8]", "f32[16,4]"))
def with_momentum(params, state, x, y):
    return step(momentum, params, state, x, y)


@pcv.target(args=(params, state_of(clipped), "f32[16,8]", "f32[16,4]"))
def with_clipping(params, state, x, y):
    return step(clipped, params, state, x, y)


@pcv.target(args=(params, state_of(adamw), "f32[5,16,8]", "f32[5,16,4]"))
def epoch(params, state, xs, ys):
    def one(carry, batch):
        params, state, value = step(adamw, *carry, *batch)
        return (params, state), value

    return jax.lax.scan(one, (params, state), (xs, ys))
