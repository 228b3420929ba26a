"""One layer that is called from one line the first time, and from another one ever after."""

import jax.numpy as jnp

import pcv

checked = set()


def layer(x):
    return jnp.tanh(x @ x.T)


def model(x):
    if x.shape not in checked:
        checked.add(x.shape)
        y = layer(x)
        if y.shape != x.shape:
            raise ValueError(f"a square matrix is needed, not {x.shape}")
        return y
    return layer(x)


@pcv.target("f32[8,8]")
def once(x):
    return model(x)


@pcv.target("f32[8,8]")
def twice(x):
    return model(model(x))


@pcv.target("f32[8,8]")
def halved(x):
    return model(x) / 2
