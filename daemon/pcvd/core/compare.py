"""Comparison: from the runs of a round to a verdict on each target. Pure; every decision of the product is
made here.

A reference (`serial`) is compared with challengers. Equal everywhere: `agree`. Equal but for tolerated
stages: `equivalent`. A challenger differs and the control equals the reference: `diverged`. The control
differs as well: `unstable`, since a serial build that does not reproduce itself lets nothing be said of
concurrency. And whatever stands in the way of a comparison makes it `inconclusive`: a crash is an outcome,
never a verdict, and what was not compared never counts as agreement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcvd.core.model import REQUIRED_STAGES, STAGES, Build, Failure, Judgement, OutputDelta, Part, Run
from pcvd.core.schedule import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

AGREE, EQUIVALENT, DIVERGED, UNSTABLE, INCONCLUSIVE = (
    "agree",
    "equivalent",
    "diverged",
    "unstable",
    "inconclusive",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside the runs.

    `tolerate`: stages whose differences do not fail. `deltas`: distances of differing output leaves, per
    target. `changed`: per target, the files it read that were edited while it was built. `unreadable`:
    digests of artifacts that the store could not give back.
    """

    tolerate: tuple[str, ...]
    deltas: Mapping[str, Sequence[OutputDelta]]
    changed: Mapping[str, Sequence[str]]
    unreadable: frozenset[str] = frozenset()


def judge(target: str, runs: Sequence[Run], facts: Facts) -> Judgement:
    """The verdict on `target` after a round of `runs`, the reference first."""
    evidence = _evidence(target, runs, facts)
    failure, obstacle = _failure(target, runs)
    if obstacle is None:
        obstacle = _obstacle(target, runs, facts)
    if obstacle is not None:
        return Judgement(target, INCONCLUSIVE, obstacle, evidence=evidence, failure=failure)

    reference = runs[0].of(target)[0]
    found = {run.schedule: _differing(reference, run.of(target)) for run in runs[1:]}
    if reference.repeats is False:
        found["repeat"] = ("output",)
    differing = tuple(stage for stage in STAGES if any(stage in stages for stages in found.values()))
    verdict, reason = _decide(found, frozenset(_not_tolerated(target, differing, facts)))
    return Judgement(
        target,
        verdict,
        reason,
        first_stage=differing[0] if differing else None,
        differing=differing,
        stages=_digests(target, runs, reference),
        output=_output(target, "output" in differing, facts),
        evidence=evidence,
        cause=_cause(reference, runs, target, differing[0]) if differing else None,
    )


def wants_control(judgements: Sequence[Judgement]) -> bool:
    """Whether a control is needed: agreement needs no attribution, and what could not be compared gains
    nothing by it.
    """
    return any(judgement.differing for judgement in judgements)


def differing_outputs(target: str, runs: Sequence[Run]) -> Iterator[tuple[str, Part, Part]]:
    """(schedule, the reference's leaf, the other's) for every output leaf whose bits differ; their
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
                if part.name in leaves and leaves[part.name].canonical != part.canonical:
                    yield run.schedule, leaves[part.name], part


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
        if run.peak_in_flight < parse(run.schedule).overlap:
            return f"{run.schedule} never really overlapped: at most {run.peak_in_flight} in flight at once"
        for build in run.of(target):
            lacking = _lacking(build) or _unreadable(build, facts)
            if lacking is not None:
                return f"{run.schedule}: {lacking}"
    if len({build.inputs for run in runs for build in run.of(target)}) > 1:
        return (
            "its example arguments differ from process to process (is a random generator in them unseeded?)"
        )
    return _unlike([environment for run in runs for environment in run.environments])


def _lacking(build: Build) -> str | None:
    for stage in REQUIRED_STAGES:
        artifact = build.artifact(stage)
        if artifact is None or artifact.canonical is None:
            return f"no {stage}" + (f" ({artifact.absent})" if artifact is not None else "")
    return None


def _unreadable(build: Build, facts: Facts) -> str | None:
    for artifact in build.artifacts:
        if any(facts.unreadable & {part.raw, part.canonical} for part in artifact.parts):
            return f"its {artifact.stage} could not be read back from the store"
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
        name = next(key for key in sorted({*left, *right}) if left.get(key) != right.get(key))
        return f"{name}={left.get(name)} in one worker and {right.get(name)} in another"
    return f"{left} in one worker and {right} in another"


# -- comparing and deciding ------------------------------------------------------------------------


def _differing(reference: Build, builds: Sequence[Build]) -> tuple[str, ...]:
    """The stages at which some build differs. Absent on one side is a difference; absent on both is no
    evidence.
    """
    return tuple(
        stage
        for stage in STAGES
        if any(_canonical(build, stage) != _canonical(reference, stage) for build in builds)
    )


def _canonical(build: Build, stage: str) -> str | None:
    artifact = build.artifact(stage)
    return artifact.canonical if artifact is not None else None


def _not_tolerated(target: str, differing: Sequence[str], facts: Facts) -> Iterator[str]:
    for stage in differing:
        if stage not in facts.tolerate:
            yield stage
        elif stage == "output":
            deltas = facts.deltas.get(target, ())
            if not deltas or not all(delta.within_tolerance for delta in deltas):
                yield stage


def _decide(found: Mapping[str, tuple[str, ...]], serious: frozenset[str]) -> tuple[str, str | None]:
    if not any(found.values()):
        return AGREE, None
    if not serious:
        schedules = ", ".join(name for name, stages in found.items() if stages)
        return EQUIVALENT, f"only tolerated stages differ, under {schedules}"
    if serious & set(found.get("repeat", ())):
        return UNSTABLE, "one executable, run twice on the same arguments, gave other bits"
    guilty = [name for name, stages in found.items() if serious & set(stages)]
    stages = ", ".join(stage for stage in STAGES if stage in serious)
    if "control" in guilty:
        others = [name for name in guilty if name != "control"]
        also = (
            f"; {', '.join(others)} differ as well"
            if others
            else "; the challengers agree with the reference"
        )
        return UNSTABLE, f"a second serial build differs from the first at {stages}{also}"
    control = "the control agrees with the reference" if "control" in found else "not yet controlled"
    return DIVERGED, f"{stages} differ{'s' if len(serious) == 1 else ''} under {', '.join(guilty)}; {control}"


# -- what is reported ------------------------------------------------------------------------------


def _digests(target: str, runs: Sequence[Run], reference: Build) -> dict[str, dict[str, str | None]]:
    """Stage to schedule to canonical digest; where the copies of a schedule disagree, one that differs
    from the reference.
    """
    table: dict[str, dict[str, str | None]] = {}
    for stage in STAGES:
        mine = _canonical(reference, stage)
        table[stage] = {}
        for run in runs:
            digests = [_canonical(build, stage) for build in run.of(target)]
            table[stage][run.schedule] = next((one for one in digests if one != mine), mine)
    return table


def _output(target: str, differs: bool, facts: Facts) -> dict[str, Any]:
    if not differs:
        return {"bitwise": True, "max_abs": 0.0, "max_rel": 0.0, "within_tolerance": True}
    deltas = facts.deltas.get(target, ())
    return {
        "bitwise": False,
        "max_abs": _largest([delta.max_abs for delta in deltas]),
        "max_rel": _largest([delta.max_rel for delta in deltas]),
        "max_ulps": _largest([delta.max_ulps for delta in deltas]),
        "within_tolerance": bool(deltas) and all(delta.within_tolerance for delta in deltas),
    }


def _largest(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


def _evidence(target: str, runs: Sequence[Run], facts: Facts) -> dict[str, Any]:
    references = runs[0].of(target) if runs else ()
    return {
        "rounds": 1,
        "cohort": len(set(runs[0].order)) if runs else 0,
        "schedules": {run.schedule: _schedule_evidence(target, run, runs[0], facts) for run in runs},
        "repeat_runs_equal": references[0].repeats if references else None,
        "rules": _rules(target, runs),
    }


def _schedule_evidence(target: str, run: Run, reference: Run, facts: Facts) -> dict[str, Any]:
    builds, mine = run.of(target), reference.of(target)
    comparable = bool(builds) and bool(mine) and all(build.failure is None for build in (*builds, mine[0]))
    differing = _differing(mine[0], builds) if comparable else ()
    absent = {stage for stage in STAGES if comparable and _canonical(mine[0], stage) is None} - set(differing)
    deltas = [delta.max_abs for delta in facts.deltas.get(target, ()) if delta.schedule == run.schedule]
    return {
        "builds": len(run.builds),
        "peak_in_flight": run.peak_in_flight,
        "wall_s": run.wall_ns / 1e9,
        "speed_up": speed_up(run, reference),
        "identical_stages": [
            stage for stage in STAGES if comparable and stage not in differing and stage not in absent
        ],
        "differing_stages": list(differing),
        "output_bitwise": comparable and "output" not in differing,
        "max_abs": 0.0 if comparable and "output" not in differing else _largest(deltas),
        "affinity": list(run.affinity),
        "stored": {
            "artifacts": sum(len(artifact.parts) for build in builds for artifact in build.artifacts),
            "identical": comparable
            and not differing
            and not any(_unreadable(build, facts) for build in builds),
        },
    }


def speed_up(run: Run, reference: Run) -> float | None:
    """How many times faster than one after another: what the run's builds took in the reference, over the
    run's wall time.

    Copies count as often as they were built. None where something of it was not built.
    """
    alone = {
        build.target: build.ended_ns - build.began_ns for build in reference.builds if build.failure is None
    }
    if not run.wall_ns or any(build.failure is not None or build.target not in alone for build in run.builds):
        return None
    return sum(alone[build.target] for build in run.builds) / run.wall_ns


def _rules(target: str, runs: Sequence[Run]) -> dict[str, list[str]]:
    """Per stage whose raw bytes differ although the canonical ones agree: the rules that make them agree."""
    builds = [build for run in runs for build in run.of(target)]
    told: dict[str, list[str]] = {}
    for stage in STAGES:
        artifacts = [
            artifact for artifact in (build.artifact(stage) for build in builds) if artifact is not None
        ]
        if (
            len({artifact.raw for artifact in artifacts}) > 1
            and len({one.canonical for one in artifacts}) == 1
        ):
            told[stage] = sorted({rule for one in artifacts for part in one.parts for rule in part.rules})
    return told


def _cause(reference: Build, runs: Sequence[Run], target: str, stage: str) -> dict[str, Any] | None:
    """Where the first differing stage differs, and whether the control tells schedule from process.

    `kind` is `schedule` where a second serial build agrees, `process` where it does not, `run` where an
    executable contradicts itself, and `unknown` without a control.
    """
    mine = reference.artifact(stage)
    names: dict[str, set[str]] = {}
    for run in runs[1:]:
        for build in run.of(target):
            theirs = build.artifact(stage)
            unequal = _unequal_parts(mine.parts if mine else (), theirs.parts if theirs else ())
            if unequal:
                names.setdefault(run.schedule, set()).update(unequal)
    controlled = any(run.schedule == "control" for run in runs)
    if reference.repeats is False:
        kind, tells = "run", "one executable does not repeat itself"
    elif not controlled:
        kind, tells = "unknown", "there was no control"
    elif "control" in names:
        kind, tells = "process", "a second serial build differs as well"
    else:
        kind, tells = "schedule", "a second serial build agrees"
    places = sorted({_place(stage, name) for unequal in names.values() for name in unequal})
    where = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    return {
        "kind": kind,
        "kernel": places[0] if places and stage in {"llvm", "object"} else None,
        "pass": None,
        "file": None,
        "line": None,
        "text": f"{stage} differs{' in ' + where if where else ''}; {tells}",
    }


def _place(stage: str, part: str) -> str:
    """What a part is about: the kernel of a file of machine code, the part itself otherwise."""
    return part.removeprefix("obj-file.").partition(".")[0] if stage in {"llvm", "object"} else part


def _unequal_parts(left: Sequence[Part], right: Sequence[Part]) -> set[str]:
    a, b = ({part.name: (part.canonical, part.label) for part in parts} for parts in (left, right))
    return {name for name in {*a, *b} if a.get(name) != b.get(name)}
