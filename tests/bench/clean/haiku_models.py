"""Haiku: functions transformed into pairs of pure ones."""

import haiku as hk
import jax
import jax.numpy as jnp

import pcv


def residual(images):
    """A residual block with batch norm."""
    x = hk.Conv2D(8, 3)(images)
    y = jax.nn.relu(hk.BatchNorm(create_scale=True, create_offset=True, decay_rate=0.9)(x, is_training=True))
    y = hk.Conv2D(8, 3)(y)
    return jax.nn.relu(x + y).mean(axis=(1, 2))


def recurrent(xs):
    """An LSTM over time."""
    core = hk.LSTM(8)
    outputs, _ = hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))
    return hk.Linear(2)(outputs)


def perceptron(x):
    """Three dense layers."""
    return hk.nets.MLP([32, 32, 4])(x)


resnet = hk.transform_with_state(residual)
lstm = hk.without_apply_rng(hk.transform(recurrent))
mlp = hk.without_apply_rng(hk.transform(perceptron))


def resnet_arguments():
    images = jax.ShapeDtypeStruct((4, 8, 8, 3), "float32")
    return *jax.eval_shape(resnet.init, jax.random.key(0), images), images


def lstm_params():
    return jax.eval_shape(lstm.init, jax.random.key(0), jnp.zeros((5, 2, 3)))


def mlp_params():
    return jax.eval_shape(mlp.init, jax.random.key(0), jnp.zeros((1, 8)))


@pcv.target(args=resnet_arguments)
def resnet_block(params, state, images):
    return resnet.apply(params, state, None, images)


@pcv.target(args=(lstm_params, "f32[5,2,3]"))
def sequence(params, xs):
    return lstm.apply(params, xs)


@pcv.target(args=(mlp_params, "f32[16,8]", "f32[16,4]"))
def mlp_gradient(params, x, y):
    return jax.grad(lambda params: jnp.mean((mlp.apply(params, x) - y) ** 2))(params)
