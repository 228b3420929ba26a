"""Evidence: what a verdict rests on, in the shape of the status JSON. Told whatever the verdict is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pcvd.core import distances
from pcvd.core.builds import BY_TYPE, LOCATIONS, STAGES, WHOLE, Build, Part, Run
from pcvd.core.kernel import kernel_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pcvd.core.model import OutputDelta


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside the runs.

    `tolerate`: stages whose differences do not fail. `deltas`: distances of differing output leaves, per
    target. `changed`: per target, the files it read that were edited while it was built. `unreadable`:
    digests of artifacts that the store could not give back. `unmeasured`: per target, the differing output
    leaves (schedule, path) that could not be measured. `alone`: the runs were made one after another, and
    nothing else meanwhile, so that their times say something. `partition`: the policy by which targets were
    cut as well; `linked`: per target, distances of the output leaves of the program linked of its kernels
    from those of the whole one.
    """

    tolerate: tuple[str, ...]
    deltas: Mapping[str, Sequence[OutputDelta]]
    changed: Mapping[str, Sequence[str]]
    unreadable: frozenset[str] = frozenset()
    unmeasured: Mapping[str, Collection[tuple[str, str]]] = field(default_factory=dict)
    alone: bool = True
    partition: str = WHOLE
    linked: Mapping[str, Sequence[OutputDelta]] = field(default_factory=dict)


def differing_stages(reference: Build, builds: Sequence[Build]) -> tuple[str, ...]:
    """The stages at which some build differs. Absent on one side is a difference; absent on both is no
    evidence.
    """
    return tuple(
        stage
        for stage in STAGES
        if any(canonical_digest(build, stage) != canonical_digest(reference, stage) for build in builds)
    )


def canonical_digest(build: Build, stage: str) -> str | None:
    """The canonical digest of a build at `stage`; None where it has no artifact there."""
    artifact = build.artifact(stage)
    return artifact.canonical if artifact is not None else None


def unreadable(build: Build, facts: Facts) -> str | None:
    """Which artifact of the build the store could not give back, as a sentence; None where all are there."""
    for artifact in build.artifacts:
        if artifact.stage in STAGES and any(
            facts.unreadable & {part.raw, part.canonical} for part in artifact.parts
        ):
            return f"its {artifact.stage} could not be read back from the store"
    return None


def digests(target: str, runs: Sequence[Run], reference: Build) -> dict[str, dict[str, str | None]]:
    """Stage to schedule to canonical digest; where the copies of a schedule disagree, one that differs
    from the reference.
    """
    table: dict[str, dict[str, str | None]] = {}
    for stage in STAGES:
        mine = canonical_digest(reference, stage)
        table[stage] = {}
        for run in runs:
            digests = [canonical_digest(build, stage) for build in run.of(target)]
            table[stage][run.schedule] = next((one for one in digests if one != mine), mine)
    return table


def unequal_leaves(target: str, runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """(schedule, path) of every output leaf that only one side has, or that differs."""
    references = runs[0].of(target)
    mine = references[0].artifact("output") if references else None
    for run in runs[1:]:
        for build in run.of(target):
            theirs = build.artifact("output")
            for path in unequal_parts(mine.parts if mine else (), theirs.parts if theirs else ()):
                yield run.schedule, path


def within_tolerance(target: str, runs: Sequence[Run], facts: Facts) -> bool | None:
    """Whether every difference of the outputs was measured and found within tolerance; None where all that
    is known of them is, but some could not be measured.
    """
    deltas = facts.deltas.get(target, ())
    if any(build.repeats is False for run in runs for build in run.of(target)):
        return False
    unequal = set(unequal_leaves(target, runs))
    failed = unequal.intersection(facts.unmeasured.get(target, ()))
    # What is neither measured nor to be measured stands on one side only.
    lacking = unequal - failed - {(delta.schedule, delta.path) for delta in deltas}
    if lacking or not all(delta.within_tolerance for delta in deltas):
        return False
    return None if failed else bool(deltas)


def outputs(target: str, runs: Sequence[Run], differs: bool, facts: Facts) -> dict[str, Any]:
    """How far the outputs are apart: over all leaves and schedules, and leaf by leaf. `unmeasured` counts
    the differing leaves of which that is not known.
    """
    if not differs:
        return {"bitwise": True, "max_abs": 0.0, "max_rel": 0.0, "within_tolerance": True}
    deltas = facts.deltas.get(target, ())
    failed = set(facts.unmeasured.get(target, ()))
    measured = {(delta.schedule, delta.path) for delta in deltas} - failed
    return {
        "bitwise": False,
        "max_abs": largest([delta.max_abs for delta in deltas]),
        "max_rel": largest([delta.max_rel for delta in deltas]),
        "max_ulps": largest([delta.max_ulps for delta in deltas]),
        "within_tolerance": within_tolerance(target, runs, facts) is True,
        "unmeasured": len({path for _, path in {*unequal_leaves(target, runs)} - measured}),
        **distances.kept(deltas),
    }


def largest(values: Sequence[float | None]) -> float | None:
    """The largest of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return max(known) if known else None


def evidence(target: str, runs: Sequence[Run], facts: Facts) -> dict[str, Any]:
    """What was built under which circumstances, and how each schedule compares with the reference."""
    references = runs[0].of(target) if runs else ()
    return {
        "rounds": 1,
        "cohort": len(set(runs[0].order)) if runs else 0,
        "schedules": {run.schedule: _schedule_evidence(target, run, runs[0], facts) for run in runs},
        "repeat_runs_equal": references[0].repeats if references else None,
        "rules": _rules(target, runs),
        "named_by_type": max((_named_by_type(build) for build in references), default=0),
    }


def joined(evidence: dict[str, Any], found: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """`evidence`, with what was `found` to differ beside targets in one piece: per schedule, the stages."""
    schedules = dict(evidence["schedules"])
    for name, stages in found.items():
        if name in schedules and stages:
            one = schedules[name]
            differing = {*one["differing_stages"], *stages}
            schedules[name] = one | {
                "identical_stages": [stage for stage in one["identical_stages"] if stage not in differing],
                "differing_stages": [stage for stage in STAGES if stage in differing],
            }
    return evidence | {"schedules": schedules}


def _named_by_type(build: Build) -> int:
    """How many objects the jaxpr's callbacks hold that only their types are known of."""
    artifact = build.artifact("jaxpr")
    labels = [part.label for part in artifact.parts] if artifact is not None else []
    return sum(int(label.removesuffix(BY_TYPE)) for label in labels if label.endswith(BY_TYPE))


def _schedule_evidence(target: str, run: Run, reference: Run, facts: Facts) -> dict[str, Any]:
    builds, mine = run.of(target), reference.of(target)
    comparable = bool(builds) and bool(mine) and all(build.failure is None for build in (*builds, mine[0]))
    differing = differing_stages(mine[0], builds) if comparable else ()
    absent = {stage for stage in STAGES if comparable and canonical_digest(mine[0], stage) is None} - set(
        differing
    )
    deltas = [delta.max_abs for delta in facts.deltas.get(target, ()) if delta.schedule == run.schedule]
    return {
        "builds": len(run.builds),
        "peak_in_flight": run.peak_in_flight,
        "peak_compiling": run.peak_compiling,
        "own_in_flight": run.in_flight_beside(target),
        "own_compiling": run.compiling_beside(target),
        "locations_identical": comparable and _same_locations(mine[0], builds),
        "wall_s": run.wall_ns / 1e9,
        "speed_up": speed_up(run, reference) if facts.alone else None,
        "identical_stages": [
            stage for stage in STAGES if comparable and stage not in differing and stage not in absent
        ],
        "differing_stages": list(differing),
        "output_bitwise": comparable and "output" not in differing,
        "max_abs": 0.0 if comparable and "output" not in differing else largest(deltas),
        "affinity": list(run.affinity),
        "stored": {
            "artifacts": sum(len(artifact.parts) for build in builds for artifact in build.artifacts),
            "identical": comparable
            and not differing
            and not any(unreadable(build, facts) for build in builds),
        },
    }


def _same_locations(reference: Build, builds: Sequence[Build]) -> bool:
    """Whether source positions and scope names are the same: told, and never a reason to disagree."""
    return all(
        canonical_digest(build, LOCATIONS) == canonical_digest(reference, LOCATIONS) for build in builds
    )


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


_RUN_HINT = "the builds are equal, the executable contradicts itself: look for callbacks and other effects"


def cause(reference: Build, runs: Sequence[Run], target: str, stage: str) -> dict[str, Any] | None:
    """Where `stage` differs, and whether the control tells schedule from process.

    `kind` is `schedule` where a second serial build agrees, `process` where it does not, `run` where an
    executable contradicts itself, and `unknown` without a control.
    """
    mine = reference.artifact(stage)
    names: dict[str, set[str]] = {}
    for run in runs[1:]:
        for build in run.of(target):
            theirs = build.artifact(stage)
            unequal = unequal_parts(mine.parts if mine else (), theirs.parts if theirs else ())
            if unequal:
                names.setdefault(run.schedule, set()).update(unequal)
    controlled = any(run.schedule == "control" for run in runs)
    if stage == "output" and any(build.repeats is False for run in runs for build in run.of(target)):
        kind, tells = "run", "one executable does not repeat itself"
    elif not controlled:
        kind, tells = "unknown", "there was no control"
    elif "control" in names:
        kind, tells = "process", "a second serial build differs as well"
    else:
        kind, tells = "schedule", "a second serial build agrees"
    parts = sorted({name for unequal in names.values() for name in unequal})
    kernels = [kernel_of(name) for name in parts] if stage in {"llvm", "object"} else [""] * len(parts)
    places = list(dict.fromkeys(kernel or part for kernel, part in zip(kernels, parts, strict=True)))
    where = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    return {
        "kind": kind,
        "stage": stage,
        "kernel": next(filter(None, kernels), None),
        "pass": None,
        "file": None,
        "line": None,
        "headline": None,
        "text": f"{stage} differs{' in ' + where if where else ''}; {tells}",
        "place": None,
        "hint": _RUN_HINT if kind == "run" else None,
        "workaround": None,
        "evidence": [],
        "remarks": [],
    }


def unequal_parts(left: Sequence[Part], right: Sequence[Part]) -> set[str]:
    """The names of the parts that only one side has, or that differ."""
    a, b = ({part.name: (part.canonical, part.label) for part in parts} for parts in (left, right))
    return {name for name in {*a, *b} if a.get(name) != b.get(name)}
