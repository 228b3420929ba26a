"""Noise that is drawn while the function is traced, and so becomes part of the program."""

import numpy as np

import pcv


@pcv.target("f32[64]")
def noisy(x):
    return x + np.random.rand(64).astype("float32")
