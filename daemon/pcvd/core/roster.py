"""The roster: which targets exist, who declared them, what each read, and where each stands.

Targets are declared by the settings or by one model file; what an earlier life found of them is remembered
until they are declared again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pcvd.core import looks
from pcvd.core.compare import AGREE, DIVERGED, EQUIVALENT, INCONCLUSIVE, UNSTABLE
from pcvd.core.dependencies import Dependencies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pcvd.core.events import Declared, Known
    from pcvd.core.model import TargetSpec

_OTHERWISE = "its arguments are declared otherwise"


@dataclass(slots=True)
class Target:
    """A declared target and where it stands."""

    spec: TargetSpec
    source: str | None
    """The model file that declares it; None where the settings do."""
    place: int
    """Targets are built in the order of their declaration."""
    verdict: str | None = None
    differed: tuple[str, ...] = ()
    """The cohort in which it last differed. Only agreement in that cohort clears it: neither a smaller one
    does, nor what could not be compared.
    """
    grave: bool = False
    """It differed there at a stage that is not tolerated."""
    broken: bool = False
    """It could not be compared when it was built last, and may be what broke its round."""
    fresh: bool = False
    tries: int = 0
    """How often its files changed while it was built, since the last verdict."""
    given_up: int = 0
    """How often its build was given up, since the last verdict."""
    cohort: tuple[str, ...] = ()
    """Beside whom it was judged last."""

    def confirmed(self) -> None:
        """The verdict is about the files as they were read just now."""
        self.fresh, self.tries, self.given_up = True, 0, 0


class Roster:
    """Targets by their entry. Methods that change what exists tell which targets are to be built, and why."""

    def __init__(self, news: set[str], root: str = "") -> None:
        """`news` is told of every target that comes, goes, or becomes fresh or stale. Files are named
        relative to `root`.
        """
        self._news = news
        self._root = f"{root.rstrip('/')}/" if root else ""
        self.read = Dependencies()
        """Who read which file when it was last built."""
        self._targets: dict[str, Target] = {}
        self._by_source: dict[str | None, dict[str, None]] = {}
        self._memory: dict[str, Known] = {}
        self._owing: set[str] = set()
        self.version = 0
        """Grows whenever a target comes, goes or is declared otherwise."""

    def __contains__(self, entry: str) -> bool:
        return entry in self._targets

    def outdate(self, entry: str) -> None:
        """The target's verdict is about files as they were."""
        self._news.add(entry)
        self._targets[entry].fresh = False

    def confirm(self, entry: str, reads: Mapping[str, str | None] | None) -> None:
        """The target's verdict is about the files as they were read just now (None: as is known)."""
        self._news.add(entry)
        self._targets[entry].confirmed()
        if reads is not None:
            self.read.put(entry, reads)

    def __getitem__(self, entry: str) -> Target:
        return self._targets[entry]

    def __iter__(self) -> Iterator[str]:
        """All entries, in the order of their declaration."""
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def get(self, entry: str) -> Target | None:
        """The target of that name, or None."""
        return self._targets.get(entry)

    def remember(self, known: Iterable[Known]) -> None:
        """Verdicts of an earlier life, for targets that may still exist."""
        self._memory |= {one.spec.entry: one for one in known}

    @property
    def remembered(self) -> tuple[TargetSpec, ...]:
        """What is remembered and was not declared again."""
        return tuple(known.spec for known in self._memory.values())

    def saved(self, path: str) -> str:
        """That a file was saved, as the reason for something."""
        if path.endswith(looks.TREE):
            return f"something below {looks.path_of(path)} was saved"
        return f"{self.shown(path)} was saved"

    def shown(self, path: str) -> str:
        """A path as it is named: relative to the root, where it lies below it."""
        return looks.path_of(path).removeprefix(self._root)

    def unlearn(self, changes: Mapping[str, str | None]) -> None:
        """What is remembered of a target that is not declared again yet is stale where a file is another."""
        for entry, known in self._memory.items():
            saved = (path for path, digest in changes.items() if known.reads.get(path, digest) != digest)
            if path := next(saved, None):
                self._memory[entry] = replace(known, stale=self.saved(path))

    # -- declarations ------------------------------------------------------------------------------

    def declare(self, event: Declared) -> Iterator[tuple[str, str, Known | None]]:
        """Take in what a source declares: the targets to be built, why, and what is remembered of them.

        A source that could not be imported declares what it did before.
        """
        specs: Iterable[TargetSpec] = event.targets
        if event.broken:
            specs = [known.spec for known in self._memory.values() if known.spec.path == event.source]
        for spec in specs:
            yield from self._declare(spec, event.source)

    def declares(self, source: str) -> bool:
        """Whether there are targets that the source has declared."""
        return bool(self._by_source.get(source))

    def undeclared(self, event: Declared) -> list[str]:
        """The targets that the event's source declared before, and declares no more."""
        declared = {spec.entry for spec in event.targets}
        held = () if event.broken else self._by_source.get(event.source, ())
        return [entry for entry in held if entry not in declared]

    def _declare(self, spec: TargetSpec, source: str | None) -> Iterator[tuple[str, str, Known | None]]:
        target = self._targets.get(spec.entry)
        if target is None:
            yield from self._welcome(spec, source)
        elif source is None or target.source == source:
            # Else the settings name it, with arguments of their own.
            otherwise = target.spec.args != spec.args
            self.version += target.spec != spec
            self._by_source[target.source].pop(spec.entry)
            self._by_source.setdefault(source, {})[spec.entry] = None
            target.spec, target.source = spec, source
            if otherwise:
                self.outdate(spec.entry)
                yield spec.entry, _OTHERWISE, None

    def _welcome(self, spec: TargetSpec, source: str | None) -> Iterator[tuple[str, str, Known | None]]:
        self.version += 1
        self._news.add(spec.entry)
        target = self._targets[spec.entry] = Target(spec, source, self.version)
        self._by_source.setdefault(source, {})[spec.entry] = None
        known = self._memory.pop(spec.entry, None)
        if known is None:
            yield spec.entry, "new", None
            return
        target.verdict, target.differed, target.grave = known.verdict, known.differed, known.grave
        target.broken = known.verdict == INCONCLUSIVE
        target.fresh = known.stale is None and known.spec.args == spec.args
        self.read.put(spec.entry, known.reads)
        yield spec.entry, "" if target.fresh else known.stale or _OTHERWISE, known

    def forget(self, entry: str) -> None:
        """The target is no more."""
        self.version += 1
        self._news.add(entry)
        self.read.drop(entry)
        self._owing.discard(entry)
        self._by_source[self._targets.pop(entry).source].pop(entry)

    # -- neighbours --------------------------------------------------------------------------------
    # They matter: a target that differed in a cohort of three says nothing of that difference when it is
    # built alone.

    def judged(
        self,
        entry: str,
        verdict: str,
        cohort: tuple[str, ...],
        reads: Mapping[str, str | None] | None,
        *,
        provisional: bool = False,
    ) -> None:
        """Take in a verdict on the files as they were read (None: as is known). `provisional`: it agrees, but
        without somebody beside whom it had differed.
        """
        target, missing = self._targets[entry], self.missing(entry, set(cohort))
        target.verdict, target.cohort = verdict, cohort
        target.broken = verdict == INCONCLUSIVE and not provisional
        self.confirm(entry, reads)
        if verdict in {EQUIVALENT, DIVERGED, UNSTABLE}:
            target.grave = verdict != EQUIVALENT or (target.grave and bool(missing))
            target.differed = (*cohort, *missing)
        elif verdict == AGREE and not missing:
            target.differed, target.grave = (), False
        if missing:
            self._owing.add(entry)
        else:
            self._owing.discard(entry)

    def missing(self, entry: str, cohort: set[str]) -> tuple[str, ...]:
        """Targets beside which `entry` differed, that exist and are not in `cohort`."""
        return tuple(
            other for other in self._targets[entry].differed if other in self._targets and other not in cohort
        )

    def neighbours(self, entry: str) -> Iterator[str]:
        """`entry`, whoever it differed beside, and whoever waits for it to be built with them again."""
        yield entry
        owing = (other for other in self._owing if entry in self._targets[other].differed)
        for other in (*self._targets[entry].differed, *owing):
            # What breaks a round would break it for ever.
            if other in self._targets and not self._targets[other].broken:
                yield other
