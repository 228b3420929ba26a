"""Flax linen: modules beside their parameters, of which only the shapes are made here, to be filled: drawing
them takes longer than building the models.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import pcv


class MLP(nn.Module):
    """Dense layers with dropout."""

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.relu(nn.Dense(32)(x))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(4)(x)


class Transformer(nn.Module):
    """One block of a decoder."""

    @nn.compact
    def __call__(self, x):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=2)(y, y, mask=nn.make_causal_mask(x[..., 0]))
        y = nn.LayerNorm()(x)
        return x + nn.Dense(16)(nn.gelu(nn.Dense(64)(y)))


class Normed(nn.Module):
    """Convolution and batch norm, whose averages are state."""

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.Conv(4, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        return nn.Dense(10)(x.mean(axis=(1, 2)))


mlp, transformer, normed = MLP(), Transformer(), Normed()
optimizer = optax.sgd(0.1)


def mlp_variables():
    return jax.eval_shape(partial(mlp.init, train=False), jax.random.key(0), jnp.zeros((1, 8)))


def transformer_variables():
    return jax.eval_shape(transformer.init, jax.random.key(0), jnp.zeros((1, 6, 16)))


def normed_variables():
    return jax.eval_shape(partial(normed.init, train=False), jax.random.key(0), jnp.zeros((1, 8, 8, 1)))


@pcv.target(args=(mlp_variables, "f32[16,8]"))
def forward(variables, x):
    return mlp.apply(variables, x, train=False)


@pcv.target(args=(mlp_variables, "f32[16,8]", "key[]"))
def dropout(variables, x, key):
    return mlp.apply(variables, x, train=True, rngs={"dropout": key})


@pcv.target("key[]")
def initialization(key):
    return transformer.init(key, jnp.zeros((1, 6, 16)))


@pcv.target(args=(transformer_variables, "f32[2,6,16]"))
def block(variables, x):
    return transformer.apply(variables, x)


@pcv.target(args=(normed_variables, "f32[4,8,8,1]", "f32[4,10]"))
def train_step(variables, images, wanted):
    def loss(params):
        logits, updated = normed.apply(
            {"params": params, "batch_stats": variables["batch_stats"]},
            images, train=True, mutable=["batch_stats"],
        )  # fmt: skip
        return optax.softmax_cross_entropy(logits, jax.nn.softmax(wanted)).mean(), updated

    (value, updated), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    updates, _ = optimizer.update(gradients, optimizer.init(variables["params"]))
    return value, optax.apply_updates(variables["params"], updates), updated
