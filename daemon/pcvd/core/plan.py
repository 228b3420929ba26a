"""The plan: what has to be built, and when. A pure state machine: typed events in, typed orders out.

It knows which target read which file, what is fresh, what waits, and what is under way; it knows nothing of
processes, files or time. What nobody touched is never visited: a save costs the targets that read it, not all
there are.

A save is judged in two tiers. The first builds what was touched under the reference and one challenger, as
quickly as it can; the second, when nobody waits, builds it whole, beside whom it had differed before. One
order at a time is what others wait for; one that drags on stands aside for the next. Of a save that changes
nothing but comments the verdict stands at once, and is confirmed when nobody waits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pcvd.core import looks
from pcvd.core.aside import Aside
from pcvd.core.compare import INCONCLUSIVE
from pcvd.core.dependencies import Dependencies
from pcvd.core.events import (
    Abandon,
    Asked,
    Bored,
    Declared,
    Discover,
    Dragging,
    Ended,
    Investigate,
    Outdated,
    Recovered,
    Saved,
    Validate,
    Wondered,
)
from pcvd.core.roster import Roster
from pcvd.core.underway import Running, UnderWay
from pcvd.core.wishes import Rank, Wish, Wishes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pcvd.core.events import Event, Order, Work
    from pcvd.core.model import TargetSpec

MOST_TOGETHER = 32
"""How many targets one round builds at most: a process keeps all executables of its cohort until they have
been run.
"""

MOST_TRIES = 3
"""How often a target is built again because its files changed meanwhile, when no further save asks for it;
and how often in a row its build is given up for a newer save, or one of the backlog for what presses more.
After that it is seen through, so that a file which is saved all the time starves nobody.
"""

_PRESSING = (Rank.ASKED, Rank.SAVED)


class Plan:
    """What has to be built, and when."""

    def __init__(self, *, eager: bool = True, root: str = "") -> None:
        """`eager`: build what is new or stale by itself, not only what is asked for. `root`: the folder that
        files are named relative to in what is told of them.
        """
        self._eager = eager
        self._surveyed = False
        self._news: set[str] = set()
        self._roster = Roster(self._news, root)
        self._sources = Dependencies()
        """What the discovery in each model file read."""
        self._broken: set[str] = set()
        """Model files that could not be imported, for reasons that no file may tell."""
        self._wishes = Wishes(self._news)
        self._unfinished: dict[str, int] = {}
        """Targets whose verdicts a whole round is to strengthen, and the number of the event behind that."""
        self._discoveries: dict[str, int] = {}
        self._postponed: dict[str, None] = {}
        """Files whose discovery could not be carried out."""
        self._aside = Aside()
        self._under_way = UnderWay(self._news)
        self._told: dict[str, str | None] = {}
        """What a path that is read was last said to hold: the same once more is no news."""
        self._yielded = 0
        """How often in a row the backlog has given way."""
        self._events = self._orders = 0

    # -- what others may ask -----------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nothing under way and nothing waiting."""
        waiting = self._wishes or self._discoveries or self._unfinished or self._aside
        return not (self._under_way or waiting)

    @property
    def discovering(self) -> bool:
        """Whether it is still to be found out which targets there are."""
        return bool(self._discoveries) or self._under_way.discovering

    @property
    def paths(self) -> frozenset[str]:
        """Every file that some target or some discovery read."""
        return frozenset((*self._roster.read, *self._sources))

    @property
    def paths_version(self) -> tuple[int, int]:
        """Another one whenever `paths` are others."""
        return self._roster.read.version, self._sources.version

    @property
    def targets_version(self) -> int:
        """Another one whenever `targets` are others."""
        return self._roster.version

    @property
    def working(self) -> bool:
        """Whether an order is under way: what it reads is known only when it ends."""
        return bool(self._under_way)

    def reads(self, path: str) -> bool:
        """Whether some target or some discovery read the path."""
        return path in self._roster.read or path in self._sources

    def below(self, folder: str) -> set[str]:
        """The paths below `folder` that some target or some discovery read."""
        return self._roster.read.below(folder) | self._sources.below(folder)

    def above(self, path: str) -> set[str]:
        """Of what was read, the names that stand for every file below a folder which `path` is in."""
        return self._roster.read.above(path) | self._sources.above(path)

    def concerned(self, path: str) -> set[str]:
        """`path` itself where some target or discovery read it, or the paths below it that were read,
        where it is a folder. While an order is under way nobody knows yet what it reads.
        """
        names = {path, looks.text(path)}
        unknown = names if self._under_way else set()
        read = {name for name in names if self.reads(name)}
        return read | unknown if read else self.below(path) or unknown

    def news(self) -> set[str]:
        """The targets that may be fresh, stale, queued or built otherwise than when this was asked last."""
        news = set(self._news)
        self._news.clear()
        return news

    @property
    def surveyed(self) -> bool:
        """Whether it has been found out, since the beginning, which targets there are."""
        return self._surveyed

    @property
    def remembered(self) -> tuple[TargetSpec, ...]:
        """Targets of an earlier life of which it is not known yet whether they still exist."""
        return () if self._surveyed else self._roster.remembered

    @property
    def sources(self) -> frozenset[str]:
        """The model files that were asked for their targets."""
        return frozenset(self._sources.who)

    @property
    def sound(self) -> frozenset[str]:
        """Those of `sources` that told."""
        return self.sources - self._broken

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """All targets that exist, in the order of their declaration."""
        return tuple(self._roster[entry].spec for entry in self._roster)

    def spec(self, entry: str) -> TargetSpec:
        """The declaration of a target that exists."""
        return self._roster[entry].spec

    def exists(self, entry: str) -> bool:
        """Whether a target of that name is declared."""
        return entry in self._roster

    def fresh(self, entry: str) -> bool:
        """Whether the target's verdict is about the files as they are."""
        return self._roster[entry].fresh

    def state(self, entry: str) -> str:
        """`building`, `queued` or `idle`. Evidence that is gathered aside changes nothing for who waits."""
        if self._under_way.judging(entry) is not None:
            return "building"
        return "queued" if entry in self._wishes else "idle"

    def waits(self, entries: Iterable[str] | None = None) -> bool:
        """Whether any of `entries` (None: of all targets) is still to be judged."""
        if self.discovering:
            return True
        if entries is None:
            return bool(self._wishes) or any(running.cohort for running in self._under_way)
        return any(entry in self._roster and self.state(entry) != "idle" for entry in entries)

    def unfinished(self, entries: Iterable[str] | None = None) -> bool:
        """Whether a whole round over any of `entries` (None: over any target) is still to strengthen it."""
        held = {*self._unfinished, *self._under_way.strengthened}
        return bool(held if entries is None else held.intersection(entries))

    def believes(self, entries: Iterable[str] | None = None) -> bool:
        """Whether a verdict of any of `entries` (None: of any target) stands because only comments were saved
        since, and is still to be confirmed.
        """
        held = {*self._aside.unconfirmed, *self._under_way.confirmed}
        return bool(held if entries is None else held.intersection(entries))

    def puzzled(self, entries: Iterable[str] | None = None) -> bool:
        """Whether it is still being found out what differences of `entries` (None: of any) come from."""
        return self._aside.puzzled(entries, [running.order for running in self._under_way])

    # -- what happens ------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Order]:
        """Take in `event`; the orders that follow from it, to be carried out in turn."""
        self._events += 1
        if isinstance(event, Bored):
            return self._soak()
        pointless = self._take_in(event)
        orders = [*(self._abandon(running) for running in pointless), *self._next()]
        self._surveyed = self._surveyed or not (self.discovering or self._postponed)
        return orders

    def _take_in(self, event: Event) -> list[Running]:
        """The orders under way whose builds the event makes pointless."""
        match event:
            case Recovered():
                self._recovered(event)
            case Declared():
                self._declared(event)
            case Saved():
                return self._saved(event)
            case Asked():
                self._asked(event)
            case Wondered():
                self._wondered(event)
            case Outdated():
                self._look_into(sorted(self._broken))
                for entry in self._roster:
                    self._roster.outdate(entry)
                    self._want(entry, event.why)
            case Ended():
                self._ended(event)
            case Dragging():
                self._under_way.drags(event.order)
        return []

    def _recovered(self, event: Recovered) -> None:
        self._roster.remember(event.known)
        self._look_into(sorted(event.declaring - {one.source for one in event.declared}))
        for declared in event.declared:
            self._declared(declared)

    def _look_into(self, files: Iterable[str]) -> None:
        for file in files:
            self._discoveries.setdefault(file, self._events)

    def _asked(self, event: Asked) -> None:
        self._look_into(self._postponed)
        self._postponed.clear()
        for entry in event.entries:
            # What is being built whole answers as well.
            if entry in self._roster and not self._under_way.whole(entry):
                self._wishes.add(entry, Wish("asked for", self._events, Rank.ASKED, whole=True))

    def _wondered(self, event: Wondered) -> None:
        for entry in event.entries:
            if entry in self._roster:
                beside = tuple(other for other in self._roster[entry].cohort if other in self._roster)
                cohort = beside or (entry,)
                order = Investigate(cohort, (entry,), variations=event.variations, by=self._events)
                self._aside.puzzle(order)

    def _soak(self) -> list[Order]:
        """One more round over what is fresh, in another order and under another hash seed."""
        targets = ((entry, self._roster[entry]) for entry in self._roster)
        fit = [entry for entry, one in targets if one.fresh and one.verdict != INCONCLUSIVE]
        if not self.idle or not fit:
            return []
        order = self._aside.soak(fit, MOST_TOGETHER)
        return [] if order is None else [self._begin(replace(order, by=self._events))]

    def _declared(self, event: Declared) -> None:
        if event.source is not None:
            asked = self._under_way.discoveries(event.order)
            if any(event.source in running.gone for running in asked):
                return
            self._sources.put(event.source, dict.fromkeys(event.reads))
            if event.broken:
                self._broken.add(event.source)
            else:
                self._broken.discard(event.source)
            if any(not event.reads.isdisjoint(running.meanwhile) for running in asked):
                self._look_into([event.source])
        self._take_over(event)

    def _take_over(self, event: Declared) -> None:
        """Which targets there are now, by what a source declares."""
        for entry in self._roster.undeclared(event):
            self._roster.forget(entry)
            self._wishes.pop(entry)
            self._unfinished.pop(entry, None)
            self._aside.settled(entry)
        for entry, why, known in self._roster.declare(event):
            if why:
                self._want(entry, why)
            elif known is not None and known.partial:
                self._unfinished[entry] = self._events

    def _want(self, entry: str, why: str) -> None:
        """Have it built for a reason that no file tells, so whatever is under way was begun too early."""
        wish = Wish(why, self._events)
        for running in self._under_way:
            if entry in running.built:
                running.touched[entry] = wish
        if self._eager and self._under_way.judging(entry) is None:
            self._wishes.add(entry, wish)

    # -- saves -------------------------------------------------------------------------------------

    def _saved(self, event: Saved) -> list[Running]:
        """Take in a save; the orders under way whose builds it makes pointless."""
        for file in event.gone:
            self._take_over(Declared((), file))
            self._sources.drop(file)
            self._broken.discard(file)
            self._discoveries.pop(file, None)
            self._aside.gone(file)
        for running in self._under_way:
            running.gone |= event.gone
            running.meanwhile |= event.changes
        self._ask_again(event)
        self._roster.unlearn(event.changes)
        believed = {entry for path in event.cosmetic for entry in self._believed(path, event)}
        touched = {entry for path, digest in event.changes.items() for entry in self._touched(path, digest)}
        touched |= self._unread(event)
        pointless = [one for one in self._under_way if self._is_pointless(one, touched, believed)]
        for running in pointless:
            for entry in believed.intersection(running.concerned if running.aside else ()):
                self._roster[entry].given_up += 1
        return pointless

    def _ask_again(self, event: Saved) -> None:
        """Which model files are to be asked for their targets: later, where it is for the lines alone."""
        edited = event.changes.keys() - event.cosmetic.keys()
        asking = {source for path in edited for source in self._sources.readers(path)}
        same = {self._roster.shown(path) for path in event.cosmetic}.intersection(self._sources.who)
        self._look_into(sorted(asking | (event.declaring - same)))
        self._aside.revisit(sorted((event.declaring & same) - asking), self._events)

    def _believed(self, path: str, event: Saved) -> list[str]:
        """The targets whose verdicts stand over `path` as it is now, since its code is the same."""
        held = [
            entry
            for entry in sorted(self._roster.read.readers(path))
            if self._roster[entry].fresh
            and self._roster.read.digest(entry, path) == event.cosmetic[path]
            and self._under_way.judging(entry) is None
        ]
        for entry in held:
            self._roster.read.update(entry, path, event.changes[path])
        self._aside.believe(held, self._events)
        self._news.update(held)
        return held

    def _unread(self, event: Saved) -> set[str]:
        """The targets being built of which nobody knows yet what they read, but that they are in a file that
        was saved, and those that are no more.
        """
        saved = {*event.declaring, *event.gone, *map(self._roster.shown, event.changes)}
        cohorts = {entry for running in self._under_way for entry in running.cohort}
        known = self._roster.read.who
        gone = {entry for entry in cohorts if entry not in self._roster}
        return gone | {
            entry for entry in cohorts - gone if entry not in known and self._roster[entry].spec.path in saved
        }

    def _touched(self, path: str, digest: str | None) -> list[str]:
        """The targets that read `path`, where it is news that it holds this; verdicts on it are stale now."""
        readers = sorted(self._roster.read.readers(path))
        news = []
        for entry in readers:
            held = self._roster.read.digest(entry, path)
            if self._told.get(path, held) != digest:
                news.append(entry)
            if held != digest:
                self._roster.outdate(entry)
                # Where it is built already, whether the build has seen the save its end will tell.
                if self._eager and self._under_way.judging(entry) is None:
                    # Once more, so that it goes first.
                    self._wishes.put(entry, Wish(self._roster.saved(path), self._events, Rank.SAVED))
        if readers:
            self._told[path] = digest
        return news

    def _is_pointless(self, running: Running, touched: set[str], believed: set[str]) -> bool:
        """Whether all that an order builds was saved since; or, of what is built aside, anything commented:
        its end would outdate verdicts that stand. What was given up too often is seen through.
        """
        if running.aside:
            concerned = believed.intersection(running.concerned)
        else:
            concerned = set(running.cohort) if touched.issuperset(running.cohort) else set()
        left = (target for entry in concerned if (target := self._roster.get(entry)) is not None)
        worth_it = all(target.given_up < MOST_TRIES for target in left)
        return bool(concerned) and worth_it and not running.abandoned

    # -- ends --------------------------------------------------------------------------------------

    def _ended(self, event: Ended) -> None:
        running = self._under_way.end(event.order)
        if running is None:
            return
        if running.abandoned and event.failed:
            self._resume(running)
        elif running.aside:
            self._doubt(running, event)
        else:
            self._aside.judged()
            if running.rank is Rank.BACKLOG:
                self._yielded = 0
        if isinstance(running.order, Discover) and event.failed and not running.abandoned:
            self._postponed |= dict.fromkeys(running.order.files)
        if isinstance(running.order, Validate):
            self._judged(running.order, event)
        self._build_again(running, event)
        told = {one.entry for one in event.judged} | {one.entry for one in event.confirmed}
        self._catch_up(running, told.union(running.cohort))
        for entry in running.cohort:
            if entry not in self._wishes and not (entry in self._roster and self._roster[entry].fresh):
                self._unfinished.pop(entry, None)  # there is no verdict that could be strengthened

    def _resume(self, running: Running) -> None:
        """What was given up waits again."""
        order = running.order
        if isinstance(order, Validate) and order.aside and order.whole:
            waiting = (entry for entry in order.cohort if entry in self._roster)
            self._unfinished = dict.fromkeys(waiting, order.by) | self._unfinished
        elif running.aside:
            self._aside.resume(order, running.gone)
        for entry, wish in running.wishes.items():
            if entry in self._roster:
                self._roster[entry].given_up += 1
                self._wishes.add(entry, wish)

    def _doubt(self, running: Running, event: Ended) -> None:
        """Where verdicts could not be confirmed, nobody knows whether they still stand."""
        if event.failed and isinstance(running.order, Validate) and not running.order.whole:
            for entry in running.built:
                if entry in self._roster:
                    self._roster.outdate(entry)

    def _judged(self, order: Validate, event: Ended) -> None:
        for judged in event.judged:
            entry = judged.entry
            if entry not in self._roster:  # its declaration may have gone while it was built
                continue
            self._roster.judged(
                entry, judged.verdict, order.cohort, judged.reads, provisional=judged.provisional
            )
            self._aside.settled(entry)
            if order.soak is None:
                self._unfinished.pop(entry, None)
            missing = self._roster.missing(entry, set(order.cohort))
            if judged.provisional and not order.whole and self._eager:
                self._wishes.add(entry, Wish("it had differed beside others", order.by, whole=True))
            elif judged.verdict != INCONCLUSIVE and (judged.partial or (missing and not order.whole)):
                self._unfinished[entry] = order.by
        for confirmed in event.confirmed:
            self._aside.settled(confirmed.entry)
            if confirmed.entry in self._roster:
                self._roster.confirm(confirmed.entry, confirmed.reads)
        puzzling = tuple(judged.entry for judged in event.judged if judged.puzzling)
        if puzzling:
            self._aside.puzzle(Investigate(order.cohort, puzzling, event.round, by=order.by))

    def _build_again(self, running: Running, event: Ended) -> None:
        """Who could not be judged, through a neighbour or because its files were edited meanwhile."""
        for entry in event.again:
            if entry in self._roster:
                self._wishes.add(entry, running.wish_again(entry, "its round could not be finished"))
        for entry in event.changed:
            target = self._roster.get(entry)
            if target is None:
                continue
            self._roster.outdate(entry)
            if target.tries < MOST_TRIES:
                target.tries += 1
                self._wishes.add(entry, running.wish_again(entry, "its files changed while it was built"))

    def _catch_up(self, running: Running, concerned: set[str]) -> None:
        """What happened to those `concerned` while they were built: only now is it known what they read. Of
        what was built aside that is who has a verdict from it; the others did not wait for its end.
        """
        touched = {entry: wish for entry, wish in running.touched.items() if entry in concerned}
        for path, digest in running.meanwhile.items():
            for entry in sorted(self._roster.read.readers(path).intersection(concerned)):
                if self._roster.read.digest(entry, path) != digest:
                    touched.setdefault(entry, Wish(self._roster.saved(path), self._events, Rank.SAVED))
        for entry, wish in touched.items():
            if entry in self._roster:
                self._roster.outdate(entry)
                if self._eager:
                    self._wishes.add(entry, wish)

    # -- what comes next ---------------------------------------------------------------------------

    def _next(self) -> list[Order]:
        first = self._under_way.first
        if first is not None:
            return [self._abandon(first)] if self._gives_way(first) else []
        order = self._work()
        return [] if order is None else [order]

    def _work(self) -> Work | None:
        pressing = self._wishes.pressing(but=self._under_way.judged)  # one target is built once at a time
        if pressing and pressing[0][1].rank in _PRESSING and self._surveyed:
            return self._round(pressing)
        if self._discoveries:
            # Before all that is new: what is to be built depends on what there is.
            files, by = tuple(self._discoveries), min(self._discoveries.values())
            self._discoveries.clear()
            return self._begin(Discover(files, by=by))
        if pressing:
            return self._round(pressing)
        order = self._aside.next(self._standing, self.exists, MOST_TOGETHER) or self._whole()
        if isinstance(order, Validate):
            order = self._over(order.cohort, order)
        return None if order is None else self._begin(order)

    def _standing(self, entry: str) -> bool | None:
        """Whether the target's verdict is fresh; None while another one is on its way."""
        return None if self._under_way.judging(entry) is not None else self._roster[entry].fresh

    def _begin(self, order: Work, wishes: Mapping[str, Wish] | None = None) -> Work:
        self._orders += 1
        order = replace(order, number=self._orders)
        self._under_way.begin(Running(order, dict(wishes or {})))
        return order

    def _abandon(self, running: Running) -> Abandon:
        running.abandoned = True
        return Abandon(running.order.number)

    def _gives_way(self, running: Running) -> bool:
        """What nobody waits for makes room for what somebody does, and the backlog for what presses more."""
        if running.abandoned:
            return False
        if running.aside:
            return bool(self._wishes or self._discoveries)
        if running.rank is not Rank.BACKLOG or self._wishes.rank not in _PRESSING:
            return False
        self._yielded += 1
        return self._yielded <= MOST_TRIES

    def _round(self, pressing: Sequence[tuple[str, Wish]]) -> Work:
        """The next cohort: of what waits, the most `pressing`. A whole round brings along whoever one of them
        was built with when a difference was found.
        """
        chosen: dict[str, None] = {}
        head = pressing[0][1]
        for entry, wish in pressing:
            if wish.whole == head.whole:
                together = chosen | dict.fromkeys(self._roster.neighbours(entry) if wish.whole else [entry])
                if chosen and len(together) > MOST_TOGETHER:
                    break
                chosen = together
        granted = {entry: self._wishes.pop(entry) or head for entry in chosen}
        return self._begin(self._over(chosen, Validate((), head.why, whole=head.whole, by=head.by)), granted)

    def _whole(self) -> Validate | None:
        """A whole round to strengthen verdicts of the first tier."""
        chosen: dict[str, None] = {}
        for entry in self._unfinished:
            together = chosen | dict.fromkeys(self._roster.neighbours(entry))
            if chosen and len(together) > MOST_TOGETHER:
                break
            chosen = together
        numbers = [self._unfinished.pop(entry) for entry in chosen if entry in self._unfinished]
        if not chosen:
            return None
        return Validate(tuple(chosen), "whole", whole=True, aside=True, by=min(numbers))

    def _over(self, chosen: Iterable[str], order: Validate) -> Validate:
        """`order` over the targets that were chosen, in the order of their declaration."""
        cohort = tuple(sorted(chosen, key=lambda entry: self._roster[entry].place))
        grave = (entry for entry in cohort if self._roster[entry].grave)
        owed = {entry: self._roster.missing(entry, set(cohort)) for entry in grave}
        return replace(
            order, cohort=cohort, owed=tuple((entry, owed[entry]) for entry in owed if owed[entry])
        )
