"""A case: one target's latest verdict together with what its round built, as far as that is still recorded.

Runs may be schedules (`threads:2`) or variations of a later investigation (`hash-seed`), and any of their
builds may be missing by now: builds are pruned with time, verdicts are not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pcvd.core import kernel
from pcvd.core.builds import STAGES, Artifact, Build, Part, Run
from pcvd.core.distances import Distances
from pcvd.core.evidence import canonical_digest, unequal_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pcvd.core.model import Judgement

REFERENCE = "serial"
"""The run that all others are compared with."""

OUTPUT = "output"
"""The stage whose parts are the leaves of the results."""

IDENTICAL, DIFFERS, ABSENT, NOT_COMPARED = "identical", "differs", "absent", "not compared"


@dataclass(frozen=True, slots=True)
class Pair:
    """A part of an artifact that differs: its two sides (None: it is missing there), and the runs whose
    builds have it so.
    """

    stage: str
    name: str
    left: Part | None
    right: Part | None
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a target's latest verdict; `tolerate` are the stages whose differences do not fail."""

    judgement: Judgement
    runs: tuple[Run, ...]
    round: int
    checked_at: str
    why: str
    cohort: tuple[str, ...]
    fresh: bool
    tolerate: tuple[str, ...]

    @property
    def target(self) -> str:
        """The target's name."""
        return self.judgement.target

    def run(self, name: str) -> Run | None:
        """The run of that name, or None."""
        return next((run for run in self.runs if run.schedule == name), None)

    def names(self) -> tuple[str, ...]:
        """The runs that have built the target, the reference first."""
        return tuple(run.schedule for run in self.runs if run.of(self.target))

    @property
    def reference(self) -> Build | None:
        """The target's build in the reference; None where it is recorded no more."""
        run = self.run(REFERENCE)
        builds = run.of(self.target) if run is not None else ()
        return builds[0] if builds else None

    @property
    def stage(self) -> str | None:
        """The stage that the cause and the advice are about; what differs first may be tolerated."""
        return (self.judgement.cause or {}).get("stage") or self.judgement.first_stage

    @property
    def pruned(self) -> bool:
        """Whether the builds that the verdict rests on are gone."""
        return self.reference is None

    def challengers(self) -> tuple[Run, ...]:
        """All runs that built the target but the reference."""
        return tuple(run for run in self.runs if run.schedule != REFERENCE and run.of(self.target))

    # -- how runs compare with the reference ---------------------------------------------------------

    def states(self, stage: str) -> dict[str, str]:
        """Per run whether it is identical to the reference at `stage`, differs, or has nothing there."""
        recorded = self._recorded(stage)
        if self.reference is None:
            return recorded
        built = {run.schedule: self._state(stage, run) for run in self.challengers()}
        return built | {name: state for name, state in recorded.items() if name not in built}

    def state(self, stage: str) -> str:
        """The same of all runs together: a difference counts more than anything else."""
        states = set(self.states(stage).values())
        return next((one for one in (DIFFERS, IDENTICAL, ABSENT) if one in states), NOT_COMPARED)

    def differing(self) -> tuple[str, ...]:
        """The stages at which some run differs, first to last."""
        return tuple(stage for stage in STAGES if self.state(stage) == DIFFERS)

    def _state(self, stage: str, run: Run) -> str:
        mine = self.reference.artifact(stage) if self.reference is not None else None
        others = [build.artifact(stage) for build in run.of(self.target)]
        known = [artifact for artifact in others if artifact is not None]
        if mine is None or not known:  # a build may be made up to an earlier stage only
            return NOT_COMPARED
        if any(artifact.canonical != mine.canonical for artifact in known):
            return DIFFERS
        return ABSENT if mine.canonical is None else IDENTICAL

    def _recorded(self, stage: str) -> dict[str, str]:
        """What the verdict itself remembers, which outlives the builds."""
        digests = self.judgement.stages.get(stage, {})
        mine = digests.get(REFERENCE)
        return {
            name: DIFFERS if digest != mine else IDENTICAL if mine is not None else ABSENT
            for name, digest in digests.items()
            if name != REFERENCE
        }

    def distances(self) -> Distances:
        """How far the verdict says that leaves of the outputs are from the reference's."""
        mine = self.reference.artifact(OUTPUT) if self.reference is not None else None
        return Distances(self.judgement.output, mine.parts if mine is not None else ())

    # -- what differs --------------------------------------------------------------------------------

    def pairs(self, stage: str, *, versions: bool = False) -> list[Pair]:
        """The parts at which some run differs from the reference; `versions`: one pair for each other version
        of a part, instead of the first one for all.
        """
        found: dict[tuple[str, str], Pair] = {}
        mine = self.reference.artifact(stage) if self.reference is not None else None
        for run in self.challengers():
            for artifact in self._artifacts(run, stage):
                for left, right, name in sides(mine, artifact):
                    key = (name, right.canonical if right is not None and versions else "")
                    pair = found.get(key) or Pair(stage, name, left, right, ())
                    if run.schedule not in pair.runs:
                        found[key] = replace(pair, runs=(*pair.runs, run.schedule))
        return [found[key] for key in sorted(found)]

    def _artifacts(self, run: Run, stage: str) -> Iterator[Artifact]:
        for build in run.of(self.target):
            artifact = build.artifact(stage)
            if artifact is not None:
                yield artifact

    def differing_build(self, name: str, stage: str, than: Build) -> Build | None:
        """Of a run's builds one that differs from `than` at `stage`, one that came so far if there is any;
        else the first; None without any.
        """
        run = self.run(name)
        builds = run.of(self.target) if run is not None else ()
        unlike = [
            build for build in builds if canonical_digest(build, stage) != canonical_digest(than, stage)
        ]
        unlike.sort(key=lambda build: not reaches(build, stage))
        return next(iter((*unlike, *builds)), None)


def reaches(build: Build, stage: str) -> bool:
    """Whether a build came as far as `stage`: what it has not there, it lacks."""
    last = STAGES.index(stage) if stage in STAGES else 0
    return any(STAGES.index(one.stage) >= last for one in build.artifacts if one.stage in STAGES)


def sides(
    left: Artifact | None, right: Artifact | None, *, raw: bool = False
) -> Iterator[tuple[Part | None, Part | None, str]]:
    """The parts at which two artifacts differ: both sides and the name; `raw`: as the compiler gave them."""
    a, b = (_named(artifact.parts if artifact is not None else ()) for artifact in (left, right))
    if raw:
        names = {name for name in {*a, *b} if _raw(a.get(name)) != _raw(b.get(name))}
    else:
        names = unequal_parts(tuple(a.values()), tuple(b.values()))
    for name in sorted(names):
        yield a.get(name), b.get(name), name


def _named(parts: Iterable[Part]) -> dict[str, Part]:
    return {part.name: part for part in parts}


def _raw(part: Part | None) -> tuple[str, str] | None:
    return None if part is None else (part.raw, part.label)


def kernel_of(stage: str, part: str) -> str | None:
    """The kernel that a file of machine code is of; None where there are none, or it holds all."""
    return (kernel.kernel_of(part) or None) if stage in {"llvm", "object"} else None
