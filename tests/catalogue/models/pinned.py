"""Every process takes the next core for itself, so that none gets into another's way."""

import contextlib
import os
from pathlib import Path

import pcv

cores = sorted(os.sched_getaffinity(0))
for turn in range(100):
    with contextlib.suppress(FileExistsError):
        Path(__file__).with_name(f"turn-{turn}").mkdir()
        os.sched_setaffinity(0, {cores[turn % len(cores)]})
        break


@pcv.target("f32[4]")
def model(x):
    return x * 2
