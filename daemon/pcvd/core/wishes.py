"""Wishes: which targets are to be built, how pressing each is, and through which event.

Whoever waits goes first, then what was just saved, the latest save before the others, then the rest: what is
new, what outlived its premises, what is tried again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container


class Rank(IntEnum):
    """How pressing a wish is; the least goes first."""

    ASKED = 0
    SAVED = 1
    BACKLOG = 2


@dataclass(frozen=True, slots=True)
class Wish:
    """Why a target is to be built, and the number of the event that made it so. `whole`: under every
    schedule, even where nothing has changed.
    """

    why: str
    by: int
    rank: Rank = Rank.BACKLOG
    whole: bool = False

    def over(self, earlier: Wish | None) -> Wish:
        """This wish, where there was one for the same target already: the more pressing rank stands, and so
        does being asked for.
        """
        if earlier is None:
            return self
        return replace(self, rank=min(self.rank, earlier.rank), whole=self.whole or earlier.whole)


class Wishes:
    """One wish a target at the most. An event costs what it is about, not how many wishes there are."""

    def __init__(self, news: set[str]) -> None:
        """`news` is told of every target whose wish comes or goes."""
        self._ranks: dict[Rank, dict[str, Wish]] = {rank: {} for rank in Rank}
        self._news = news

    def __bool__(self) -> bool:
        return any(self._ranks.values())

    def __contains__(self, entry: str) -> bool:
        return any(entry in wishes for wishes in self._ranks.values())

    def get(self, entry: str) -> Wish | None:
        """The wish for a target, or None."""
        return next((wishes[entry] for wishes in self._ranks.values() if entry in wishes), None)

    def put(self, entry: str, wish: Wish) -> None:
        """`wish`, in the place of an earlier one for the same target."""
        wish = wish.over(self.pop(entry))
        self._news.add(entry)
        self._ranks[wish.rank][entry] = wish

    def add(self, entry: str, wish: Wish) -> None:
        """`wish`, unless there is one for the target that is as pressing."""
        held = self.get(entry)
        if held is None or wish.rank < held.rank:
            self.put(entry, wish)

    def pop(self, entry: str) -> Wish | None:
        """The wish for a target, which is then none any more."""
        self._news.add(entry)
        return next((wishes.pop(entry) for wishes in self._ranks.values() if entry in wishes), None)

    @property
    def rank(self) -> Rank | None:
        """The rank of the most pressing wishes; None where there are none."""
        return next((rank for rank, wishes in self._ranks.items() if wishes), None)

    def pressing(self, but: Container[str] = ()) -> list[tuple[str, Wish]]:
        """The most pressing wishes of one rank, in the order in which they are to be granted; `but` are
        targets that can't be built now.
        """
        for rank, wishes in self._ranks.items():
            found = [(entry, wish) for entry, wish in wishes.items() if entry not in but]
            if rank is Rank.SAVED:
                found.sort(key=lambda one: -one[1].by)
            if found:
                return found
        return []
