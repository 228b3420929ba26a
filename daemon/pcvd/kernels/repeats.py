"""Finding what repeats: the layers of an unrolled loop, in a sequence of numbers that are equal for equal
work.

The distance from each short stretch to its last occurrence votes for a period; where the sequence equals
itself shifted by a period that has votes, something is repeated. Two passes over the sequence and one more
per period tried, so the time is linear in the length.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_STRETCH = 6
_PERIODS = 32


class Run(NamedTuple):
    """From `start` to `stop` the sequence has this `period`, and is at least two of them long."""

    start: int
    stop: int
    period: int

    @property
    def turns(self) -> int:
        """How many whole periods it holds."""
        return (self.stop - self.start) // self.period


def find(sequence: Sequence[int], shortest: int = 1) -> tuple[Run, ...]:
    """Runs of `sequence` that do not overlap, in order, each of at least `shortest` items.

    Where runs overlap, the one that saves most is kept whole: the layers of a model, not what repeats
    within a layer.

    >>> find([9, *[1, 2, 3] * 3, 1, 8])
    (Run(start=1, stop=11, period=3),)
    """
    items = np.asarray(sequence, dtype=np.int64)
    found = [run for period in _periods(sequence) for run in _of_period(items, period)]
    # What repeats n times is also a run of double the period that saves one of the n less.
    found.sort(key=lambda run: (run.period - (run.stop - run.start), run.period, run.start))
    free = [(0, len(items))]
    kept: list[Run] = []
    for run in found:
        for start, stop in _common(free, run.start, run.stop):
            part = Run(start, stop, run.period)
            if part.turns > 1 and stop - start >= shortest:
                kept.append(part)
                free = _without(free, start, stop)
    return tuple(sorted(kept))


def _periods(sequence: Sequence[int]) -> list[int]:
    """The distances at which stretches come back, the most frequent first."""
    votes: Counter[int] = Counter()
    last: dict[tuple[int, ...], int] = {}
    for length in (_STRETCH, 1):  # a period may be shorter than a stretch, but then its items are few
        for place in range(len(sequence) - length + 1):
            stretch = tuple(sequence[place : place + length])
            if stretch in last:
                votes[place - last[stretch]] += 1
            last[stretch] = place
    ranked = sorted(votes, key=lambda distance: (-votes[distance], distance))
    return ranked[:_PERIODS]


def _of_period(items: np.ndarray, period: int) -> list[Run]:
    """Every maximal run of this period."""
    equal = np.concatenate([[False], items[:-period] == items[period:], [False]])
    edges = np.flatnonzero(equal[1:] != equal[:-1])
    return [
        Run(start, stop + period, period)
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        if stop - start >= period
    ]


def _common(free: list[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    met = ((max(start, begin), min(stop, end)) for begin, end in free)
    return [(begin, end) for begin, end in met if begin < end]


def _without(free: list[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    parts = [part for begin, end in free for part in ((begin, min(end, start)), (max(begin, stop), end))]
    return [(begin, end) for begin, end in parts if begin < end]
