"""The plan: what has to be built, and when. A pure state machine: typed events in, typed orders out.

It knows which target read which file, what is fresh, what waits, and what is under way; it knows nothing of
processes, files or time. At most one order is under way. What nobody touched is never visited: a save costs
the targets that read it, not all there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pcvd.core.aside import Aside, nobody_waits
from pcvd.core.compare import AGREE, INCONCLUSIVE
from pcvd.core.dependencies import Dependencies
from pcvd.core.events import (
    Abandon,
    Asked,
    Bored,
    Declared,
    Discover,
    Ended,
    Investigate,
    Outdated,
    Recovered,
    Saved,
    Validate,
    Wondered,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcvd.core.events import (
        Event,
        Known,
        Order,
    )
    from pcvd.core.model import TargetSpec

MOST_TOGETHER = 32
"""How many targets one round builds at most: a process keeps all executables of its cohort until they have
been run.
"""

MOST_TRIES = 3
"""How often a target is built again because its files changed meanwhile, when no further save asks for it."""


@dataclass(slots=True)
class _Target:
    spec: TargetSpec
    source: str | None
    verdict: str | None = None
    differed: tuple[str, ...] = ()
    """The cohort in which it last differed. Only a verdict clears it: what could not be compared does not."""
    fresh: bool = False
    tries: int = 0
    owing: bool = False
    """It was built without somebody beside whom it had differed."""
    cohort: tuple[str, ...] = ()
    """Beside whom it was judged last."""

    def judged(self, verdict: str, cohort: tuple[str, ...], *, owing: bool) -> None:
        """Take in a verdict on the files as they were read."""
        self.verdict, self.fresh, self.tries, self.owing = verdict, True, 0, owing
        self.cohort = cohort
        if verdict != INCONCLUSIVE:
            self.differed = () if verdict == AGREE else cohort

    def waits_for(self, neighbour: str) -> bool:
        """Whether it differed beside `neighbour`, agreed without it, and could not be cleared by that."""
        return self.owing and neighbour in self.differed


class Plan:
    """What has to be built, and when."""

    def __init__(self, *, eager: bool = True) -> None:
        """`eager`: build what is new or stale by itself, not only what is asked for."""
        self._eager = eager
        self._surveyed = False
        self._targets: dict[str, _Target] = {}
        self._memory: dict[str, Known] = {}
        self._read = Dependencies()
        self._pending: dict[str, str] = {}
        self._sources = Dependencies()
        """What the discovery in each model file read."""
        self._discoveries: dict[str, None] = {}
        self._postponed: dict[str, None] = {}
        """Files whose discovery could not be carried out."""
        self._aside = Aside()
        self._under_way: Order | None = None
        self._abandoned = False
        self._touched: dict[str, str] = {}
        """Targets of the cohort under way whose files changed meanwhile, and through what."""
        self._meanwhile: dict[str, str | None] = {}
        """What was saved since the order under way began: what it reads is known only when it ends."""
        self._gone: set[str] = set()
        """Model files that went since then: what they declared is no more, whatever the order found."""

    # what others may ask

    @property
    def idle(self) -> bool:
        """Nothing under way and nothing waiting."""
        return not (self._under_way or self._pending or self._discoveries or self._aside)

    @property
    def discovering(self) -> bool:
        """Whether it is still to be found out which targets there are."""
        return bool(self._discoveries) or isinstance(self._under_way, Discover)

    @property
    def paths(self) -> frozenset[str]:
        """Every file that some target or some discovery read."""
        return frozenset((*self._read, *self._sources))

    @property
    def paths_version(self) -> tuple[int, int]:
        """Another one whenever `paths` are others."""
        return self._read.version, self._sources.version

    def concerned(self, path: str) -> set[str]:
        """`path` itself where some target or discovery read it, or the paths below it that were read,
        where it is a folder. While an order is under way nobody knows yet what it reads.
        """
        if path in self._read or path in self._sources:
            return {path}
        found = self._read.below(path) | self._sources.below(path)
        return found or ({path} if self._under_way is not None else set())

    @property
    def surveyed(self) -> bool:
        """Whether it has been found out, since the beginning, which targets there are."""
        return self._surveyed

    @property
    def remembered(self) -> tuple[TargetSpec, ...]:
        """Targets of an earlier life of which it is not known yet whether they still exist."""
        return () if self._surveyed else tuple(known.spec for known in self._memory.values())

    @property
    def sources(self) -> frozenset[str]:
        """The model files that were asked for their targets."""
        return frozenset(self._sources.who)

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """All targets that exist, in the order of their declaration."""
        return tuple(target.spec for target in self._targets.values())

    def spec(self, entry: str) -> TargetSpec:
        """The declaration of a target that exists."""
        return self._targets[entry].spec

    def exists(self, entry: str) -> bool:
        """Whether a target of that name is declared."""
        return entry in self._targets

    def fresh(self, entry: str) -> bool:
        """Whether the target's verdict is about the files as they are."""
        return self._targets[entry].fresh

    def state(self, entry: str) -> str:
        """`building`, `queued` or `idle`. Evidence that is gathered aside changes nothing for who waits."""
        order = self._under_way
        if isinstance(order, Validate) and order.soak is None and entry in order.cohort:
            return "building"
        return "queued" if entry in self._pending else "idle"

    def waits(self, entries: Iterable[str] | None = None) -> bool:
        """Whether any of `entries` (None: of all targets) is still to be judged."""
        return self.discovering or any(
            entry in self._targets and self.state(entry) != "idle"
            for entry in (self._targets if entries is None else entries)
        )

    def puzzled(self, entries: Iterable[str] | None = None) -> bool:
        """Whether it is still being found out what differences of `entries` (None: of any) come from."""
        return self._aside.puzzled(entries, self._under_way)

    # what happens

    def handle(self, event: Event) -> list[Order]:
        """Take in `event`; the orders that follow from it, to be carried out in turn."""
        match event:
            case Recovered():
                self._memory |= {known.spec.entry: known for known in event.known}
                self._discoveries |= dict.fromkeys(sorted(event.declaring))
            case Declared():
                self._declared(event)
            case Saved():
                self._saved(event)
            case Asked():
                self._discoveries |= self._postponed
                self._postponed.clear()
                self._asked(event)
            case Wondered():
                self._wondered(event)
            case Bored():
                return self._soak()
            case Outdated():
                for entry, target in self._targets.items():
                    target.fresh = False
                    self._want(entry, event.why)
            case Ended():
                self._ended(event)
        orders = self._next()
        self._surveyed = self._surveyed or not (self.discovering or self._postponed)
        return orders

    def _asked(self, event: Asked) -> None:
        for entry in event.entries:
            # What is being built answers as well.
            if entry in self._targets and self.state(entry) == "idle":
                self._pending[entry] = "asked for"

    def _wondered(self, event: Wondered) -> None:
        for entry in event.entries:
            if entry in self._targets:
                beside = [other for other in self._targets[entry].cohort if other in self._targets]
                cohort = tuple(beside) or (entry,)
                self._aside.puzzle(Investigate(cohort, (entry,), variations=event.variations))

    def _soak(self) -> list[Order]:
        """One more round over what is fresh, in another order and under another hash seed."""
        fit = [
            entry
            for entry, target in self._targets.items()
            if target.fresh and target.verdict != INCONCLUSIVE
        ]
        if not self.idle or not fit:
            return []
        self._under_way = self._aside.soak(fit, MOST_TOGETHER)
        return [self._under_way] if self._under_way is not None else []

    def _declared(self, event: Declared) -> None:
        if event.source is not None:
            if event.source in self._gone:
                return
            self._sources.put(event.source, dict.fromkeys(event.reads))
            if not event.reads.isdisjoint(self._meanwhile):
                self._discoveries[event.source] = None
        if event.broken:
            for known in list(self._memory.values()):
                if known.spec.path == event.source:
                    self._declare(known.spec, event.source)
            return
        declared = {spec.entry for spec in event.targets}
        for entry in [entry for entry, target in self._targets.items() if target.source == event.source]:
            if entry not in declared:
                self._forget(entry)
        for spec in event.targets:
            self._declare(spec, event.source)

    def _declare(self, spec: TargetSpec, source: str | None) -> None:
        known = self._targets.get(spec.entry)
        if known is None:
            self._remember(spec, source)
        elif (
            source is None or known.source == source
        ):  # else the settings name it, with arguments of their own
            otherwise = known.spec.args != spec.args
            known.spec, known.source = spec, source
            if otherwise:
                known.fresh = False
                self._want(spec.entry, "its arguments are declared otherwise")

    def _remember(self, spec: TargetSpec, source: str | None) -> None:
        target = self._targets[spec.entry] = _Target(spec, source)
        known = self._memory.pop(spec.entry, None)
        if known is None:
            self._want(spec.entry, "new")
            return
        target.verdict, target.differed = known.verdict, known.differed
        target.fresh = known.stale is None and known.spec.args == spec.args
        self._read.put(spec.entry, known.reads)
        if not target.fresh:
            self._want(spec.entry, known.stale or "its arguments are declared otherwise")

    def _saved(self, event: Saved) -> None:
        for file in event.gone:
            self._declared(Declared((), file))
            self._sources.drop(file)
            self._discoveries.pop(file, None)
            if self._under_way is not None:
                self._gone.add(file)
        if self._under_way is not None:
            self._meanwhile |= event.changes
        touched = {source for path in event.changes for source in self._sources.readers(path)}
        for file in sorted(touched | event.declaring):
            self._discoveries[file] = None
        self._unlearn(event.changes)
        for path, digest in event.changes.items():
            for entry in sorted(self._read.readers(path)):
                if self._read.digest(entry, path) != digest:
                    self._targets[entry].fresh = False
                    if self.state(entry) != "building":  # whether the build has seen it, its end will tell
                        self._want(entry, f"{path} was saved")

    def _unlearn(self, changes: Mapping[str, str | None]) -> None:
        """What is remembered of a target that is not declared again yet is stale where a file is another."""
        for entry, known in self._memory.items():
            saved = (path for path, digest in changes.items() if known.reads.get(path, digest) != digest)
            if path := next(saved, None):
                self._memory[entry] = replace(known, stale=f"{path} was saved")

    def _want(self, entry: str, why: str) -> None:
        if entry not in self._targets or not self._eager:
            return
        if self.state(entry) == "building":
            self._touched[entry] = why
        else:
            self._pending.setdefault(entry, why)

    def _ended(self, event: Ended) -> None:
        order, self._under_way = self._under_way, None
        abandoned, self._abandoned = self._abandoned, False
        if isinstance(order, Investigate) and abandoned:
            self._aside.resume(order)
        elif not nobody_waits(order):
            self._aside.judged()
        if isinstance(order, Discover) and event.failed:
            self._postponed |= dict.fromkeys(order.files)
        cohort: tuple[str, ...] = ()
        if isinstance(order, Validate):
            cohort = order.cohort
            self._judged(order, event)
        for entry in event.again:
            if entry in self._targets:
                self._pending.setdefault(entry, "its round could not be finished")
        for entry in event.changed:
            self._try_again(entry)
        self._catch_up(cohort)

    def _judged(self, order: Validate, event: Ended) -> None:
        owed = dict(order.owed)
        for judged in event.judged:
            target = self._targets.get(judged.entry)
            if target is not None:  # its declaration may have gone while it was built
                target.judged(judged.verdict, order.cohort, owing=judged.entry in owed)
                if judged.reads is not None:
                    self._read.put(judged.entry, judged.reads)
        puzzling = tuple(judged.entry for judged in event.judged if judged.puzzling)
        if puzzling:
            self._aside.puzzle(Investigate(order.cohort, puzzling, event.round))

    def _try_again(self, entry: str) -> None:
        target = self._targets.get(entry)
        if target is None:
            return
        target.fresh = False
        if target.tries < MOST_TRIES:
            target.tries += 1
            self._pending.setdefault(entry, "its files changed while it was built")

    def _catch_up(self, cohort: tuple[str, ...]) -> None:
        """What happened to the cohort while it was built: only now is it known what it read."""
        touched, self._touched = self._touched, {}
        meanwhile, self._meanwhile = self._meanwhile, {}
        self._gone.clear()
        for path, digest in meanwhile.items():
            for entry in sorted(self._read.readers(path).intersection(cohort)):
                if self._read.digest(entry, path) != digest:
                    touched.setdefault(entry, f"{path} was saved")
        for entry, why in touched.items():
            if entry in self._targets:
                self._targets[entry].fresh = False
                self._want(entry, why)

    def _forget(self, entry: str) -> None:
        self._read.drop(entry)
        del self._targets[entry]
        self._pending.pop(entry, None)

    def _next(self) -> list[Order]:
        if self._under_way is not None:
            return self._give_way()
        if self._discoveries:
            # First of all: what is to be built depends on what there is.
            self._under_way = Discover(tuple(self._discoveries))
            self._discoveries.clear()
        elif self._pending:
            self._under_way = self._round()
        else:
            self._under_way = self._aside.next(self.fresh, self.exists)
        return [] if self._under_way is None else [self._under_way]

    def _give_way(self) -> list[Order]:
        """What nobody waits for makes room for what somebody does."""
        if not nobody_waits(self._under_way) or self._abandoned or not (self._pending or self._discoveries):
            return []
        self._abandoned = True
        return [Abandon()]

    def _round(self) -> Validate:
        """The next cohort: what waits, and whoever was built together with one of them when a difference was
        found.

        Neighbours matter: a target that differed in a cohort of three says nothing of that difference when it
        is built alone.
        """
        chosen: dict[str, None] = {}
        why = next(iter(self._pending.values()))
        for entry in self._pending:
            neighbours = [other for other in self._targets[entry].differed if self._comes_along(other)]
            waiting = [other for other, target in self._targets.items() if target.waits_for(entry)]
            together = chosen | dict.fromkeys([entry, *neighbours, *waiting])
            if chosen and len(together) > MOST_TOGETHER:
                break
            chosen = together
        for entry in chosen:
            self._pending.pop(entry, None)
        declared = tuple(entry for entry in self._targets if entry in chosen)
        owed = [(entry, tuple(self._missing(entry, chosen))) for entry in declared]
        return Validate(declared, why, tuple((entry, missing) for entry, missing in owed if missing))

    def _missing(self, entry: str, cohort: Iterable[str]) -> list[str]:
        """Targets beside which `entry` differed, that exist and are not in `cohort`."""
        held = set(cohort)
        return [
            other for other in self._targets[entry].differed if other in self._targets and other not in held
        ]

    def _comes_along(self, neighbour: str) -> bool:
        # Who could not be compared may have been what broke the round, and would break it for ever.
        target = self._targets.get(neighbour)
        return target is not None and (neighbour in self._pending or target.verdict != INCONCLUSIVE)
