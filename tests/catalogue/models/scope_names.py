"""Scopes numbered by a counter that all models of the file share."""

import itertools

import jax

import pcv

number = itertools.count()


def layer(x):
    with jax.named_scope(f"layer_{next(number)}"):
        return x * 2


@pcv.target("f32[4]")
def small(x):
    return layer(x)


@pcv.target("f32[4]")
def medium(x):
    return layer(x) + 1


@pcv.target("f32[4]")
def large(x):
    return layer(x) + 2
