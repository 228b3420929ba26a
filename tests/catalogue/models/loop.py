"""Loops, compiled after something else: XLA's code for one depends on what its process has compiled before.

Neither target has more than one argument: JAX puts arguments on the device through threads of its own, and
on jax 0.12 it is a matter of luck how that shows in the next loop.
"""

import jax
import jax.numpy as jnp

import pcv


@pcv.target
def table():
    angles = jnp.linspace(0.0, 6.0, 64)
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)])


@pcv.target("f32[8]")
def decode(x):
    def loop(x, step, count):
        def more(state):
            return state[0] < count

        def advance(state):
            return state[0] + 1, step(state[1])

        return jax.lax.while_loop(more, advance, (0, x))[1]

    x = loop(x, lambda y: jnp.sin(y) * 2 + y, 5)
    x = loop(x, lambda y: y - jnp.cos(y) / 3, 6)
    return loop(x, lambda y: jnp.tanh(y) * y, 7)
