"""The explanation of a verdict: a tree of differences, the first cause first. Pure: what the store's files
hold comes in as readings.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pcvd.core import leaves, telling
from pcvd.core.builds import LOCATIONS, STAGES
from pcvd.core.case import ABSENT, DIFFERS, IDENTICAL, OUTPUT, REFERENCE, Case, Pair, kernel_of
from pcvd.core.compare import EQUIVALENT, INCONCLUSIVE
from pcvd.core.leaves import Leaf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pcvd.core.distances import Distances

SCHEMA = 1
_MOST_READ = 8
"""Differing parts of a stage that are looked into; a large program has hundreds of kernels."""
_MOST_NAMED = 50


@dataclass(frozen=True, slots=True)
class Reading:
    """What was seen of a differing part: lines only one side has, the beginning of a diff, elements of an
    array, and why something of it could not be seen.
    """

    added: int | None = None
    removed: int | None = None
    excerpt: tuple[str, ...] = ()
    leaf: Leaf | None = None
    remarks: tuple[str, ...] = ()


def wanted(case: Case) -> list[Pair]:
    """The differing parts worth looking into, first cause first."""
    found = []
    for stage in case.differing():
        found += case.pairs(stage, versions=stage == OUTPUT)[:_MOST_READ]
    return found


def document(case: Case, readings: Mapping[Pair, Reading], remarks: Sequence[str] = ()) -> dict[str, Any]:
    """The whole explanation as plain values."""
    judgement = case.judgement
    stages = sorted(
        (_stage(case, stage, readings) for stage in STAGES), key=lambda one: one["state"] != DIFFERS
    )
    return {
        "schema": SCHEMA,
        "target": case.target,
        "verdict": judgement.verdict,
        "fresh": case.fresh,
        "reason": judgement.reason,
        "round": case.round,
        "checked_at": case.checked_at,
        "why": case.why,
        "cohort": list(case.cohort),
        "first_stage": judgement.first_stage,
        "failure": None if judgement.failure is None else asdict(judgement.failure),
        "cause": judgement.cause,
        "says": telling.sentences(case),
        "stages": stages,
        "outputs": list(_outputs(case, readings)),
        "output": judgement.output,
        "kernels": judgement.kernels,
        "locations": _locations(case),
        "evidence": judgement.evidence,
        "remarks": [*telling.remarks(case), *remarks],
    }


def unjudged(target: str) -> dict[str, Any]:
    """The explanation of a target that is known, but was never judged: an open question, never agreement."""
    return {
        "schema": SCHEMA,
        "target": target,
        "verdict": INCONCLUSIVE,
        "fresh": False,
        "reason": "not checked yet",
        "round": None,
        "checked_at": None,
        "why": None,
        "cohort": [],
        "first_stage": None,
        "failure": None,
        "cause": None,
        "says": {"what": ["it was not checked yet"], "where": None, "why": [], "do": ["`pcvctl check` does"]},
        "stages": [],
        "outputs": [],
        "output": None,
        "kernels": None,
        "locations": {"identical": None, "runs": {}},
        "evidence": {"rounds": 0, "schedules": {}},
        "remarks": [],
    }


def _stage(case: Case, stage: str, readings: Mapping[Pair, Reading]) -> dict[str, Any]:
    """One stage; `rules` are those that were needed for it to be identical, or applied where it differs."""
    state = case.state(stage)
    pairs = case.pairs(stage) if state == DIFFERS else []
    named = pairs[:_MOST_NAMED]
    return {
        "stage": stage,
        "state": state,
        "tolerated": state == DIFFERS and (stage in case.tolerate or case.judgement.verdict == EQUIVALENT),
        "rules": _rules(case, stage, state),
        "why": _why_absent(case, stage) if state != IDENTICAL else None,
        "runs": case.states(stage),
        "parts": [_part(pair, readings.get(pair) or Reading()) for pair in named] if stage != OUTPUT else [],
        "more_parts": len(pairs) - len(named),
    }


def _part(pair: Pair, known: Reading) -> dict[str, Any]:
    sides = [name for name, side in (("reference", pair.left), ("others", pair.right)) if side is not None]
    return {
        "name": pair.name,
        "kernel": kernel_of(pair.stage, pair.name),
        "runs": list(pair.runs),
        "only": sides[0] if len(sides) == 1 else None,
        "added": known.added,
        "removed": known.removed,
        "excerpt": list(known.excerpt),
        "remarks": list(known.remarks),
    }


def _rules(case: Case, stage: str, state: str) -> list[str]:
    if state != DIFFERS:
        needed = case.judgement.evidence.get("rules") or {}
        return list(needed.get(stage, ()))
    artifacts = [
        build.artifact(stage)
        for name in case.names()
        if (run := case.run(name))
        for build in run.of(case.target)
    ]
    return sorted(
        {
            rule
            for artifact in artifacts
            if artifact is not None
            for part in artifact.parts
            for rule in part.rules
        }
    )


def _why_absent(case: Case, stage: str) -> str | None:
    """Why there is no artifact, and where that is so."""
    for name in case.names():
        run = case.run(name)
        for build in run.of(case.target) if run is not None else ():
            artifact = build.artifact(stage)
            if artifact is not None and artifact.absent is not None:
                everywhere = case.state(stage) == ABSENT
                return artifact.absent if everywhere else f"{name}: {artifact.absent}"
    return None


def _outputs(case: Case, readings: Mapping[Pair, Reading]) -> Iterator[dict[str, Any]]:
    """Every leaf of the outputs, with how each run's is apart from the reference's."""
    if case.pruned:
        yield from _remembered(case)
        return
    reference, distances = case.reference, case.distances()
    mine = reference.artifact(OUTPUT) if reference is not None else None
    pairs: dict[str, list[Pair]] = {}
    for pair in case.pairs(OUTPUT, versions=True):
        pairs.setdefault(pair.name, []).append(pair)
    compared = [name for name, state in case.states(OUTPUT).items() if state in {IDENTICAL, DIFFERS}]
    labels = {part.name: part.label for part in (mine.parts if mine is not None else ())}
    labels |= {
        name: own[0].right.label for name, own in pairs.items() if own[0].left is None and own[0].right
    }
    for name, label in labels.items():
        own = sorted(pairs.get(name, ()), key=lambda pair: distances.rank(pair.left, pair.right))
        yield {
            "path": name,
            "label": label,
            "bitwise": not own,
            "runs": {run: _apart(run, own, readings, distances) for run in compared},
        }


def _apart(
    run: str, pairs: Sequence[Pair], readings: Mapping[Pair, Reading], distances: Distances
) -> dict[str, Any]:
    """How a run's leaf is apart from the reference's; of copies that differ from each other the farthest."""
    own = [pair for pair in pairs if run in pair.runs]
    if not own:
        return {"bitwise": True}
    reading = readings.get(own[0]) or Reading()
    found = leaves.plain(reading.leaf or Leaf(), distances.between(own[0].left, own[0].right))
    others = ["its copies differ from each other: the farthest is shown"] if len(own) > 1 else []
    return {"bitwise": False, **found, "remarks": [*reading.remarks, *others]}


def _remembered(case: Case) -> Iterator[dict[str, Any]]:
    """The leaves that differed, by the verdict alone; which others there were, nobody knows any more."""
    found: dict[str, dict[str, Any]] = {}
    for record in case.distances():
        leaf = {"path": record["path"], "label": record["label"], "bitwise": False, "runs": {}}
        runs = found.setdefault(record["path"], leaf)["runs"]
        # Of copies that differ from each other the farthest, which is told first.
        runs.setdefault(record["schedule"], {"bitwise": False, **leaves.plain(Leaf(), record)})
    yield from found.values()


def _locations(case: Case) -> dict[str, Any]:
    """Source positions and scope names: told, and never a reason to disagree."""
    states = case.states(LOCATIONS)
    told = case.judgement.evidence.get("schedules") or {}
    if case.pruned:
        states = {
            name: IDENTICAL if one.get("locations_identical") else DIFFERS
            for name, one in told.items()
            if name != REFERENCE and isinstance(one, dict) and "locations_identical" in one
        }
    known = [state for state in states.values() if state in {IDENTICAL, DIFFERS}]
    return {"identical": all(state == IDENTICAL for state in known) if known else None, "runs": states}
