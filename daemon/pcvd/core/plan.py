"""The plan: what has to be built, and when. A pure state machine: typed events in, typed orders out.

It knows which target read which file, what is fresh, what waits, and what is under way; it knows nothing of
processes, files or time. What nobody touched is never visited: a save costs the targets that read it, not all
there are.

A save is judged in two tiers. The first builds what was touched under the reference and one challenger, as
quickly as it can; the second, when nobody waits, builds it whole, beside whom it had differed before. One
order at a time is what others wait for; one that drags on stands aside for the next. Of a save that changes
nothing but comments the verdict stands at once, and is confirmed when nobody waits.

What it holds is in `held`; what a save does to that in `saves`, what the end of an order does in `ends`; what
comes next in `turns`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcvd.core import ends, looks, saves
from pcvd.core.events import (
    Asked,
    Bored,
    Declared,
    Dragging,
    Ended,
    Investigate,
    Outdated,
    Recovered,
    Saved,
    Wondered,
)
from pcvd.core.held import Held
from pcvd.core.model import model_file
from pcvd.core.turns import Turns
from pcvd.core.wishes import Rank, Wish

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcvd.core.events import Event, Order
    from pcvd.core.model import TargetSpec
    from pcvd.core.underway import Running


class Plan:
    """What has to be built, and when."""

    def __init__(self, *, eager: bool = True, root: str = "") -> None:
        """`eager`: build what is new or stale by itself, not only what is asked for. `root`: the folder that
        files are named relative to in what is told of them.
        """
        self._held = Held(eager, root)
        self._turns = Turns(self._held)
        self._surveyed = False

    # -- what others may ask -----------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nothing under way and nothing waiting."""
        waiting = self._held.wishes or self._held.census or self._held.unfinished or self._held.aside
        return not (self._held.under_way or waiting)

    @property
    def discovering(self) -> bool:
        """Whether it is still to be found out which targets there are."""
        return bool(self.asking)

    @property
    def asking(self) -> frozenset[str]:
        """The model files that are still to tell which targets they declare."""
        return self._held.census.due | self._held.under_way.awaited

    def asked_for(self, entries: Iterable[str]) -> frozenset[str]:
        """Those of `asking` that may declare `entries`."""
        return self.asking.intersection(model_file(entry) for entry in entries)

    @property
    def paths(self) -> frozenset[str]:
        """Every file that some target or some discovery read."""
        return frozenset((*self._held.roster.read, *self._held.census.read))

    @property
    def paths_version(self) -> tuple[int, int]:
        """Another one whenever `paths` are others."""
        return self._held.roster.read.version, self._held.census.read.version

    @property
    def targets_version(self) -> int:
        """Another one whenever `targets` are others."""
        return self._held.roster.version

    @property
    def working(self) -> bool:
        """Whether an order is under way: what it reads is known only when it ends."""
        return bool(self._held.under_way)

    def reads(self, path: str) -> bool:
        """Whether some target or some discovery read the path."""
        return path in self._held.roster.read or path in self._held.census.read

    def below(self, folder: str) -> set[str]:
        """The paths below `folder` that some target or some discovery read."""
        return self._held.roster.read.below(folder) | self._held.census.read.below(folder)

    def above(self, path: str) -> set[str]:
        """Of what was read, the names that stand for every file below a folder which `path` is in."""
        return self._held.roster.read.above(path) | self._held.census.read.above(path)

    def concerned(self, path: str) -> set[str]:
        """`path` itself where some target or discovery read it, or the paths below it that were read,
        where it is a folder. While an order is under way nobody knows yet what it reads.
        """
        names = {path, looks.text(path)}
        unknown = names if self._held.under_way else set()
        read = {name for name in names if self.reads(name)}
        return read | unknown if read else self.below(path) or unknown

    def news(self) -> set[str]:
        """The targets that may be fresh, stale, queued or built otherwise than when this was asked last."""
        news = set(self._held.news)
        self._held.news.clear()
        return news

    @property
    def surveyed(self) -> bool:
        """Whether it has been found out, since the beginning, which targets there are."""
        return self._surveyed

    @property
    def remembered(self) -> tuple[TargetSpec, ...]:
        """Targets of an earlier life of which it is not known yet whether they still exist."""
        return () if self._surveyed else self._held.roster.remembered

    @property
    def sources(self) -> frozenset[str]:
        """The model files that were asked for their targets, or are to be."""
        return self._held.census.known | self._held.under_way.asked

    def unasked(self, files: frozenset[str]) -> frozenset[str]:
        """Those of `files` that were not asked for their targets, and are not about to be."""
        return files - self.sources

    def declares(self, file: str) -> bool:
        """Whether there are targets that the model file has declared."""
        return self._held.roster.declares(file)

    @property
    def sound(self) -> frozenset[str]:
        """The model files that were asked, and told."""
        return self._held.census.files - self._held.census.broken

    def seen(self, file: str) -> str | None:
        """The digest of a model file as it was when it was asked; None where that is not known."""
        return self._held.census.seen.get(file)

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """All targets that exist, in the order of their declaration."""
        return tuple(self._held.roster[entry].spec for entry in self._held.roster)

    @property
    def size(self) -> int:
        """How many targets exist, those included of which that is not known yet."""
        return len(self._held.roster) + len(self.remembered)

    def spec(self, entry: str) -> TargetSpec:
        """The declaration of a target that exists."""
        return self._held.roster[entry].spec

    def exists(self, entry: str) -> bool:
        """Whether a target of that name is declared."""
        return entry in self._held.roster

    def fresh(self, entry: str) -> bool:
        """Whether the target's verdict is about the files as they are."""
        return self._held.roster[entry].fresh

    def state(self, entry: str) -> str:
        """`building`, `queued` or `idle`. Evidence that is gathered aside changes nothing for who waits."""
        if self._held.under_way.judging(entry) is not None:
            return "building"
        return "queued" if entry in self._held.wishes else "idle"

    def waits(self, entries: Iterable[str] | None = None) -> bool:
        """Whether any of `entries` (None: of all targets) is still to be judged."""
        if self.asking if entries is None else self.asked_for(entries):
            return True
        if entries is None:
            return bool(self._held.wishes) or any(running.cohort for running in self._held.under_way)
        return any(entry in self._held.roster and self.state(entry) != "idle" for entry in entries)

    def unfinished(self, entries: Iterable[str] | None = None) -> bool:
        """Whether any of `entries` (None: any target) is still to be tried under further schedules: by a
        whole round, or where its verdict was confirmed, by tracing it.
        """
        under_way = self._held.under_way
        waiting = {*self._held.unfinished, *self._held.aside.untraced}
        held = waiting | under_way.strengthened | under_way.retraced
        return bool(held if entries is None else held.intersection(entries))

    def believes(self, entries: Iterable[str] | None = None) -> bool:
        """Whether a verdict of any of `entries` (None: of any target) stands because only comments were saved
        since, and is still to be confirmed.
        """
        held = {*self._held.aside.unconfirmed, *self._held.under_way.confirmed}
        return bool(held if entries is None else held.intersection(entries))

    def puzzled(self, entries: Iterable[str] | None = None) -> bool:
        """Whether it is still being found out what differences of `entries` (None: of any) come from."""
        return self._held.aside.puzzled(entries, [running.order for running in self._held.under_way])

    # -- what happens ------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Order]:
        """Take in `event`; the orders that follow from it, to be carried out in turn."""
        self._held.number += 1
        if isinstance(event, Bored):
            return self._turns.soak() if self.idle else []
        pointless = self._take_in(event)
        orders = [*map(self._turns.abandon, pointless), *self._turns.next(surveyed=self._surveyed)]
        self._surveyed = self._surveyed or (self._held.census.complete and not self.discovering)
        return orders

    def _take_in(self, event: Event) -> list[Running]:
        """The orders under way whose builds the event makes pointless."""
        match event:
            case Recovered():
                self._recovered(event)
            case Declared():
                self._declared(event)
            case Saved():
                return saves.take_in(self._held, event)
            case Asked():
                self._asked(event)
            case Wondered():
                self._wondered(event)
            case Outdated(why):
                self._outdated(why)
            case Ended():
                self._ended(event)
            case Dragging():
                self._held.under_way.drags(event.order)
        return []

    def _recovered(self, event: Recovered) -> None:
        held = self._held
        held.roster.remember(event.known)
        held.census.ask(sorted(event.declaring - {one.source for one in event.declared}), held.number)
        for declared in event.declared:
            self._declared(declared)

    def _declared(self, event: Declared) -> None:
        held = self._held
        if event.source is not None:
            asked = held.under_way.discoveries(event.order)
            if any(event.source in running.gone for running in asked):
                return
            held.census.put(event)
            if any(not event.reads.isdisjoint(running.meanwhile) for running in asked):
                held.census.ask([event.source], held.number)
        held.declare(event)

    def _asked(self, event: Asked) -> None:
        held = self._held
        held.census.resume(held.number)
        for entry in event.entries:
            # What is being built whole answers as well.
            if entry in held.roster and not held.under_way.whole(entry):
                held.wishes.add(entry, Wish("asked for", held.number, Rank.ASKED, whole=True))

    def _wondered(self, event: Wondered) -> None:
        held = self._held
        for entry in event.entries:
            if entry in held.roster:
                beside = tuple(other for other in held.roster[entry].cohort if other in held.roster)
                order = Investigate(beside or (entry,), (entry,), variations=event.variations, by=held.number)
                held.aside.puzzle(order)

    def _outdated(self, why: str) -> None:
        held = self._held
        held.census.ask(sorted(held.census.broken), held.number)
        for entry in held.roster:
            held.roster.outdate(entry)
        held.want(held.roster, why)

    def _ended(self, event: Ended) -> None:
        running = self._held.under_way.end(event.order)
        if running is not None:
            self._turns.ended(running, failed=event.failed)
            ends.take_in(self._held, running, event)
