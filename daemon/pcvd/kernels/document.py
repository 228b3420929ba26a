"""A cut in plain words and numbers, to be sent, kept and drawn where there is no JAX."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcvd.kernels.graph import Graph, Kernel, Step


def document(graph: Graph, policy: str) -> dict[str, Any]:
    """What `json` takes: kernels, the steps in which they run, and what steps hand to each other.

    `kernel` of a step is the place of its kernel in `kernels`, `from` and `to` of an edge are places in
    `steps`. Fields may be added, never changed under one `schema`.
    """
    uses = Counter(step.kernel for step in graph.steps)
    return {
        "schema": 1,
        "policy": policy,
        "kernels": [_kernel(kernel, uses[place]) for place, kernel in enumerate(graph.kernels)],
        "steps": [_step(graph, step) for step in graph.steps],
        "edges": [
            {"from": giver, "to": taker, "values": len(values), "bytes": sum(map(graph.bytes_of, values))}
            for (giver, taker), values in graph.edges().items()
        ],
        "boundary_bytes": graph.boundary_bytes(),
        "peak_bytes": graph.peak_bytes(),
        "notes": list(graph.notes),
    }


def _kernel(kernel: Kernel, uses: int) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "digest": kernel.digest,
        "function": kernel.function,
        "file": kernel.file,
        "line": kernel.line,
        "equations": len(kernel.jaxpr.eqns),
        "weight": kernel.weight,
        "uses": uses,
        "takes": [str(aval) for aval in kernel.in_avals],
        "gives": [str(aval) for aval in kernel.out_avals],
        "donated": list(kernel.donated),
    }


def _step(graph: Graph, step: Step) -> dict[str, Any]:
    return {
        "kernel": step.kernel,
        "file": step.file,
        "line": step.line,
        "equations": step.equations,
        "recomputed": step.recomputed,
        "argument_bytes": sum(map(graph.bytes_of, {*step.reads} & {*graph.inputs})),
        "result_bytes": sum(map(graph.bytes_of, {*step.writes} & {*graph.outputs})),
    }
