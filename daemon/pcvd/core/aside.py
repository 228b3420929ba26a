"""Aside: what is worth doing when nobody waits for anything. Verdicts to confirm over which only comments
were saved, confirmed ones to trace under further schedules, differences to look into, and rounds that only
gather evidence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pcvd.core.events import Discover, Investigate, Retrace, Validate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pcvd.core.events import Order, Work

MOST_SOAKS = 50
"""How many rounds are held over the same sources only to gather evidence."""


class Aside:
    """Waits until there is time for it."""

    def __init__(self) -> None:
        self._puzzles: list[Investigate] = []
        self._revisits: dict[str, int] = {}
        """Model files of which the lines are to be told anew, and the number of the event behind that."""
        self._believed: dict[str, int] = {}
        self._untraced: dict[str, int] = {}
        """Confirmed targets, and the number of the event behind that."""
        self._soaked = 0

    def __bool__(self) -> bool:
        """Whether there is something to confirm, to trace or to look into."""
        return bool(self._revisits or self._believed or self._untraced or self._puzzles)

    # -- what is the same but for comments -----------------------------------------------------------

    @property
    def unconfirmed(self) -> Iterable[str]:
        """The targets whose verdicts stand because their code is said to be the same."""
        return self._believed.keys()

    def believe(self, entries: Iterable[str], by: int) -> None:
        """These verdicts stand, and are to be confirmed."""
        self._believed |= dict.fromkeys(entries, by)

    def confirmed(self, entry: str) -> None:
        """The target's verdict stands, as was seen."""
        self._believed.pop(entry, None)

    def settled(self, entry: str) -> None:
        """The target was judged, or is no more."""
        self.confirmed(entry)
        self._untraced.pop(entry, None)

    def revisit(self, files: Iterable[str], by: int) -> None:
        """These model files declare what they did, in other lines perhaps."""
        self._revisits |= dict.fromkeys(files, by)

    def gone(self, file: str) -> None:
        """A model file is no more."""
        self._revisits.pop(file, None)

    # -- what is the same under some schedules -------------------------------------------------------

    @property
    def untraced(self) -> Iterable[str]:
        """The targets that were confirmed, and not under every schedule."""
        return self._untraced.keys()

    def retrace(self, entry: str, by: int) -> None:
        """The target is to be traced under the schedules that the first tier left out."""
        self._untraced[entry] = by

    # -- what differs --------------------------------------------------------------------------------

    def puzzle(self, order: Investigate) -> None:
        """Something to look into, after what came before; together with what else the same round found."""
        for place, other in enumerate(self._puzzles):
            if order.round is not None and replace(other, entries=order.entries) == order:
                self._puzzles[place] = replace(other, entries=(*other.entries, *order.entries))
                return
        self._puzzles.append(order)

    def puzzled(self, entries: Iterable[str] | None, under_way: Iterable[Order]) -> bool:
        """Whether any of `entries` (None: anything) is still to be looked into, or just is."""
        held = [*self._puzzles, *(order for order in under_way if isinstance(order, Investigate))]
        return any(entries is None or not set(entries).isdisjoint(one.entries) for one in held)

    # -- what comes next -----------------------------------------------------------------------------

    def next(
        self,
        fresh: Callable[[str], bool | None],
        exists: Callable[[str], bool],
        together: int,
        *,
        discovering: bool = False,
    ) -> Work | None:
        """What to do next, of targets not more than `together` at a time. What is stale or gone is left out:
        it will be judged again. `fresh` is None of what is just being judged; while `discovering`, who does
        not exist may come yet.
        """
        stand = {entry: fresh(entry) for entry in (*self._believed, *self._untraced) if exists(entry)}
        if chosen := _take(self._believed, stand, together):
            why = "only its comments or its layout were changed"
            return Validate(tuple(chosen), why, aside=True, by=min(chosen.values()))
        if self._revisits:
            files, by = tuple(self._revisits), min(self._revisits.values())
            self._revisits.clear()
            return Discover(files, aside=True, by=by)
        if chosen := _take(self._untraced, stand, together):
            return Retrace(tuple(chosen), by=min(chosen.values()))
        for order in tuple(self._puzzles):
            complete = all(map(exists, order.cohort))
            if discovering and not complete:
                continue
            self._puzzles.remove(order)
            entries = tuple(entry for entry in order.entries if exists(entry) and fresh(entry))
            if entries and complete:
                return replace(order, entries=entries)
        return None

    def resume(self, order: Order, gone: Collection[str]) -> None:
        """What was interrupted comes first; `gone` are model files that are no more."""
        match order:
            case Investigate():
                self._puzzles.insert(0, order)
            case Discover(files):
                left = [file for file in files if file not in gone]
                self._revisits = dict.fromkeys(left, order.by) | self._revisits
            case Retrace(cohort):
                self._untraced = dict.fromkeys(cohort, order.by) | self._untraced
            case Validate(cohort) if order.aside:
                self._believed = dict.fromkeys(cohort, order.by) | self._believed

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


def _take(waiting: dict[str, int], stand: Mapping[str, bool | None], together: int) -> dict[str, int]:
    """The first of those that are fresh, at most so many, taken off `waiting`; what is stale or gone (and no
    key of `stand`) goes as well, and what is just being judged waits on.
    """
    now = [entry for entry in waiting if stand.get(entry)][:together]
    chosen = {entry: waiting.pop(entry) for entry in now}
    for entry in [entry for entry in waiting if stand.get(entry, False) is False]:
        del waiting[entry]
    return chosen
