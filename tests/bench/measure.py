"""A measurement of the transformer's gradient, in this process: `measure.py WHAT KIND LAYERS` prints JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import psutil
from transformer import Transformer

from pcvd import jaxnames
from pcvd.kernels import compile_kernels, cut_traced
from pcvd.kernels.compile import MemoryCache
from pcvd.kernels.compile import compile_kernels as compile_all
from pcvd.kernels.link import Linked

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcvd.kernels.graph import Graph

ROUNDS = 15


def main() -> None:
    """Measure what the command line says."""
    what, kind, layers = sys.argv[1:]
    # The first lowering and the first compilation of a process start things that are not measured here.
    jax.block_until_ready(jax.jit(lambda x: x * 2 + 1)(1.0))
    print(json.dumps(MEASURES[what](kind, Transformer(int(layers)))))


def compiling(kind: str, model: Transformer) -> dict[str, Any]:
    """Seconds from the function to what can be called."""
    return build(kind, model)[2]


def running(_: str, model: Transformer) -> dict[str, Any]:
    """Seconds of a call, the kinds in turn, so that what else the machine does meets all of them; the largest
    difference between their results, relative to the largest entry of each array.
    """
    runs = {kind: build(kind, model)[:2] for kind in ("linked", "scan", "whole")}
    times: dict[str, list[float]] = {kind: [] for kind in runs}
    for _round in range(ROUNDS):
        for kind, (run, args) in runs.items():
            times[kind].append(seconds(lambda run=run, args=args: run(*args)))
    results = {kind: jax.tree.leaves(runs[kind][0](*runs[kind][1])) for kind in ("linked", "whole")}
    apart = max(
        float(abs(one - other).max() / abs(other).max())
        for one, other in zip(results["linked"], results["whole"], strict=True)
    )
    ratios = [one / other for one, other in zip(times["linked"], times["whole"], strict=True)]
    return {
        **{f"{kind}_s": round(statistics.median(every), 4) for kind, every in times.items()},
        "linked_over_whole": round(statistics.median(ratios), 3),
        "linked_over_scan": round(
            statistics.median(one / other for one, other in zip(times["linked"], times["scan"], strict=True)),
            3,
        ),
        "apart": apart,
    }


def memory(kind: str, model: Transformer) -> dict[str, Any]:
    """Bytes that a call needs beside its arguments: what the process has resident at most, and what the
    compiler says.
    """
    run, args, _, told = build(kind, model)
    for _round in range(2):
        jax.block_until_ready(run(*args))
    peaks = []
    for _round in range(5):
        time.sleep(0.5)  # what the last call left is freed by other threads
        before = psutil.Process().memory_info().rss
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
        results = jax.block_until_ready(run(*args))
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peaks.append(int(status.partition("VmHWM:")[2].split()[0]) * 1024 - before)
        del results
    return {"resident": int(statistics.median(peaks)), "told": told()}


def editing(_: str, model: Transformer) -> dict[str, Any]:
    """How many kernels are compiled again when one layer in the middle gets another activation function."""
    cache = MemoryCache()
    args = model.arguments()
    answer = {}
    for name, edited in {"first": (), "edited": (model.layers // 2,), "again": (model.layers // 2,)}.items():
        one = Transformer(model.layers, edited)
        report = compile_kernels(jax.grad(one.loss), *args, cache=cache).report
        compiled = [row for row in report.rows if row.origin != "cache"]
        answer[name] = {
            "kernels": report.kernels,
            "distinct": report.distinct,
            "compiled": len(compiled),
            "uses_of_compiled": sum(row.uses for row in compiled),
            "compile_s": round(report.compile_s, 3),
        }
    return answer


def linking(_: str, model: Transformer) -> dict[str, Any]:
    """Microseconds a kernel that linking adds to calling the executables: on the model's graph, with kernels
    that do nothing; and on a program of many kernels with next to nothing to do, against the same executables
    called on arguments that lie ready.
    """

    def chain(x: Any) -> Any:
        for number in range(400):
            x = jax.lax.cumsum(x) * (number % 2)
        return x

    graph = cut_traced(jax.jit(jax.grad(model.loss)).trace(*model.arguments()))
    x = jax.numpy.ones(4)
    chained = cut_traced(jax.jit(chain).trace(x), range(0, 800, 2))
    return {
        "model": {"kernels": len(graph.steps), "added_us": nothing_done(graph)},
        "chain": {"kernels": len(chained.steps), **little_done(chained, x)},
    }


def nothing_done(graph: Graph) -> float:
    """Of kernels that return at once what was made before."""
    linked = Linked(graph, [one.compiled for one in compile_all(graph.kernels)])
    made = [[0] * len(kernel.out_avals) for kernel in graph.kernels]
    runs = [lambda _, number=number: made[number] for number in range(len(made))]
    linked._direct = [
        call._replace(run=runs[step.kernel]) for call, step in zip(linked._direct, graph.steps, strict=True)
    ]
    steps = [runs[step.kernel] for step in graph.steps]
    arguments = [None] * len(graph.inputs)

    def directly() -> None:
        for run in steps:
            run(arguments)

    return added(lambda: linked(arguments), directly, len(steps))


def little_done(graph: Graph, x: Any) -> dict[str, float]:
    """Of kernels that are called for real; the arguments that they are given away are copied before."""
    compiled = [one.compiled for one in compile_all(graph.kernels)]
    linked = Linked(graph, compiled)
    fast = [jaxnames.direct_call(compiled[step.kernel]) for step in graph.steps]
    public = [compiled[step.kernel] for step in graph.steps]
    times: dict[str, list[float]] = {"linked": [], "fast": [], "public": []}
    for _round in range(30):
        for kind, runs in (("fast", fast), ("public", public)):
            inputs = [[jax.numpy.array(x)] for _ in graph.steps]
            jax.block_until_ready(inputs)
            began = time.perf_counter()
            for run, given in zip(runs, inputs, strict=True):
                result = run(given) if kind == "fast" else run(*given)
            jax.block_until_ready(result)
            times[kind].append(time.perf_counter() - began)
        times["linked"].append(seconds(lambda: linked([x])))
    best = {kind: min(every) / len(graph.steps) * 1e6 for kind, every in times.items()}
    return {
        **{f"{kind}_us": round(each, 2) for kind, each in best.items()},
        "added_us": round(best["linked"] - best["fast"], 2),
        "added_to_public_us": round(best["linked"] - best["public"], 2),
    }


def added(one: Callable[[], Any], other: Callable[[], Any], steps: int) -> float:
    """Microseconds a step that one takes longer than the other, at its best."""
    best = [min(seconds(each) for _ in range(200)) for each in (one, other)]
    return round((best[0] - best[1]) / steps * 1e6, 2)


def build(kind: str, model: Transformer) -> tuple[Callable[..., Any], tuple[Any, ...], Any, Any]:
    """A callable, its arguments, the seconds that it took, and what tells how much memory it needs."""
    args = jax.block_until_ready(model.stacked() if kind == "scan" else model.arguments())
    gradient = jax.grad(model.scanned if kind == "scan" else model.loss)
    if kind == "linked":
        linked = compile_kernels(gradient, *args)
        report = linked.report
        told = {"trace_s": report.trace_s, "cut_s": report.cut_s, "compile_s": report.compile_s}
        return linked, args, told | {"distinct": report.distinct}, lambda: report.peak_bytes
    began = time.perf_counter()
    traced = jax.jit(gradient).trace(*args)
    traced_at = time.perf_counter()
    compiled = traced.lower().compile()
    told = {"trace_s": traced_at - began, "compile_s": time.perf_counter() - traced_at}
    return compiled, args, told, lambda: of(compiled.memory_analysis())


def of(analysis: Any) -> int:
    """Bytes beside the arguments."""
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)


def seconds(call: Callable[[], Any]) -> float:
    """How long it takes until the results are there."""
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


MEASURES = {
    "compiling": compiling, "running": running, "memory": memory, "editing": editing, "linking": linking,
}  # fmt: skip

if __name__ == "__main__":
    main()
