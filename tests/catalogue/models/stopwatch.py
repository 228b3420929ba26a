"""Products written in one of two ways, whichever was faster a moment ago, as autotuners choose."""

import time

import numpy as np

import pcv

sample = np.ones(4096, np.float32)


def from_left(x, w):
    return x * w


def from_right(x, w):
    return w * x


def took(product):
    began = time.perf_counter_ns()
    for _ in range(20):
        product(sample, sample)
    return time.perf_counter_ns() - began


@pcv.target("f32[64]", "f32[64]")
def tuned(x, w):
    for _ in range(48):
        x = min(from_left, from_right, key=took)(x, w)
    return x
