"""Where what repeats is cut: at the layers of a loop in Python, forward and backward.

Where in its period a run is cut depends on nothing but what is in a period, not on where the run begins or
ends. So a model in which one layer was edited is cut between the same equations as before, and only the
kernels of that layer are new.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from pcvd.kernels import repeats
from pcvd.kernels.lives import crossing_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcvd.kernels.program import Program

SMALL = 24
"""A kernel of less weight costs more to call than it saves to compile."""


def turns(program: Program) -> list[int]:
    """The places before and after every turn of what repeats, where that is worth it.

    Where the user marked kernels within a run, it is cut at those already.
    """
    sizes = program.sums()
    kinds = [equation.kind for equation in program.equations]
    likes: dict[tuple[int, ...], list[repeats.Run]] = defaultdict(list)
    marked = sorted(program.marks())
    for run in repeats.find(kinds, shortest=2):
        if bisect_left(marked, run.stop) > bisect_right(marked, run.start):
            continue
        turn = (sizes[run.stop] - sizes[run.start]) / (run.stop - run.start) * run.period
        # Turns that are too small alone are taken several at a time.
        period = run.period * int(np.ceil(SMALL / turn))
        if run.stop - run.start >= 2 * period:
            likes[tuple(sorted(kinds[run.start : run.start + period]))].append(run._replace(period=period))
    found: list[range] = []
    inside = np.zeros(len(kinds) + 1, np.bool_)
    for runs in likes.values():
        found += _cut_alike(program, kinds, runs, sorted(place for one in found for place in one))
        for run in runs:
            inside[run.start : run.stop + 1] = True
    return _with_likes(kinds, found, inside)


def _with_likes(kinds: list[int], found: list[range], inside: np.ndarray) -> list[int]:
    """The places of the runs that were `found`, and what is not `inside` of a run wherever a turn seems to
    begin or to end: a third of one follows or precedes. An edited layer is so cut from its neighbours where
    those are too few to be a run.
    """
    own: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for run in found:
        own[tuple(kinds[run[0] : run[1]])] += run
    for turn, places in own.items():
        third = max(len(turn) // 3, 1)
        for place in np.flatnonzero(~inside).tolist():
            begins = tuple(kinds[place : place + third]) == turn[:third]
            ends = place >= third and tuple(kinds[place - third : place]) == turn[-third:]
            near = bisect_left(places, place - third + 1) < bisect_left(places, place + third)
            if (begins or ends) and not near:
                insort(places, place)
    return sorted({place for places in own.values() for place in places})


def _cut_alike(
    program: Program, kinds: list[int], runs: list[repeats.Run], places: list[int]
) -> Iterator[range]:
    """The places at which runs of the same turns (the layers before and after one that was edited) are cut:
    all between the same equations, where the fewest bytes cross.

    Of several such places those are taken at which a turn needs results of the fewest kernels between earlier
    `places` (the backward pass of a layer those of its forward pass, and not of two halves), and then those
    that leave the least over before the first turn or after the last: a layer from its beginning to its
    end. (An edit of the first or of the last layer leaves the other end as it was.) Else any, as long as it
    is always the same.
    """
    longest = max(runs, key=lambda run: run.stop - run.start)
    sizes = program.sums()
    made = {value: place for place, one in enumerate(program.equations) for value in one.writes}

    def first_cut(run: repeats.Run, turn: list[int]) -> int:
        starts = range(run.start, run.start + run.period)
        return next(start for start in starts if kinds[start : start + run.period] == turn)

    def rank(offset: int) -> tuple[int, int, list[str]]:
        start = longest.start + offset
        turn = kinds[start : start + longest.period]
        before = first_cut(runs[0], turn)
        last = first_cut(runs[-1], turn)
        after = runs[-1].stop - (runs[-1].stop - last) % longest.period
        over = min(sizes[before] - sizes[runs[0].start], sizes[runs[-1].stop] - sizes[after])
        digests = [program.signatures.digest(kind) for kind in turn]
        return _sources(program, longest, start, made, places), over, digests

    start = longest.start + min(_narrowest(program, longest), key=rank)
    turn = kinds[start : start + longest.period]
    return (range(first_cut(run, turn), run.stop + 1, run.period) for run in runs)


def _narrowest(program: Program, run: repeats.Run) -> list[int]:
    """How far from its start a run can be cut first, so that the fewest bytes cross from turn to turn."""
    # At least two turns are to remain.
    offsets = range(min(run.period, run.stop - run.start - 2 * run.period + 1))
    crossing = crossing_bytes(program, longest=run.period)
    bytes_ = [
        float(np.median(crossing[run.start + offset : run.stop + 1 : run.period])) for offset in offsets
    ]
    least = min(bytes_)
    return [offset for offset in offsets if bytes_[offset] == least]


def _sources(program: Program, run: repeats.Run, start: int, made: dict[int, int], places: list[int]) -> int:
    """From how many kernels between `places` a turn takes what was `made` before its run; the first one is
    to begin at `start`.
    """
    # A turn in the middle: the first and last ones may have other neighbours.
    middle = start + (run.stop - start) // run.period // 2 * run.period
    turn = program.equations[middle : middle + run.period]
    read = {atom for equation in turn for atom in equation.reads if isinstance(atom, int)}
    return len(
        {bisect_right(places, made[value]) for value in read if made.get(value, run.start) < run.start}
    )
