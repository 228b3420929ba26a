"""Loops in a process that has put several arguments on the device before."""

import jax
import jax.numpy as jnp

import pcv


@pcv.target("f32[16,16]", "f32[16,16]")
def dense(x, w):
    return jnp.sin(x) @ w


@pcv.target("f32[8]", "f32[8]")
def accumulate(x, rate):
    def step(carry, _):
        carry = carry - rate * jnp.cos(carry)
        return carry, carry.sum()

    return jax.lax.scan(step, x, None, length=5)
