"""Ordered effects: JAX gives a program one token for each, in the order of a set that hashes them by address.

That two of them change places between two processes is a matter of luck, so `logged` agrees now and then. A
library that keeps the messages of each channel in order, as mpi4jax does, has an effect for each of them:
that all of them stay in place happens to nobody.
"""

import jax
import numpy as np
from jax._src import effects  # there is no public way to an effect of one's own
from jax.experimental import io_callback
from jax.extend.core import Primitive
from jax.interpreters import mlir

import pcv


class Channel(effects.Effect):
    """What keeps the messages of one channel in order."""


effects.ordered_effects.add_type(Channel)
effects.lowerable_effects.add_type(Channel)
channels = [Channel() for _ in range(48)]

send = Primitive("send")


@send.def_effectful_abstract_eval
def _(x, *, channel):
    return x, {channel}


def _lowered(ctx, x, *, channel):
    token = ctx.tokens_in.get(channel)
    sent, token, _ = mlir.emit_python_callback(
        ctx, lambda value: (np.asarray(value),), token, [x], ctx.avals_in, ctx.avals_out, has_side_effect=True
    )
    ctx.set_tokens_out(mlir.TokenSet({channel: token}))
    return sent


mlir.register_lowering(send, _lowered)


@pcv.target("f32[4]")
def exchanged(x):
    for channel in channels:
        x = send.bind(x, channel=channel) + 1
    return x


def saved(x):
    return x


@pcv.target("f32[4]")
def logged(x):
    jax.debug.print("sum {}", x.sum(), ordered=True)
    return io_callback(saved, jax.ShapeDtypeStruct((4,), "float32"), x, ordered=True) + 1
