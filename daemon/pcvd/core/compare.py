"""Comparison: from the runs of a round to a verdict on each target. Pure; every decision of the product is
made here.

A reference (`serial`) is compared with challengers. Equal everywhere: `agree`. Equal but for tolerated
stages: `equivalent`. A challenger differs and the control equals the reference: `diverged`. The control
differs as well: `unstable`, since a serial build that does not reproduce itself lets nothing be said of
concurrency. And whatever stands in the way of a comparison makes it `inconclusive`: a crash is an outcome,
never a verdict, and what was not compared never counts as agreement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcvd.core import evidence as told
from pcvd.core import partition
from pcvd.core.builds import REQUIRED_STAGES, STAGES, Build, Part, Run
from pcvd.core.evidence import Facts, differing_stages, unreadable
from pcvd.core.model import Failure, Judgement
from pcvd.core.schedule import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pcvd.core.partition import Comparison

AGREE, EQUIVALENT, DIVERGED, UNSTABLE, INCONCLUSIVE = (
    "agree",
    "equivalent",
    "diverged",
    "unstable",
    "inconclusive",
)
GRAVITY = (AGREE, EQUIVALENT, INCONCLUSIVE, DIVERGED, UNSTABLE)
"""The verdicts, the gravest last: of a build that does not reproduce itself nothing else can be said."""

_LEAST_OVERLAP = 2  # compilations at one moment; short ones of a wave of four may just miss each other


def judge(target: str, runs: Sequence[Run], facts: Facts) -> Judgement:
    """The verdict on `target` after a round of `runs`, the reference first."""
    evidence = told.evidence(target, runs, facts)
    failure, obstacle = _failure(target, runs)
    if obstacle is None:
        obstacle = _obstacle(target, runs, facts)
    if obstacle is not None:
        return Judgement(target, INCONCLUSIVE, obstacle, evidence=evidence, failure=failure)

    reference = runs[0].of(target)[0]
    whole = {run.schedule: differing_stages(reference, run.of(target)) for run in runs[1:]}
    if any(build.repeats is False for run in runs for build in run.of(target)):
        whole["repeat"] = ("output",)
    kernels = partition.compare(target, runs, facts)
    cut = kernels.found() if kernels is not None else {}
    found = {name: _stages([whole.get(name, ()), cut.get(name, ())]) for name in {**whole, **cut}}
    differing = _stages(found.values())
    within = told.within_tolerance(target, runs, facts)
    if within and any("output" in stages for stages in cut.values()):
        within = False  # what is linked may differ by nothing at all
    serious = tuple(_not_tolerated(differing, facts, within=within is True))
    if within is None and serious == ("output",) and "output" in facts.tolerate:
        obstacle = "its outputs differ, and how far they are apart could not be measured"
        return Judgement(target, INCONCLUSIVE, obstacle, evidence=evidence)
    verdict, reason = _decide(found, frozenset(serious))
    cut_to = _kernels(target, runs, facts, kernels) if kernels is not None else None
    doubt = partition.excess(cut_to) if cut_to is not None else None
    if kernels is not None and kernels.lopsided:
        doubt = f"of its kernels: {kernels.obstacle}"
    if doubt is not None and verdict in {AGREE, EQUIVALENT}:
        verdict, reason = INCONCLUSIVE, doubt
    return Judgement(
        target,
        verdict,
        reason,
        first_stage=differing[0] if differing else None,
        differing=differing,
        stages=told.digests(target, runs, reference),
        output=told.outputs(target, runs, "output" in _stages(whole.values()), facts),
        evidence=told.joined(evidence, cut),
        # What made the verdict is to be explained, not what came before it and is tolerated.
        cause=_cause(target, runs, (serious or differing)[0], whole, kernels) if differing else None,
        kernels=cut_to,
    )


def _stages(found: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """All stages that are in some of `found`, first to last."""
    some = {stage for stages in found for stage in stages}
    return tuple(stage for stage in STAGES if stage in some)


def _cause(
    target: str,
    runs: Sequence[Run],
    stage: str,
    whole: Mapping[str, tuple[str, ...]],
    kernels: Comparison | None,
) -> dict[str, Any] | None:
    """What is known at once of a difference: of the target in one piece, if that differs at the stage."""
    difference = (kernels.first(stage) or partition.unrepeated(kernels)) if kernels is not None else None
    if difference is None or any(stage in stages for stages in whole.values()):
        return told.cause(runs[0].of(target)[0], runs, target, stage)
    return partition.cause(difference, stage)


def _kernels(target: str, runs: Sequence[Run], facts: Facts, kernels: Comparison) -> dict[str, Any]:
    """What is told of a target's kernels, with a verdict on them by the same rules."""
    found = kernels.found()
    serious = frozenset(_not_tolerated(_stages(found.values()), facts, within=False))
    built = {run.schedule: found.get(run.schedule, ()) for run in runs[1:]}
    verdict, reason = _decide(built | found, serious)
    if kernels.obstacle is not None:
        verdict, reason = INCONCLUSIVE, kernels.obstacle
    return partition.document(target, runs, facts, kernels, verdict, reason)


def wants_control(judgements: Sequence[Judgement]) -> bool:
    """Whether a control is needed: agreement needs no attribution, and what could not be compared gains
    nothing by it.
    """
    return any(judgement.differing for judgement in judgements)


def differing_outputs(target: str, runs: Sequence[Run]) -> Iterator[tuple[str, Part, Part]]:
    """(schedule, the reference's leaf, the other's) for every output leaf whose bits or type differ; their
    distances are to be measured.
    """
    references = runs[0].of(target)
    mine = references[0].artifact("output") if references else None
    for run in runs[1:]:
        for build in run.of(target):
            theirs = build.artifact("output")
            if mine is None or theirs is None or mine.canonical == theirs.canonical:
                continue
            leaves = {part.name: part for part in mine.parts}
            for part in theirs.parts:
                mate = leaves.get(part.name)
                if mate is not None and (mate.canonical, mate.label) != (part.canonical, part.label):
                    yield run.schedule, mate, part


# -- what stands in the way ------------------------------------------------------------------------


def _failure(target: str, runs: Sequence[Run]) -> tuple[Failure | None, str | None]:
    """The first failed build's failure, and what to say of it."""
    for run in runs:
        for build in run.of(target):
            if build.failure is not None:
                only = "" if run is runs[0] else f" (under {run.schedule}, not when built serially)"
                return build.failure, build.failure.sentence() + only
    return None, None


def _obstacle(target: str, runs: Sequence[Run], facts: Facts) -> str | None:
    """Why the round is no evidence on `target`, or None."""
    changed = facts.changed.get(target)
    if changed:
        return f"{', '.join(changed)} changed while it was built; it is built again"
    if all(parse(run.schedule).overlap == 1 for run in runs):
        return "nothing was built concurrently, so there is nothing to compare"
    for run in runs:
        if not run.of(target):
            return f"{run.schedule} did not come to build it"
        overlap = lacking_overlap(run, target)
        if overlap is not None:
            return overlap
        for build in run.of(target):
            lacking = _lacking(build) or unreadable(build, facts)
            if lacking is not None:
                return f"{run.schedule}: {lacking}"
    if len({build.inputs for run in runs for build in run.of(target)}) > 1:
        return (
            "its example arguments differ from process to process (is a random generator in them unseeded?)"
        )
    if not all(run.environments for run in runs):
        return "a worker did not tell of its environment"
    return _unlike([environment for run in runs for environment in run.environments])


def lacking_overlap(run: Run, target: str) -> str | None:
    """Why a run was not as concurrent as its schedule says, or not where `target` was built; or None."""
    wanted = parse(run.schedule).overlap
    if run.peak_in_flight < wanted:
        return f"{run.schedule} never really overlapped: at most {run.peak_in_flight} in flight at once"
    if wanted > 1 and run.compiling_beside(target) < _LEAST_OVERLAP:
        return f"{run.schedule} never really overlapped: it was compiled when nothing else was"
    return None


def _lacking(build: Build) -> str | None:
    for stage in REQUIRED_STAGES:
        artifact = build.artifact(stage)
        if artifact is None or artifact.canonical is None:
            return f"no {stage}" + (f" ({artifact.absent})" if artifact is not None else "")
    return None


def _unlike(environments: Sequence[Mapping[str, Any]]) -> str | None:
    first = environments[0] if environments else {}
    for other in environments[1:]:
        for name in sorted({*first, *other}):
            if first.get(name) != other.get(name):
                return f"environments are unlike: {name} is {_short(first.get(name), other.get(name))}"
    return None


def _short(left: Any, right: Any) -> str:
    if isinstance(left, dict) and isinstance(right, dict):
        name = next(
            key
            for key in sorted({*left, *right})
            if (key in left, left.get(key)) != (key in right, right.get(key))
        )
        return f"{name}={left.get(name)} in one worker and {right.get(name)} in another"
    return f"{left} in one worker and {right} in another"


# -- comparing and deciding ------------------------------------------------------------------------


def _not_tolerated(differing: Sequence[str], facts: Facts, *, within: bool) -> Iterator[str]:
    for stage in differing:
        if stage not in facts.tolerate or (stage == "output" and not within):
            yield stage


def _decide(found: Mapping[str, tuple[str, ...]], serious: frozenset[str]) -> tuple[str, str | None]:
    if not any(found.values()):
        return AGREE, None
    if not serious:
        schedules = ", ".join(name for name, stages in found.items() if stages)
        return EQUIVALENT, f"only tolerated stages differ, under {schedules}"
    guilty = [name for name, stages in found.items() if name != "repeat" and serious & set(stages)]
    stages = ", ".join(stage for stage in STAGES if stage in serious)
    if "control" in guilty:
        others = [name for name in guilty if name != "control"]
        also = f"{', '.join(others)} differ as well" if others else "the challengers agree with the reference"
        return UNSTABLE, f"a second serial build differs from the first at {stages}; {also}"
    if "repeat" in found and serious == {"output"}:
        return UNSTABLE, "one executable, run again on the same arguments, gave other bits"
    if "control" not in found:
        control = "not yet controlled"
    elif found["control"]:
        control = f"the control differs only at {', '.join(found['control'])}, which is tolerated"
    else:
        control = "the control agrees with the reference"
    return DIVERGED, f"{stages} differ{'s' if len(serious) == 1 else ''} under {', '.join(guilty)}; {control}"
