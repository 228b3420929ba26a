"""Two models that hand their settings down through a global, with something slow in between."""

import time

import pcv

settings = {}


def scaled(x):
    time.sleep(0.2)  # weights come from a disk
    return x * settings["scale"]


@pcv.target("f32[4]")
def coarse(x):
    settings["scale"] = 2.0
    return scaled(x)


@pcv.target("f32[4]")
def fine(x):
    settings["scale"] = 0.5
    return scaled(x)
