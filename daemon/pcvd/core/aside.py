"""Aside: what is worth doing when nobody waits for anything. Differences to look into, and rounds that only
gather evidence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pcvd.core.events import Investigate, Validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pcvd.core.events import Order

MOST_SOAKS = 50
"""How many rounds are held over the same sources only to gather evidence."""


class Aside:
    """Waits until there is time for it."""

    def __init__(self) -> None:
        self._puzzles: list[Investigate] = []
        self._soaked = 0

    def __bool__(self) -> bool:
        """Whether there is something to look into."""
        return bool(self._puzzles)

    def puzzle(self, order: Investigate) -> None:
        """Something to look into, after what came before."""
        self._puzzles.append(order)

    def resume(self, order: Investigate) -> None:
        """What was interrupted comes first."""
        self._puzzles.insert(0, order)

    def puzzled(self, entries: Iterable[str] | None, under_way: Iterable[Order]) -> bool:
        """Whether any of `entries` (None: anything) is still to be looked into, or just is."""
        held = [*self._puzzles, *(order for order in under_way if isinstance(order, Investigate))]
        return any(entries is None or not set(entries).isdisjoint(one.entries) for one in held)

    def next(self, fresh: Callable[[str], bool], exists: Callable[[str], bool]) -> Investigate | None:
        """The next difference to look into, without what is stale or gone: it will be judged again."""
        while self._puzzles:
            order = self._puzzles.pop(0)
            entries = tuple(entry for entry in order.entries if exists(entry) and fresh(entry))
            if entries and all(map(exists, order.cohort)):
                return replace(order, entries=entries)
        return None

    def soak(self, entries: Sequence[str], together: int) -> Validate | None:
        """One more round over `entries`, in turn where there are more than fit `together` in one; None where
        there is evidence enough.
        """
        batches = -(-len(entries) // together)
        if self._soaked >= MOST_SOAKS * batches:
            return None
        first = self._soaked % batches * together
        self._soaked += 1
        return Validate(tuple(entries[first : first + together]), "soak", soak=self._soaked, whole=True)

    def judged(self) -> None:
        """Something was judged in earnest: evidence counts from the beginning."""
        self._soaked = 0
