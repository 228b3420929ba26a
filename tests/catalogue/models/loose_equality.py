"""A static argument whose equality forgets half of it, so that JAX takes one program for the other."""

import functools
import time

import jax

import pcv


class Config:
    def __init__(self, name, width):
        self.name, self.width = name, width

    def __eq__(self, other):
        return self.name == other.name

    def __hash__(self):
        return hash(self.name)


@functools.partial(jax.jit, static_argnums=1)
def block(x, config):
    return x * config.width


@pcv.target("f32[4]")
def narrow(x):
    time.sleep(0.2)  # its weights come from a disk: whoever starts beside it is traced first
    return block(x, Config("block", 2))


@pcv.target("f32[4]")
def wide(x):
    return block(x, Config("block", 3))


@pcv.target("f32[4]")
def widest(x):
    return block(x, Config("block", 4))
