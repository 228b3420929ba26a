"""Measures what cutting a model into kernels brings, and writes it to kernels.json: `make bench`.

The model is the gradient of a transformer whose layers are a plain loop in Python. It is built as one program
(`jax.jit`), as linked kernels, and with `jax.lax.scan` over its layers, which is what people do by hand; each
time in a process of its own, except where running times are compared. Times are reported beside what they are
a ratio of, measured in the same run. Nothing here is asserted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from figures import machine
from plots import Panel, draw

LAYERS = (6, 12, 24, 48)
DEPTH = 24
KINDS = ("linked", "scan", "whole")
MEASURE = Path(__file__).with_name("measure.py")


def main() -> None:
    """Measure, print, write."""
    memory = {kind: child("memory", kind, DEPTH) for kind in KINDS}
    running, editing = child("running", "all", DEPTH), child("editing", "linked", DEPTH)
    linking = child("linking", "linked", DEPTH)
    compiling: dict[str, dict[int, Any]] = {kind: {} for kind in KINDS}
    for layers in LAYERS:
        for kind in KINDS:
            compiling[kind][layers] = repeated(kind, layers)
    figures = {
        "machine": machine(),
        "compiling": compiling,
        "faster": {layers: faster(compiling, layers) for layers in LAYERS},
        "growth_12_to_48": {kind: growth(compiling[kind]) for kind in KINDS},
        "running": running,
        "memory": memory,
        "memory_ratio": {
            name: memory["whole"][name] and round(memory["linked"][name] / memory["whole"][name], 3)
            for name in memory["whole"]
        },
        "editing": editing,
        "linking": linking,
    }
    text = json.dumps(figures, indent=1)
    Path("kernels.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    plot(figures)


def repeated(kind: str, layers: int) -> dict[str, Any]:
    """The median of several compilations by their total: what takes a second is easily disturbed."""
    times = 1 if kind == "whole" else 3
    answers = [child("compiling", kind, layers) for _ in range(times)]
    return sorted(answers, key=total)[times // 2]


def faster(compiling: dict[str, dict[int, Any]], layers: int) -> dict[str, float]:
    """How many times sooner the kernels are there than the whole; the tracing is done by both."""
    whole, linked = compiling["whole"][layers], compiling["linked"][layers]
    return {
        "with_tracing": round(total(whole) / total(linked), 1),
        "without_tracing": round(whole["compile_s"] / (linked["cut_s"] + linked["compile_s"]), 1),
    }


def growth(times: dict[int, Any]) -> float:
    """How many times longer 48 layers take than 12, tracing counted."""
    return round(total(times[48]) / total(times[12]), 2)


def total(times: dict[str, float]) -> float:
    """Seconds from the function to what can be called."""
    return times["trace_s"] + times.get("cut_s", 0.0) + times["compile_s"]


def plot(figures: dict[str, Any]) -> None:
    """What compiling takes against the number of layers, and how much sooner kernels are there, as
    kernels.png.
    """
    compiling, faster_by = figures["compiling"], figures["faster"]
    names = {"whole": "one program", "scan": "jax.lax.scan", "linked": "kernels"}
    seconds = {name: [total(compiling[kind][layers]) for layers in LAYERS] for kind, name in names.items()}
    ratios = {
        name: [faster_by[layers][key] for layers in LAYERS]
        for key, name in (("with_tracing", "tracing counted"), ("without_tracing", "without tracing"))
    }
    draw(
        "kernels.png",
        LAYERS,
        "layers",
        [Panel("tracing and compiling", "s", seconds), Panel("kernels against one program", "times", ratios)],
    )


def child(*what: Any) -> Any:
    """What one measurement in a process of its own says."""
    # Freed buffers go back to the system at once, so that what is resident is what is used.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(MEASURE), *map(str, what)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    answer = json.loads(done.stdout)
    print(*what, answer, flush=True, file=sys.stderr)
    return answer


if __name__ == "__main__":
    main()
