"""The difference between two builds of a target at one stage, in full: what `pcvctl diff` shows."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcvd.core import leaves
from pcvd.core.builds import LOCATIONS, STAGES, Build, Part
from pcvd.core.case import REFERENCE, Case, kernel_of, reaches, sides
from pcvd.core.errors import UsageError
from pcvd.inquiry.reader import Reader, Unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcvd.core.distances import Distances

SCHEMA = 1
_MOST_LINES = 20_000
_WIDTH = 4000  # characters of a line: a constant may be a line of megabytes
_SUFFIXES = {"jaxpr": ".txt", "stablehlo": ".mlir", "locations": ".mlir", "hlo": ".txt", "executable": ".pb"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to compare; None: the first stage, run or part that differs.

    `raw`: the bytes as the compiler gave them. `whole`: both sides' bytes as well, for another tool.
    """

    stage: str | None = None
    left: str | None = None
    right: str | None = None
    part: str | None = None
    raw: bool = False
    whole: bool = False


def compare(case: Case, reader: Reader, wanted: Wanted) -> dict[str, Any]:
    """The comparison as plain values; `equal` is None where there is nothing to compare.

    Raises UsageError for a stage, run or part that does not exist.
    """
    document = unjudged(case.target) | {
        "verdict": case.judgement.verdict,
        "round": case.round,
        "stage": wanted.stage,
        "form": "raw" if wanted.raw else "canonical",
        "left": wanted.left,
        "right": wanted.right,
        "remarks": [],
    }
    _check_stage(case, wanted.stage)
    names = case.names()
    if not names:
        document["remarks"] = ["the builds of this round are gone: check the target again"]
        return document
    left_name = _named(wanted.left or (REFERENCE if REFERENCE in names else names[0]), names)
    left = _first(case, left_name)
    right_name = _named(wanted.right, names) if wanted.right else _unlike(case, left, left_name, wanted)
    if right_name is None:
        document["remarks"] = [f"nothing but {left_name} was built: there is nothing to compare it with"]
        return document
    stage = wanted.stage or _stage(case, left, right_name, wanted)
    right = case.differing_build(right_name, stage, left) if stage else None
    document |= {"left": left_name, "right": right_name, "stage": stage}
    if stage is None or right is None:
        return document | _alike(case, left, left_name, right_name)
    if (short := _short(stage, {left_name: left, right_name: right})) is not None:
        document["remarks"] = [short]
        return document
    comparison = _Comparison(case.distances(), reader, wanted, stage, (left_name, right_name))
    return document | comparison.of(left, right)


def unjudged(target: str) -> dict[str, Any]:
    """The comparison of a target that was never judged: an open question."""
    return {
        "schema": SCHEMA,
        "target": target,
        "verdict": None,
        "round": None,
        "stage": None,
        "form": "canonical",
        "left": None,
        "right": None,
        "equal": None,
        "parts": [],
        "remarks": ["it was not checked yet"],
    }


# -- choosing ----------------------------------------------------------------------------------------


def _check_stage(case: Case, stage: str | None) -> None:
    built = {
        artifact.stage for run in case.runs for build in run.of(case.target) for artifact in build.artifacts
    }
    if stage is not None and stage not in {*STAGES, LOCATIONS, *built}:
        raise UsageError(f'there is no stage "{stage}"', hint=f"{', '.join(STAGES)}, or {LOCATIONS}")


def _named(name: str, names: tuple[str, ...]) -> str:
    if name not in names:
        raise UsageError(f'"{name}" did not build it in its last round', hint=f"there are {', '.join(names)}")
    return name


def _first(case: Case, name: str) -> Build:
    run = case.run(name)
    assert run is not None
    return run.of(case.target)[0]


def _unlike(case: Case, left: Build, left_name: str, wanted: Wanted) -> str | None:
    """The first run that differs from `left` at the wanted stage (None: at any), else the first other one."""
    others = [name for name in case.names() if name != left_name]
    stages = [wanted.stage] if wanted.stage else list(STAGES)
    first = case.judgement.first_stage
    if first is not None and not wanted.stage:
        stages.insert(0, first)
    for stage in stages:
        for name in others:
            build = case.differing_build(name, stage, left)
            if build is not None and _differ(left, build, stage, wanted):
                return name
    return next(iter(others), None)


def _stage(case: Case, left: Build, right_name: str, wanted: Wanted) -> str | None:
    """The first stage at which a run's build differs from `left`."""
    for stage in STAGES:
        build = case.differing_build(right_name, stage, left)
        if build is not None and _differ(left, build, stage, wanted):
            return stage
    return None


def _differ(left: Build, right: Build, stage: str, wanted: Wanted) -> bool:
    a, b = left.artifact(stage), right.artifact(stage)
    # A build may have been made up to an earlier stage only: that is no difference.
    if a is None or b is None:
        return False
    return a.raw != b.raw if wanted.raw else a.canonical != b.canonical


def _alike(case: Case, left: Build, left_name: str, right_name: str) -> dict[str, Any]:
    """What can be said where no stage differs: equal, if both were built and something was compared."""
    run = case.run(right_name)
    builds = {left_name: [left], right_name: run.of(case.target) if run is not None else ()}
    for name, made in builds.items():
        failure = next((build.failure for build in made if build.failure is not None), None)
        if failure is not None:
            return {"remarks": [f"{name} failed: {failure.sentence()}"]}
    compared = [
        stage
        for stage in STAGES
        if all(
            artifact is not None and artifact.canonical is not None
            for made in builds.values()
            for artifact in [build.artifact(stage) for build in made] or [None]
        )
    ]
    if not compared:
        return {"remarks": [f"{left_name} and {right_name} have no stage in common that could be compared"]}
    whole = all(reaches(build, STAGES[-1]) for made in builds.values() for build in made)
    if whole and STAGES[-1] not in compared:
        return {"remarks": ["no stage differs, but there is no output to compare"]}
    only = "" if whole else f"; further than {compared[-1]} they were not both built"
    return {"equal": True, "remarks": [f"no stage differs{only}"]}


def _short(stage: str, builds: Mapping[str, Build]) -> str | None:
    """Why two builds can't be compared at `stage`, which one of them never came to; or None."""
    for name, build in builds.items():
        if not reaches(build, stage):
            if build.failure is not None:
                return f"{name} failed: {build.failure.sentence()}"
            return f"{name} was not built as far as {stage}"
    return None


# -- comparing ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Two runs, by name, at one stage, and what it takes to compare their parts."""

    distances: Distances
    reader: Reader
    wanted: Wanted
    stage: str
    names: tuple[str, str]

    def of(self, left: Build, right: Build) -> dict[str, Any]:
        a, b = left.artifact(self.stage), right.artifact(self.stage)
        remarks = [
            f"{name} has no {self.stage}"
            + (f": {artifact.absent}" if artifact is not None else ": it was not built so far")
            for name, artifact in zip(self.names, (a, b), strict=True)
            if artifact is None or artifact.absent is not None
        ]
        if len(remarks) == len(self.names):
            return {"remarks": remarks}
        unequal = list(sides(a, b, raw=self.wanted.raw))
        if self.wanted.part is not None:
            known = {part.name for artifact in (a, b) if artifact is not None for part in artifact.parts}
            unequal = [found for found in unequal if self._is_wanted(found[2])]
            if not any(self._is_wanted(name) for name in known):
                raise UsageError(f'{self.stage} has no part "{self.wanted.part}"', hint=_some(sorted(known)))
        parts = [self._part(*found) for found in unequal]
        return {"equal": not parts, "parts": parts, "remarks": remarks}

    def _is_wanted(self, name: str) -> bool:
        return self.wanted.part in {name, kernel_of(self.stage, name)}

    def _part(self, left: Part | None, right: Part | None, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": name,
            "kernel": kernel_of(self.stage, name),
            "left": self._side(left),
            "right": self._side(right),
            "leaf": None,
            "diff": "",
            "cut": False,
            "remarks": [],
        }
        if left is not None and right is not None:
            found |= self._difference(left, right)
        else:
            only = self.names[0] if left is not None else self.names[1]
            found["remarks"] = [f"{name}: only {only} has it"]
        if self.wanted.whole:
            found |= self._whole(name, left, right)
        return found

    def _side(self, part: Part | None) -> dict[str, Any] | None:
        if part is None:
            return None
        digest = part.raw if self.wanted.raw else part.canonical
        return {"digest": digest, "size": part.size, "label": part.label}

    def _difference(self, left: Part, right: Part) -> dict[str, Any]:
        heading = [
            f"{sign} {name}/{self.stage}/{part.name}"
            for sign, name, part in zip(("---", "+++"), self.names, (left, right), strict=True)
        ]
        try:
            leaf = self.reader.leaf(left, right)
            if leaf is not None:
                distance = self.distances.between(left, right)
                lines = leaves.told(leaf, distance)
                return {
                    "leaf": leaves.plain(leaf, distance),
                    "diff": _joined([*heading, *lines]) if lines else "",
                    "remarks": list(leaf.remarks),
                }
            delta, remarks = self.reader.delta(self.stage, left, right, raw=self.wanted.raw)
        except Unreadable as why:
            return {"remarks": [str(why)]}
        hunks = delta.unified(width=_WIDTH)
        lines = list(islice(hunks, _MOST_LINES))
        left_over = sum(1 for _ in hunks)
        if left_over:
            remarks.append(f"{left.name}: {left_over} further lines of the diff are left out")
        if not lines:
            remarks.append(f"{left.name}: the bytes differ, yet what can be shown of them is equal")
        return {
            "diff": _joined([*heading, *lines]) if lines else "",
            "cut": bool(left_over),
            "remarks": remarks,
            "added": delta.added,
            "removed": delta.removed,
        }

    def _whole(self, name: str, left: Part | None, right: Part | None) -> dict[str, Any]:
        """Both sides' bytes in base64 (None: it cannot be had), and the suffix of a file to put them in."""
        suffix = _SUFFIXES.get(self.stage) or Path(name).suffix or ".bin"
        return {"suffix": suffix, "bytes": [self._bytes(part) for part in (left, right)]}

    def _bytes(self, part: Part | None) -> str | None:
        try:
            return None if part is None else b64encode(self.reader.data(part, raw=self.wanted.raw)).decode()
        except Unreadable:
            return None


def _some(names: list[str]) -> str:
    return f"it has {', '.join(names[:8])}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
