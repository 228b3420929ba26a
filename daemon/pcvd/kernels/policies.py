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

from pcvd.kernels import primitives, repeats
from pcvd.kernels.errors import CutRefused
from pcvd.kernels.program import obstacle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pcvd.kernels.program import Program

_SMALL = 24
"""A kernel of less weight costs more to call than it saves to compile."""

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
        CutRefused: there is no such policy, or a place lies outside of the program.
    """
    if isinstance(policy, str):
        if policy not in POLICIES:
            raise CutRefused(f'there is no policy "{policy}"', hint=f"there are {', '.join(POLICIES)}")
        places = set(POLICIES[policy](program))
    else:
        places = set(policy)
        if any(not 0 <= place <= len(program.equations) for place in places):
            raise CutRefused(f"can only be cut between 0 and {len(program.equations)}")
    notes = []
    for start, stop, reason in _uncuttable(program):
        taken_back = {place for place in places if start < place <= stop}
        if taken_back:
            places -= taken_back
            notes.append(f"{len(taken_back)} cuts taken back: {reason}")
    inside = sorted(places - {0, len(program.equations)})
    return Cut(tuple(inside), tuple(notes))


def crossing_bytes(program: Program, longest: int | None = None) -> np.ndarray:
    """How many bytes would cross a cut before each equation, and after the last one: values that are made
    before it and needed from it on. Arguments and constants are there anyway, and not counted; nor are
    values that live for more than `longest` equations.

    Shape [equations + 1], int64.
    """
    change = np.zeros(len(program.equations) + 2, np.int64)
    for value, made, last in _lives(program):
        if longest is None or last - made <= longest:
            size = program.bytes_of(value)
            change[made + 1] += size
            change[last + 1] -= size
    return np.cumsum(change)[:-1]


def _lives(program: Program) -> Iterator[tuple[int, int, int]]:
    """Each value that an equation makes, that equation, and the last that reads it: the end, for a result."""
    made = {}
    last = {}
    for place, equation in enumerate(program.equations):
        for value in equation.writes:
            made[value] = last[value] = place
        for atom in equation.reads:
            if isinstance(atom, int):
                last[atom] = place
    for atom in program.outputs:
        if isinstance(atom, int):
            last[atom] = len(program.equations)
    for value, place in made.items():
        yield value, place, last[value]


def _uncuttable(program: Program) -> Iterator[tuple[int, int, str]]:
    """Stretches within which no cut may fall, and why."""
    end = len(program.equations)
    for value in (*program.inputs, *(value for value, _ in program.constants)):
        if reason := obstacle(program.avals[value]):
            yield 0, end, f"an argument or constant: {reason}"
    # Most types recur, and what is fine is fine everywhere.
    fine = set()
    for value, start, stop in _lives(program):
        aval = program.avals[value]
        if aval not in fine:
            if reason := obstacle(aval):
                yield start, stop, reason
            else:
                fine.add(aval)


def whole(program: Program) -> Iterator[int]:  # noqa: ARG001  # a policy like the others
    """One kernel."""
    return iter(())


def marks(program: Program) -> Iterator[int]:
    """Around what the user marked with `pcv.kernel`."""
    for span in program.spans:
        if span.marked:
            yield from (span.start, span.stop)


def calls(program: Program) -> Iterator[int]:
    """Around calls of some size: nested `jit`, `remat`, custom derivatives; and around marks."""
    yield from marks(program)
    yield from _calls(program, 0, len(program.equations))


def ops(program: Program) -> Iterator[int]:
    """Before each matrix product or convolution, which takes along what follows it; and around marks."""
    yield from marks(program)
    for place, equation in enumerate(program.equations):
        if equation.origin.primitive.name in primitives.PRODUCTS:
            yield place


def repeated(program: Program) -> Iterator[int]:
    """At each turn of what repeats, such as the layers of a loop in Python; and around marks."""
    yield from marks(program)
    for run in _runs(program):
        yield from run


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
    sizes = _sums(program)
    for span in program.spans:
        if start <= span.start and span.stop <= stop and sizes[span.stop] - sizes[span.start] >= _SMALL:
            yield from (span.start, span.stop)


def _runs(program: Program) -> Iterator[list[int]]:
    """The places of each run of repeats that is worth it, from its first turn's begin to its last turn's
    end.
    """
    kinds = [equation.kind for equation in program.equations]
    sizes = _sums(program)
    for run in repeats.find(kinds, shortest=2):
        turn = (sizes[run.stop] - sizes[run.start]) * run.period / (run.stop - run.start)
        # Turns that are too small alone are taken several at a time.
        period = run.period * max(1, round(np.ceil(_SMALL / turn)))
        count = (run.stop - run.start) // period
        if count > 1:
            # What outlives a turn (the forward pass's residuals) crosses wherever the turns are cut.
            yield _places(run, period, count, crossing_bytes(program, longest=period))


def _places(run: repeats.Run, period: int, count: int, crossing: np.ndarray) -> list[int]:
    """Where in its period a run is best cut: where the fewest bytes cross, of all that keep its count.

    Giving up one turn must at least halve the bytes: it means another kernel to compile, twice.
    """
    spare = run.stop - run.start - count * period
    starts = range(run.start, run.start + period)
    bytes_ = [int(crossing[start : run.stop + 1 : period].mean()) for start in starts]
    best = min(range(period), key=lambda offset: (bytes_[offset], offset))
    keeping = min(range(min(spare, period - 1) + 1), key=lambda offset: (bytes_[offset], offset))
    if count > 2 and bytes_[best] * 2 < bytes_[keeping]:
        keeping, count = best, (run.stop - run.start - best) // period
    first = run.start + keeping
    return [first + turn * period for turn in range(count + 1)]


def _too_large(program: Program, chosen: Iterable[int]) -> list[tuple[int, int]]:
    sizes = _sums(program)
    edges = sorted(chosen)
    pairs = pairwise(edges)
    return [(start, stop) for start, stop in pairs if sizes[stop] - sizes[start] > 2 * _LARGE]


def _by_size(program: Program, start: int, stop: int) -> Iterator[int]:
    """About every `_LARGE` units, where in the neighbourhood the fewest bytes cross."""
    sizes = _sums(program)
    crossing = crossing_bytes(program)
    while sizes[stop] - sizes[start] > 2 * _LARGE:
        low = bisect_left(sizes, sizes[start] + _LARGE // 2, start + 1, stop)
        high = max(low + 1, bisect_right(sizes, sizes[start] + 3 * _LARGE // 2, low, stop))
        start = low + int(np.argmin(crossing[low:high]))
        yield start


def _sums(program: Program) -> list[int]:
    """The weight of all equations before each place."""
    weights = np.fromiter((one.weight for one in program.equations), np.int64, len(program.equations))
    sums: list[int] = np.concatenate([[0], np.cumsum(weights)]).tolist()
    return sums
