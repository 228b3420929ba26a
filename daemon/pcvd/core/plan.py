"""The plan: what has to be built, and when. A pure state machine: typed events in, typed orders out.

It knows which target read which file, what is fresh, what waits, and what is under way; it knows nothing of
processes, files or time. At most one order is under way. What nobody touched is never visited: a save costs
the targets that read it, not all there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pcvd.core.compare import AGREE, INCONCLUSIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcvd.core.model import TargetSpec

MOST_TOGETHER = 32
"""How many targets one round builds at most: a process keeps all executables of its cohort until they have
been run.
"""

MOST_TRIES = 3
"""How often a target is built again because its files changed meanwhile, when no further save asks for it."""


# -- events ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """A verdict from an earlier life: `reads` maps path to digest, `fresh` tells whether all of them are
    still so.
    """

    entry: str
    verdict: str
    cohort: tuple[str, ...]
    reads: Mapping[str, str | None]
    fresh: bool


@dataclass(frozen=True, slots=True)
class Recovered:
    """The daemon remembers these verdicts."""

    known: tuple[Known, ...]


@dataclass(frozen=True, slots=True)
class Declared:
    """The targets that exist, as the settings name them (`source` is None) or as one model file declares
    them.
    """

    targets: tuple[TargetSpec, ...]
    source: str | None = None
    reads: frozenset[str] = frozenset()
    """Paths that the discovery depended on: when one changes, `source` is asked again."""
    broken: bool = False
    """`source` could not be imported: what it declared before still exists, and will fail with the reason."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Files whose contents are other than they were; None for one that is gone.

    `declaring` names model files (relative to the root) among them that may declare targets, `gone` those
    that did and are no more.
    """

    changes: Mapping[str, str | None]
    declaring: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody wants these targets built, whether fresh or not."""

    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outdated:
    """What all builds rest on has changed."""

    why: str


@dataclass(frozen=True, slots=True)
class Judged:
    """One target's verdict, and what its builds read (path to digest)."""

    entry: str
    verdict: str
    reads: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Ended:
    """The order under way has ended.

    `again`: targets that fell victim to a neighbour's failure; each such round has fewer targets. `changed`:
    targets whose files were edited while they were built.
    """

    judged: tuple[Judged, ...] = ()
    again: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    failed: bool = False
    """The order could not be carried out at all; a discovery is tried again when somebody asks."""


Event = Recovered | Declared | Saved | Asked | Outdated | Ended


# -- orders ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Discover:
    """Ask these model files which targets they declare."""

    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Validate:
    """Build this cohort in one round. `why` says what made it necessary."""

    cohort: tuple[str, ...]
    why: str


Order = Discover | Validate


# -- the machine -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Target:
    spec: TargetSpec
    source: str | None
    verdict: str | None = None
    cohort: tuple[str, ...] = ()
    reads: dict[str, str | None] = field(default_factory=dict)
    fresh: bool = False
    tries: int = 0


class Plan:
    """What has to be built, and when."""

    def __init__(self) -> None:
        self._targets: dict[str, _Target] = {}
        self._memory: dict[str, Known] = {}
        self._readers: dict[str, set[str]] = {}
        self._pending: dict[str, str] = {}
        self._sources: dict[str, frozenset[str]] = {}
        self._discoveries: dict[str, None] = {}
        self._postponed: dict[str, None] = {}
        """Files whose discovery could not be carried out."""
        self._under_way: Order | None = None
        self._touched: dict[str, str] = {}
        """Targets of the cohort under way whose files changed meanwhile, and through what."""

    # what others may ask

    @property
    def idle(self) -> bool:
        """Nothing under way and nothing waiting."""
        return self._under_way is None and not self._pending and not self._discoveries

    @property
    def discovering(self) -> bool:
        """Whether it is still to be found out which targets there are."""
        return bool(self._discoveries) or isinstance(self._under_way, Discover)

    def concerned(self, path: str) -> set[str]:
        """`path` itself where some target or discovery read it, or the paths below it that were read,
        where it is a folder.
        """
        if path in self._readers or any(path in reads for reads in self._sources.values()):
            return {path}
        below = path.rstrip("/") + "/"
        return {read for read in self._readers if read.startswith(below)}

    @property
    def sources(self) -> frozenset[str]:
        """The model files that were asked for their targets."""
        return frozenset(self._sources)

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
        """`building`, `queued` or `idle`."""
        if isinstance(self._under_way, Validate) and entry in self._under_way.cohort:
            return "building"
        return "queued" if entry in self._pending else "idle"

    def waits(self, entries: Iterable[str]) -> bool:
        """Whether any of `entries` is still to be judged."""
        return self.discovering or any(
            entry in self._targets and self.state(entry) != "idle" for entry in entries
        )

    # what happens

    def handle(self, event: Event) -> list[Order]:
        """Take in `event`; the orders that follow from it, to be carried out in turn."""
        match event:
            case Recovered():
                self._memory |= {known.entry: known for known in event.known}
            case Declared():
                self._declared(event)
            case Saved():
                self._saved(event)
            case Asked():
                self._discoveries |= self._postponed
                self._postponed.clear()
                for entry in event.entries:
                    if (
                        entry in self._targets and self.state(entry) == "idle"
                    ):  # what is being built answers as well
                        self._pending[entry] = "asked for"
            case Outdated():
                for entry, target in self._targets.items():
                    target.fresh = False
                    self._want(entry, event.why)
            case Ended():
                self._ended(event)
        return self._next()

    def _declared(self, event: Declared) -> None:
        if event.source is not None:
            self._sources[event.source] = event.reads
        if event.broken:
            return
        for entry in [entry for entry, target in self._targets.items() if target.source == event.source]:
            if entry not in {spec.entry for spec in event.targets}:
                self._forget(entry)
        for spec in event.targets:
            before = self._targets.get(spec.entry)
            if before is not None and before.source != event.source and event.source is not None:
                continue  # the settings name it already, with arguments of their own
            if before is None:
                self._remember(spec, event.source)
            else:
                otherwise = before.spec.args != spec.args
                before.spec, before.source = spec, event.source
                if otherwise:
                    before.fresh = False
                    self._want(spec.entry, "its arguments are declared otherwise")

    def _remember(self, spec: TargetSpec, source: str | None) -> None:
        target = self._targets[spec.entry] = _Target(spec, source)
        known = self._memory.pop(spec.entry, None)
        if known is None:
            self._want(spec.entry, "new")
            return
        target.verdict, target.cohort, target.fresh = known.verdict, known.cohort, known.fresh
        self._reads(spec.entry, known.reads)
        if not known.fresh:
            self._want(spec.entry, "changed while no daemon ran")

    def _saved(self, event: Saved) -> None:
        for file in event.gone:
            self._declared(Declared((), file))
            self._sources.pop(file, None)
        touched = {source for source, reads in self._sources.items() if not reads.isdisjoint(event.changes)}
        for file in sorted(touched | event.declaring):
            self._discoveries[file] = None
        for path, digest in event.changes.items():
            for entry in sorted(self._readers.get(path, ())):
                if self._targets[entry].reads[path] != digest:
                    self._targets[entry].fresh = False
                    self._want(entry, f"{path} was saved")

    def _want(self, entry: str, why: str) -> None:
        if entry not in self._targets:
            return
        if self.state(entry) == "building":
            self._touched[entry] = why
        else:
            self._pending.setdefault(entry, why)

    def _ended(self, event: Ended) -> None:
        order, self._under_way = self._under_way, None
        touched, self._touched = self._touched, {}
        cohort = order.cohort if isinstance(order, Validate) else ()
        if isinstance(order, Discover) and event.failed:
            self._postponed |= dict.fromkeys(order.files)
        for judged in event.judged:
            target = self._targets.get(judged.entry)
            if target is None:
                continue  # its declaration went while it was built
            target.verdict, target.cohort, target.tries = judged.verdict, cohort, 0
            target.fresh = judged.entry not in touched
            self._reads(judged.entry, judged.reads)
        for entry in event.again:
            self._want(entry, "its round could not be finished")
        for entry in event.changed:
            if entry in self._targets and self._targets[entry].tries < MOST_TRIES:
                self._targets[entry].tries += 1
                self._want(entry, "its files changed while it was built")
        for entry, why in touched.items():
            self._want(entry, why)

    def _reads(self, entry: str, reads: Mapping[str, str | None]) -> None:
        target = self._targets[entry]
        for path in target.reads:
            self._readers.get(path, set()).discard(entry)
        target.reads = dict(reads)
        for path in reads:
            self._readers.setdefault(path, set()).add(entry)

    def _forget(self, entry: str) -> None:
        self._reads(entry, {})
        del self._targets[entry]
        self._pending.pop(entry, None)

    def _next(self) -> list[Order]:
        if self._under_way is not None:
            return []
        if self._discoveries:
            # First of all: what is to be built depends on what there is.
            self._under_way = Discover(tuple(self._discoveries))
            self._discoveries.clear()
        elif self._pending:
            self._under_way = self._round()
        return [] if self._under_way is None else [self._under_way]

    def _round(self) -> Validate:
        """The next cohort: what waits, and whoever was built together with one of them when a difference was
        found.

        Neighbours matter: a target that differed in a cohort of three says nothing of that difference when it
        is built alone.
        """
        chosen = dict.fromkeys(list(self._pending)[:MOST_TOGETHER])
        why = self._pending[next(iter(chosen))]
        for entry in list(chosen):
            target = self._targets[entry]
            if target.verdict not in {None, AGREE, INCONCLUSIVE}:
                chosen |= dict.fromkeys(other for other in target.cohort if other in self._targets)
        for entry in chosen:
            self._pending.pop(entry, None)
        declared = [entry for entry in self._targets if entry in chosen]
        return Validate(tuple(declared), why)
