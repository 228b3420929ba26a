"""Which arguments of which kernels may be overwritten with results.

A buffer may be given to a kernel if nobody needs it afterwards, and is worth giving if a result of the same
type can take its place. A kernel that is used several times is compiled once, so all of its uses must
agree.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from pcvd.kernels.graph import Graph, Kernel


def donations(graph: Graph) -> list[tuple[int, ...]]:
    """For each kernel, the positions of arguments that every step which uses it may give away."""
    made = {value for step in graph.steps for value in step.writes} | graph.donated
    allowed: list[set[int] | None] = [None] * len(graph.kernels)
    for step, ends in zip(graph.steps, graph.last_uses(), strict=True):
        gone = made.intersection(ends)
        here = {place for place, value in enumerate(step.reads) if value in gone}
        before = allowed[step.kernel]
        allowed[step.kernel] = here if before is None else before & here
    return [_fitting(kernel, places or set()) for kernel, places in zip(graph.kernels, allowed, strict=True)]


def _fitting(kernel: Kernel, places: set[int]) -> tuple[int, ...]:
    """Those of the arguments at `places` whose buffers fit results, no more of a type than there are."""
    if kernel.jaxpr.effects or any(equation.effects for equation in kernel.jaxpr.eqns):
        return ()
    room = Counter(_type(aval) for aval in kernel.out_avals)
    fitting = []
    for place in sorted(places):
        kind = _type(kernel.in_avals[place])
        if room[kind] and not jax.dtypes.issubdtype(kind[1], jax.dtypes.extended):
            room[kind] -= 1
            fitting.append(place)
    return tuple(fitting)


def _type(aval: Any) -> tuple[Any, Any]:
    return aval.shape, aval.dtype
