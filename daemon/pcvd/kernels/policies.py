"""Where to cut: the places in a program before which a new kernel begins.

Equations stand in an order in which they can run, so what lies between two cuts can be run as one, and
kernels never wait for each other in a circle. A policy only chooses places; that every choice is sound, or
is taken back with a reason, is decided in one place here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pcvd.kernels import primitives
from pcvd.kernels.errors import NoSuchCut
from pcvd.kernels.lives import crossing_bytes, lives
from pcvd.kernels.program import obstacle
from pcvd.kernels.turns import SMALL, turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pcvd.kernels.program import Program

_LARGE = 400
"""XLA's time grows more than linearly; beyond this weight a kernel without repeats is divided."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Ascending places between equations, without the two ends, and what was decided against, and why."""

    places: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def segments(self, count: int) -> list[range]:
        """The equations of each kernel, of a program that has `count`."""
        edges = [0, *self.places, count]
        return [range(start, stop) for start, stop in pairwise(edges) if stop > start]


def cut(program: Program, policy: str | Iterable[int]) -> Cut:
    """Where the policy of this name cuts the program, or at these very places, as far as that is sound.

    A cut is taken back where a value that can't leave its program (a mutable reference, a token) is alive.

    Raises:
        NoSuchCut: there is no such policy, or a place lies outside of the program.
    """
    if isinstance(policy, str):
        if policy not in POLICIES:
            raise NoSuchCut(f'there is no policy "{policy}"', hint=f"there are {', '.join(POLICIES)}")
        places = set(POLICIES[policy](program))
    else:
        places = set(policy)
        if any(not 0 <= place <= len(program.equations) for place in places):
            raise NoSuchCut(f"can only be cut between 0 and {len(program.equations)}")
    notes = []
    for start, stop, reason in _uncuttable(program):
        taken_back = {place for place in places if start < place <= stop}
        if taken_back:
            places -= taken_back
            notes.append(f"{len(taken_back)} cuts taken back: {reason}")
    inside = sorted(places - {0, len(program.equations)})
    return Cut(tuple(inside), tuple(notes))


def _uncuttable(program: Program) -> Iterator[tuple[int, int, str]]:
    """Stretches within which no cut may fall, and why."""
    end = len(program.equations)
    for value in (*program.inputs, *(value for value, _ in program.constants)):
        if reason := obstacle(program.avals[value]):
            yield 0, end, f"an argument or constant: {reason}"
    # Most types recur, and what is fine is fine everywhere.
    fine = set()
    for value, start, stop in lives(program):
        aval = program.avals[value]
        if aval not in fine:
            if reason := obstacle(aval):
                yield start, stop, reason
            else:
                fine.add(aval)


def whole(program: Program) -> Iterator[int]:  # noqa: ARG001  # a policy like the others
    """One kernel."""
    return iter(())


def calls(program: Program) -> Iterator[int]:
    """Around calls of some size: nested `jit`, `remat`, custom derivatives; and around marks."""
    yield from program.marks()
    yield from _calls(program, 0, len(program.equations))


def ops(program: Program) -> Iterator[int]:
    """Before each matrix product or convolution, which takes along what follows it; and around marks."""
    yield from program.marks()
    for place, equation in enumerate(program.equations):
        if equation.origin.primitive.name in primitives.PRODUCTS:
            yield place


def repeated(program: Program) -> Iterator[int]:
    """At each turn of what repeats, such as the layers of a loop in Python; and around marks."""
    return iter({*program.marks(), *turns(program)})


def auto(program: Program) -> Iterator[int]:
    """Repeats; where nothing repeats and there is much, calls; where there is still too much, by size."""
    chosen = {0, len(program.equations), *repeated(program)}
    chosen.update(
        place for start, stop in _too_large(program, chosen) for place in _calls(program, start, stop)
    )
    chosen.update(
        place for start, stop in _too_large(program, chosen) for place in _by_size(program, start, stop)
    )
    return iter(chosen)


POLICIES: dict[str, Callable[[Program], Iterable[int]]] = {
    "auto": auto, "repeats": repeated, "calls": calls, "ops": ops, "whole": whole,
}  # fmt: skip
"""By the names that users give them."""


def _calls(program: Program, start: int, stop: int) -> Iterator[int]:
    sizes = program.sums()
    for span in program.spans:
        if start <= span.start and span.stop <= stop and sizes[span.stop] - sizes[span.start] >= SMALL:
            yield from (span.start, span.stop)


def _too_large(program: Program, chosen: Iterable[int]) -> list[tuple[int, int]]:
    sizes = program.sums()
    edges = sorted(chosen)
    pairs = pairwise(edges)
    return [(start, stop) for start, stop in pairs if sizes[stop] - sizes[start] > 2 * _LARGE]


def _by_size(program: Program, start: int, stop: int) -> Iterator[int]:
    """About every `_LARGE` units, where in the neighbourhood the fewest bytes cross."""
    sizes = program.sums()
    crossing = crossing_bytes(program)
    while sizes[stop] - sizes[start] > 2 * _LARGE:
        low = bisect_left(sizes, sizes[start] + _LARGE // 2, start + 1, stop)
        high = max(low + 1, bisect_right(sizes, sizes[start] + 3 * _LARGE // 2, low, stop))
        start = low + int(np.argmin(crossing[low:high]))
        yield start
