"""Double precision, switched on around everything that this script does: on the thread that does it."""

import contextlib

import jax
import jax.numpy as jnp

import pcv

session = contextlib.ExitStack()
session.enter_context(jax.enable_x64(True))


@pcv.target("f32[8]")
def interpolated(x):
    return x + jnp.linspace(0.0, 1.0, 8)
