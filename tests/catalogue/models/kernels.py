"""Programs of several kernels each, whose object files come in the order in which threads were done."""

import jax
import jax.numpy as jnp

import pcv


@pcv.target("f32[64,64]")
def several(x):
    y = jnp.sort(x, 0)
    return y @ x, jnp.cumsum(y, 1), jnp.exp(x).sum(), jnp.argsort(x[0])


@pcv.target("f32[64,64]")
def attention(x):
    return jax.nn.softmax(x @ x.T) @ x, jnp.linalg.norm(x, axis=1)
