"""Equinox: modules are pytrees, activation functions among their leaves."""

import equinox as eqx
import jax
import jax.numpy as jnp

import pcv


def shape_of(make, *sizes):
    """A model whose arrays are shapes only, to be filled: drawing parameters takes longer than building."""
    return eqx.filter_eval_shape(lambda key: make(*sizes, key=key), jax.random.key(0))


def mlp():
    return shape_of(eqx.nn.MLP, 8, 4, 32, 2)


class Classifier(eqx.Module):
    """Two convolutions, pooling and a linear layer."""

    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    pool: eqx.nn.MaxPool2d
    out: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.first = eqx.nn.Conv2d(1, 4, 3, key=keys[0])
        self.second = eqx.nn.Conv2d(4, 8, 3, key=keys[1])
        self.pool = eqx.nn.MaxPool2d(2, 2)
        self.out = eqx.nn.Linear(8 * 6 * 6, 10, key=keys[2])

    def __call__(self, image):
        x = jax.nn.relu(self.first(image))
        x = self.pool(jax.nn.relu(self.second(x)))
        return self.out(x.reshape(-1))


class Block(eqx.Module):
    """Self-attention between a norm and a residual connection."""

    norm: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention

    def __init__(self, key):
        self.norm = eqx.nn.LayerNorm(16)
        self.attention = eqx.nn.MultiheadAttention(2, 16, key=key)

    def __call__(self, x):
        y = jax.vmap(self.norm)(x)
        return x + self.attention(y, y, y)


# What is no array in it, such as whether dropout is on, is settled before anything is traced.
arrays, settled = eqx.partition(shape_of(Block), lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))


@pcv.target(args=(mlp, "f32[16,8]"))
def forward(model, x):
    return jax.vmap(model)(x)


@pcv.target(args=(mlp, "f32[16,8]", "f32[16,4]"))
def gradient(model, x, y):
    def loss(model):
        return jnp.mean((jax.vmap(model)(x) - y) ** 2)

    return eqx.filter_grad(loss)(model)


@pcv.target(args=(lambda: shape_of(Classifier), "f32[4,1,16,16]"))
def convolution(model, images):
    return jax.nn.log_softmax(jax.vmap(model)(images))


@pcv.target(args=(lambda: arrays, "f32[12,16]"))
def attention(model, x):
    return eqx.combine(model, settled)(x)


@pcv.target(args=(lambda: shape_of(eqx.nn.GRUCell, 4, 8), "f32[10,4]"))
def recurrent(cell, xs):
    def step(state, x):
        return cell(x, state), None

    return jax.lax.scan(step, jnp.zeros(8), xs)[0]
