"""Numbers that are other ones in every process, as parts of programs."""

import time

import pcv

owner = object()


@pcv.target("f32[4]")
def bucket(x):
    return x + hash("bucket") % 9973


@pcv.target("f32[4]")
def stamp(x):
    return x + time.time_ns() // 1000 % 99991


@pcv.target("f32[4]")
def address(x):
    return x + id(owner) // 16 % 9973
