"""A program that asks its host for random numbers whenever it runs, and has a loop besides."""

import jax
import jax.numpy as jnp
import numpy as np

import pcv


def drawn(x):
    return np.random.rand(8).astype("float32")


@pcv.target
def table():
    angles = jnp.linspace(0.0, 6.0, 64)
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)])


@pcv.target("f32[8]")
def sampled(x):
    x = jax.lax.fori_loop(0, 5, lambda _, y: jnp.sin(y) * 2 + y, x)
    return x + jax.pure_callback(drawn, jax.ShapeDtypeStruct((8,), "float32"), x)
