"""Comparison kernel by kernel: where targets are cut, each kernel is one more thing that is built under every
schedule, and what they are linked to is run. Pure.

A target that can't be cut, or a kernel that can't be built at all, is told; it is no difference, and leaves
the verdict on the target in one piece as it is. What the reference built and another schedule did not leaves
no agreement, nor does a linked program that computes something else than the whole one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pcvd.core.builds import LINKED, STAGES, WHOLE, Build, Kernel, Run, peak
from pcvd.core.evidence import Facts, differing_stages, largest, unequal_parts, unreadable
from pcvd.core.schedule import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pcvd.core.model import Failure

CAUSE = "kernel"
"""The kind of a cause that is a kernel: the target in one piece does not differ there."""

_MOST_TOLD = 50
_LEAST_OVERLAP = 2


@dataclass(slots=True)
class Difference:
    """A kernel that differs: at which stages under which schedules, and the side that alone has it."""

    kernel: Kernel
    runs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    only: str | None = None

    @property
    def stages(self) -> tuple[str, ...]:
        """All stages at which it differs, first to last."""
        return tuple(stage for stage in STAGES if any(stage in stages for stages in self.runs.values()))


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a target's kernels compare, or the `obstacle`, with a `failure` where that is one."""

    kernels: tuple[Kernel, ...]
    linked: Kernel | None
    differences: tuple[Difference, ...] = ()
    repeats: bool = True
    obstacle: str | None = None
    failure: Failure | None = None
    lopsided: bool = False
    """The obstacle lies in a challenger: the reference came to build and link them all."""

    def found(self) -> dict[str, tuple[str, ...]]:
        """Per schedule the stages at which some kernel, or the linked program, differs."""
        stages: dict[str, set[str]] = {}
        for one in self.differences:
            for schedule, differing in one.runs.items():
                stages.setdefault(schedule, set()).update(differing)
        told = {name: tuple(stage for stage in STAGES if stage in some) for name, some in stages.items()}
        return told if self.repeats else {**told, "repeat": ("output",)}

    def first(self, stage: str) -> Difference | None:
        """The first kernel that differs at a stage."""
        return next((one for one in self.differences if stage in one.stages), None)


def compare(target: str, runs: Sequence[Run], facts: Facts) -> Comparison | None:
    """The comparison of a target's kernels over the runs of a round, the reference first; None where it is
    not to be cut.
    """
    if facts.partition == WHOLE:
        return None
    builds = [build for run in runs for build in run.kernels_of(target)]
    known = {build.kernel.name: build.kernel for build in builds if build.kernel is not None}
    linked = known.pop(LINKED, None)
    kernels = tuple(known.values())
    obstacle = _obstacle(target, runs[0], facts)
    lopsided = obstacle is None
    for run in runs[1:]:
        obstacle = obstacle or _obstacle(target, run, facts)
    if obstacle is not None:
        failure = next((build.failure for build in builds if build.failure is not None), None)
        return Comparison(kernels, linked, obstacle=obstacle, failure=failure, lopsided=lopsided)
    if alone := next((run.schedule for run in runs if _alone(target, run)), None):
        return Comparison(kernels, linked, obstacle=f"{alone} never compiled two kernels at once")
    found: dict[str, Difference] = {}
    (mine,) = _copies(runs[0].kernels_of(target))[:1]
    for run in runs[1:]:
        for theirs in _copies(run.kernels_of(target)):
            for name in {**mine, **theirs}:
                _hold(found, mine.get(name), theirs.get(name), run.schedule)
    ordered = tuple(found[name] for name in (*known, LINKED) if name in found)
    return Comparison(kernels, linked, ordered, repeats=all(build.repeats is not False for build in builds))


def _hold(found: dict[str, Difference], mine: Build | None, theirs: Build | None, schedule: str) -> None:
    """Hold one build of a kernel against the reference's, one of which may be missing."""
    known = mine or theirs
    assert known is not None
    assert known.kernel is not None
    lacking = Build(known.target, 0, 0, "", 0, 0, 0)
    stages = differing_stages(mine or lacking, [theirs or lacking])
    if not stages:
        return
    only = "serial" if theirs is None else "others" if mine is None else None
    one = found.setdefault(known.kernel.name, Difference(known.kernel, only=only))
    both = {*one.runs.get(schedule, ()), *stages}
    one.runs[schedule] = tuple(stage for stage in STAGES if stage in both)


def _copies(builds: Sequence[Build]) -> list[dict[str, Build]]:
    """The kernels of each copy of a target, by name."""
    copies: dict[int, dict[str, Build]] = {}
    for build in builds:
        if build.kernel is not None:
            copies.setdefault(build.copy, {})[build.kernel.name] = build
    return [copies[number] for number in sorted(copies)]


def _obstacle(target: str, run: Run, facts: Facts) -> str | None:
    """Why a run says nothing of the target's kernels; None where it built and linked them all."""
    built = _copies(run.kernels_of(target))
    failure = next((build.failure for kernels in built for build in kernels.values() if build.failure), None)
    if failure is not None:
        only = "" if parse(run.schedule).serial else f" (under {run.schedule}, not when built serially)"
        return failure.sentence() + only
    if not built or len(built) < len(run.of(target)):
        return f"{run.schedule} did not come to build its kernels"
    for kernels in built:
        # A worker that ended early, through whomever, has not linked what it built.
        if LINKED not in kernels:
            return f"{run.schedule} did not come to link its kernels"
        for name, build in kernels.items():
            lacking = _lacking(build) or unreadable(build, facts)
            if lacking is not None:
                return f"{run.schedule}: {name}: {lacking}"
    return None


def _lacking(build: Build) -> str | None:
    linked = build.kernel is not None and build.kernel.name == LINKED
    for stage in ("output",) if linked else ("stablehlo", "hlo"):
        artifact = build.artifact(stage)
        if artifact is None or artifact.canonical is None:
            return f"no {stage}" + (f" ({artifact.absent})" if artifact is not None else "")
    return None


def _in_flight(target: str, run: Run) -> int:
    """The largest number of kernels in the compiler at one moment at which one of the target's was."""
    own = [(one.compiling_ns, one.ended_ns) for one in run.kernels_of(target) if one.compiling_ns]
    spans = [(one.compiling_ns, one.ended_ns) for one in run.kernels if one.compiling_ns]
    within = [
        peak([(max(begin, start), min(end, stop)) for start, stop in spans if start < end and begin < stop])
        for begin, end in own
    ]
    return max(within, default=0)


def lonely(target: str, run: Run) -> bool:
    """Whether a concurrent run compiled the target's kernels one by one, with nothing going wrong."""
    return _alone(target, run) and all(build.failure is None for build in run.kernels_of(target))


def _alone(target: str, run: Run) -> bool:
    """Whether a concurrent run compiled the target's kernels, and none of them beside another."""
    some = any(one.compiling_ns for one in run.kernels_of(target))
    return some and parse(run.schedule).overlap > 1 and _in_flight(target, run) < _LEAST_OVERLAP


def excess(told: Mapping[str, Any]) -> str | None:
    """In which way the linked program computes something else than the whole one, by what is `told` of the
    kernels; None where it is within tolerance, or where they were not compared.
    """
    if told["linked"] is None or told["linked"]["against_whole"]["within_tolerance"]:
        return None
    apart = told["linked"]["against_whole"]["max_abs"]
    far = "differs, and how far is not known" if apart is None else f"is {apart:.3g} apart, beyond tolerance"
    return (
        f"what its kernels are linked to computes something else than the whole program: the output {far}"
        " (if that is rounding, raise atol or rtol in pcv.toml)"
    )


# -- what is told ------------------------------------------------------------------------------------


def document(
    target: str, runs: Sequence[Run], facts: Facts, found: Comparison, verdict: str, reason: str | None
) -> dict[str, Any]:
    """What a status tells of a target's kernels; `verdict` and `reason` are on them alone."""
    return {
        "policy": facts.partition,
        "verdict": verdict,
        "reason": reason,
        "kernels": len(found.kernels),
        "steps": found.linked.uses if found.linked is not None else 0,
        "failure": None if found.failure is None else asdict(found.failure),
        "differing": [_told(one) for one in found.differences[:_MOST_TOLD]],
        "more": max(0, len(found.differences) - _MOST_TOLD),
        "linked": None if found.obstacle is not None else _linked(target, runs, facts, found),
        "schedules": {
            run.schedule: {
                "builds": sum(one.compiling_ns > 0 for one in run.kernels_of(target)),
                "peak_in_flight": _in_flight(target, run),
            }
            for run in runs
        },
    }


def cause(difference: Difference, stage: str) -> dict[str, Any]:
    """The cause of a verdict that a kernel made, in the shape of the others."""
    kernel = difference.kernel
    name = "the program linked of its kernels" if kernel.name == LINKED else kernel.name
    runs = [run for run, stages in difference.runs.items() if stage in stages]
    lone = {"serial": ": the serial build alone has it", "others": ": the serial build does not have it"}
    text = f"{stage} of {name} differs under {', '.join(runs)}{lone.get(difference.only or '', '')}"
    return {
        "kind": CAUSE,
        "stage": stage,
        "kernel": None if kernel.name == LINKED else kernel.name,
        "pass": None,
        "file": kernel.file,
        "line": kernel.line,
        "headline": None,
        "text": text,
        "place": None,
        "hint": None,
        "workaround": None,
        "evidence": [],
        "remarks": ["the target in one piece does not differ there"],
    }


def unrepeated(found: Comparison) -> Difference | None:
    """The linked program, where it gives other bits when it runs again."""
    if found.repeats or found.linked is None:
        return None
    return Difference(found.linked, {"repeat": ("output",)})


def leaves(target: str, reference: Run) -> Iterator[tuple[Any, Any]]:
    """The output leaves of the reference's whole and linked programs that differ, in pairs."""
    whole, linked = _outputs(target, reference)
    mine, theirs = ({part.name: part for part in parts} for parts in (whole, linked))
    for name in sorted(unequal_parts(whole, linked)):
        if name in mine and name in theirs:
            yield mine[name], theirs[name]


def _outputs(target: str, reference: Run) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    linked = [one for one in reference.kernels_of(target) if one.kernel and one.kernel.name == LINKED]
    found = [
        next((one.artifact("output") for one in builds[:1]), None)
        for builds in (reference.of(target), linked)
    ]
    whole, ours = (artifact.parts if artifact is not None else () for artifact in found)
    return whole, ours


def _linked(target: str, runs: Sequence[Run], facts: Facts, found: Comparison) -> dict[str, Any]:
    """Whether all linked programs gave the same bits, and how far these are from the whole program's."""
    deltas = facts.linked.get(target, ())
    same = not any(one.kernel.name == LINKED for one in found.differences) and found.repeats
    unequal = unequal_parts(*_outputs(target, runs[0]))
    measured = unequal <= {delta.path for delta in deltas}
    return {
        "bitwise": same,
        "against_whole": {
            "bitwise": not unequal,
            "max_abs": largest([delta.max_abs for delta in deltas]) if unequal else 0.0,
            "max_rel": largest([delta.max_rel for delta in deltas]) if unequal else 0.0,
            "max_ulps": largest([delta.max_ulps for delta in deltas]) if unequal else 0.0,
            "within_tolerance": measured and all(delta.within_tolerance for delta in deltas),
        },
    }


def _told(one: Difference) -> dict[str, Any]:
    runs: Mapping[str, tuple[str, ...]] = one.runs
    return {
        **asdict(one.kernel),
        "stages": list(one.stages),
        "runs": {name: list(stages) for name, stages in runs.items()},
        "only": one.only,
    }
