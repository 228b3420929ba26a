"""What one would do without pcv: a script that imports JAX, builds the demo's training step serially and in a
thread pool, and compares programs and results. With `--warm` it prints the seconds of one build in a process
that has built before, and of three at once, as many as a verdict rests on.
"""

from __future__ import annotations

import runpy
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np


def main() -> None:
    """`alone.py MODEL [--warm]`: build, and compare or measure."""
    model = runpy.run_path(sys.argv[1])
    step, inputs, outputs = model["train_step"].__wrapped__, model["WIDTHS"][0], model["WIDTHS"][-1]
    random = np.random.default_rng(0)
    x, y = (random.normal(size=(model["BATCH"], width)).astype(np.float32) for width in (inputs, outputs))
    args = (model["init_params"](), x, y)

    def build(_: int = 0) -> tuple[str, Any]:
        fresh = jax.jit(lambda *given: step(*given))  # noqa: PLW0108 - JAX keys its caches on functions
        compiled = fresh.lower(*args).compile()
        return compiled.as_text(), compiled(*args)

    if "--warm" in sys.argv:
        took: dict[int, list[float]] = {1: [], 3: []}
        with ThreadPoolExecutor(3) as pool:
            for _round in range(6):
                for count, seconds in took.items():
                    began = time.perf_counter()
                    list(pool.map(build, range(count)))
                    seconds.append(time.perf_counter() - began)
        print(*(sorted(seconds[1:])[2] for seconds in took.values()))
        return
    serial = build()
    with ThreadPoolExecutor(2) as pool:
        for text, results in pool.map(build, range(2)):
            assert text == serial[0]
            for one, other in zip(jax.tree.leaves(results), jax.tree.leaves(serial[1]), strict=True):
                assert np.array_equal(np.asarray(one), np.asarray(other))


if __name__ == "__main__":
    main()
