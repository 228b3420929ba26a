"""What builds leave: artifacts stage by stage, kernels, and runs of schedules with what overlapped in them.

As in `core.model`, everything here is a frozen record of plain values.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pcvd.core.model import Failure, digest

if TYPE_CHECKING:
    from collections.abc import Iterable

STAGES = ("jaxpr", "stablehlo", "hlo", "llvm", "object", "executable", "output")
"""The stages of a build, first to last. A verdict names the first that differs."""

TRACED = ("jaxpr", "stablehlo")
"""The stages that tracing makes: where they differ, no compiler is to blame."""

REQUIRED_STAGES = ("stablehlo", "hlo", "output")
"""Without an artifact at one of these, a build is no evidence at all."""

LOCATIONS = "locations"
"""Source positions and scope names: kept and shown beside the stages, never a reason to disagree."""

BY_TYPE = " by type"
"""How the label of a part ends that names objects of which only the types are known; their number precedes
it.
"""

LINES, PASSES = "lines", "passes"
"""The jaxpr with the source line of each equation, and the HLO after each compiler pass: collected only where
a difference is to be located.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of an artifact: a kernel's object file, one leaf of the outputs, or the only text of a stage.

    `raw` is the SHA-256 of the bytes as the compiler gave them, `canonical` the one after `rules` removed
    what carries no meaning; `size` counts the raw bytes. `label` tells what the bytes are, where a name alone
    does not (`f32[32,64]`).
    """

    name: str
    raw: str
    canonical: str
    size: int
    label: str = ""
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Artifact:
    """What one build left at one stage: its parts, or the reason why there are none."""

    stage: str
    raw: str | None
    canonical: str | None
    parts: tuple[Part, ...] = ()
    absent: str | None = None

    @staticmethod
    def of(stage: str, parts: list[Part]) -> Artifact:
        """The artifact of `parts`, in the order of their names: files come in the order in which threads
        wrote them.
        """
        if not parts:
            return Artifact.missing(stage, "it has no parts")
        ordered = tuple(sorted(parts, key=lambda part: (part.name, part.label, part.canonical, part.raw)))
        return Artifact(
            stage,
            _combined([(part.name, part.label, part.raw) for part in ordered]),
            _combined([(part.name, part.label, part.canonical) for part in ordered]),
            ordered,
        )

    @staticmethod
    def missing(stage: str, why: str) -> Artifact:
        """A stage without an artifact. Absent on one side is a difference, absent on all is no evidence."""
        return Artifact(stage, None, None, (), why)


def _combined(parts: list[tuple[str, str, str]]) -> str:
    # A text has its own digest, so that the digest a status shows is the name of a stored blob. Where a label
    # tells what the bytes are, it counts: four zeros of f32 are not four zeros of i32.
    if len(parts) == 1 and not parts[0][1]:
        return parts[0][2]
    return digest("".join(f"{name}\0{label}\0{value}\n" for name, label, value in parts).encode())


WHOLE = "whole"
"""The policy that does not cut."""

LINKED = "linked"
"""The name of what all kernels of a target make, put together again: it has an output alone."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a build is of, where it is not of a whole target: one of the kernels that it was cut into, each of
    which is built once, or all of them, linked.

    `name` and `digest` tell equal programs from others; `function`, `file` (relative to the root where it
    lies under it) and `line` say where it comes from. `uses` counts the steps in which it runs.
    """

    name: str
    digest: str = ""
    function: str = ""
    file: str | None = None
    line: int | None = None
    uses: int = 0


@dataclass(frozen=True, slots=True)
class Build:
    """One target built once under one schedule.

    Times are nanoseconds of the system's monotonic clock, which all processes of a machine share: `began_ns`
    before tracing, `lowered_ns` when StableHLO was there, `compiling_ns` when it was handed to the compiler,
    `ended_ns` when the executable was there. `inputs` is the SHA-256 of the argument values. `repeats` tells
    whether the executable gave the same bits each time it ran; None where it was not run.
    """

    target: str
    copy: int
    worker: int
    thread: str
    began_ns: int
    lowered_ns: int
    ended_ns: int
    inputs: str = ""
    artifacts: tuple[Artifact, ...] = ()
    failure: Failure | None = None
    repeats: bool | None = None
    compiling_ns: int = 0
    kernel: Kernel | None = None
    """The part of the target that this is a build of; None: all of it, in one piece."""

    def artifact(self, stage: str) -> Artifact | None:
        """The artifact at `stage`, or None where the build never came that far."""
        return next((artifact for artifact in self.artifacts if artifact.stage == stage), None)


@dataclass(frozen=True, slots=True)
class Run:
    """One schedule carried out over one cohort: its builds and the circumstances under which they are
    evidence.

    `order` is the cohort in the order in which builds were submitted (a target stands twice where a copy of
    it was built); `zygote` names the process the workers were forked from; `environments` holds one
    description per worker process.
    """

    schedule: str
    order: tuple[str, ...]
    builds: tuple[Build, ...]
    zygote: str
    hash_seed: int
    affinity: tuple[int, ...]
    environments: tuple[dict[str, Any], ...]
    culprits: tuple[str, ...] = ()
    """Targets in flight when a worker died or ran past a deadline: the others of the run are innocent."""
    kernels: tuple[Build, ...] = ()
    """Where targets were cut as well: the builds of their kernels, and what these are linked to."""

    def kernels_of(self, target: str) -> tuple[Build, ...]:
        """The builds of the kernels of `target`, and of what they are linked to, copies included."""
        return tuple(build for build in self.kernels if build.target == target)

    def of(self, target: str) -> tuple[Build, ...]:
        """The builds of `target`, copies included."""
        return tuple(build for build in self.builds if build.target == target)

    def joined(self, later: Run) -> Run:
        """This run and a later one of the same schedule, as one: copies are counted on."""
        built = Counter(build.target for build in self.builds)
        more, kernels = (
            tuple(replace(build, copy=build.copy + built[build.target]) for build in builds)
            for builds in (later.builds, later.kernels)
        )
        return replace(
            self,
            order=(*self.order, *later.order),
            builds=(*self.builds, *more),
            kernels=(*self.kernels, *kernels),
            environments=(*self.environments, *later.environments),
            culprits=(*self.culprits, *later.culprits),
        )

    @property
    def peak_in_flight(self) -> int:
        """The largest number of builds that were under way at one moment, from their recorded starts and
        ends.
        """
        return peak(_under_way(self.builds))

    @property
    def peak_compiling(self) -> int:
        """The largest number of builds that the compiler was at, at one moment.

        Builds of a first wave begin together by construction; that their compilations overlapped as well is a
        finding.
        """
        return peak(_compiling(self.builds))

    def in_flight_beside(self, target: str) -> int:
        """The largest number of builds that were under way at one moment of a build of `target`, itself
        included.
        """
        return _peak_within(_under_way(self.builds), _under_way(self.of(target)))

    def compiling_beside(self, target: str) -> int:
        """The largest number of builds that the compiler was at, at one moment at which it was at `target`.

        That others overlapped says nothing of a target that was compiled when they were done.
        """
        return _peak_within(_compiling(self.builds), _compiling(self.of(target)))

    @property
    def wall_ns(self) -> int:
        """How long builds were under way: a pause between two tries of a schedule is none of its time."""
        wall = reached = 0
        for began, ended in sorted(_under_way(self.builds)):
            wall += max(0, ended - max(began, reached))
            reached = max(reached, ended)
        return wall


def _under_way(builds: Iterable[Build]) -> list[tuple[int, int]]:
    return [(build.began_ns, build.ended_ns) for build in builds if build.ended_ns]


def _compiling(builds: Iterable[Build]) -> list[tuple[int, int]]:
    return [(build.compiling_ns, build.ended_ns) for build in builds if build.compiling_ns]


def _peak_within(spans: list[tuple[int, int]], among: list[tuple[int, int]]) -> int:
    """The largest number of `spans` that hold one common moment of one of `among`."""
    return max(
        (
            peak(
                [
                    (max(start, began), min(end, ended))
                    for start, end in spans
                    if start < ended and began < end
                ]
            )
            for began, ended in among
        ),
        default=0,
    )


def peak(spans: list[tuple[int, int]]) -> int:
    """The largest number of half-open `spans` (start, end) that hold one common moment."""
    moments = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    best = now = 0
    for _, step in moments:
        now += step
        best = max(best, now)
    return best
