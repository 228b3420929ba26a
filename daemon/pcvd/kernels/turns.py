"""Where what repeats is cut: at the layers of a loop in Python, forward and backward.

Where in its period a run is cut depends on nothing but what is in a period, not on where the run begins or
ends. So a model in which one layer was edited is cut between the same equations as before, and only the
kernels of that layer are new.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING

import numpy as np

from pcvd.kernels import repeats
from pcvd.kernels.lives import crossing_bytes, lives

if TYPE_CHECKING:
    from pcvd.kernels.program import Program

SMALL = 24
"""A kernel of less weight costs more to call than it saves to compile."""


def turns(program: Program) -> list[int]:
    """The places before and after every turn of what repeats, where that is worth it.

    Where the user marked kernels within a run, it is cut at those already.
    """
    kinds = [equation.kind for equation in program.equations]
    sizes = program.sums()
    marked = sorted(program.marks())
    made = {value: place for value, place, _ in lives(program)}
    found: list[range] = []
    inside = np.zeros(len(kinds) + 1, np.bool_)
    for run in repeats.find(kinds, shortest=2):
        if bisect_left(marked, run.stop) > bisect_right(marked, run.start):
            continue
        turn = (sizes[run.stop] - sizes[run.start]) / (run.stop - run.start) * run.period
        # Turns that are too small alone are taken several at a time.
        period = run.period * int(np.ceil(SMALL / turn))
        if run.stop - run.start >= 2 * period:
            places = [place for one in found for place in one]
            first = run.start + _phase(program, run, period, made, places)
            found.append(range(first, run.stop + 1, period))
            inside[run.start : run.stop + 1] = True
    return _with_likes(kinds, found, inside)


def _with_likes(kinds: list[int], found: list[range], inside: np.ndarray) -> list[int]:
    """The places of the runs that were `found`, and what is not `inside` of a run wherever a turn seems to
    begin or to end: a third of one follows or precedes. An edited layer is so cut from its neighbours where
    those are too few to be a run.
    """
    places = sorted(place for run in found for place in run)
    for turn in dict.fromkeys(tuple(kinds[run[0] : run[1]]) for run in found):
        third = max(len(turn) // 3, 1)
        for place in np.flatnonzero(~inside).tolist():
            begins = tuple(kinds[place : place + third]) == turn[:third]
            ends = place >= third and tuple(kinds[place - third : place]) == turn[-third:]
            near = bisect_left(places, place - third + 1) < bisect_left(places, place + third)
            if (begins or ends) and not near:
                insort(places, place)
    return places


def _phase(program: Program, run: repeats.Run, period: int, made: dict[int, int], places: list[int]) -> int:
    """How far from its start a run is cut first: where the fewest bytes cross, turn for turn.

    Of several such places it is the one where a turn needs results of the fewest earlier kernels (the
    backward pass of a layer those of its forward pass, and not of two halves); else any, as long as it is
    always the same.
    """
    # At least two turns are to remain.
    offsets = range(min(period, run.stop - run.start - 2 * period + 1))
    # What outlives a turn (the forward pass's residuals) crosses wherever the turns are cut.
    crossing = crossing_bytes(program, longest=period)
    bytes_ = [float(np.median(crossing[run.start + offset : run.stop + 1 : period])) for offset in offsets]
    least = min(bytes_)
    narrowest = [offset for offset in offsets if bytes_[offset] == least]

    def rank(offset: int) -> tuple[int, list[str]]:
        start = run.start + offset
        # A turn in the middle: the first and last ones may have other neighbours.
        middle = start + (run.stop - start) // period // 2 * period
        sources = {
            bisect_right(places, made[atom])
            for equation in program.equations[middle : middle + period]
            for atom in equation.reads
            if isinstance(atom, int) and made.get(atom, run.start) < run.start
        }
        turn = program.equations[start : start + period]
        return len(sources), [program.signatures.digest(equation.kind) for equation in turn]

    return min(narrowest, key=rank)
