"""A target's difference without pcv: the programs as StableHLO, a script that compiles them under the
conditions that differ, and a page that says what it is about. Ready for a bug report.

Where the programs themselves differ, no compiler is to blame: then both stand there, and the script says so.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import TYPE_CHECKING, Any

from pcvd.core.builds import TRACED
from pcvd.core.case import DIFFERS, REFERENCE, Case
from pcvd.core.errors import UsageError
from pcvd.inquiry import conditions, page
from pcvd.inquiry.reader import Reader, Unreadable

if TYPE_CHECKING:
    from pcvd.core.builds import Build, Run

SCHEMA = 1
_MOST_NEIGHBOURS = 8
_DEFINITION = re.compile(r"^#loc\d*(?: = loc\(.*\))?\n?", re.MULTILINE)
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LOCATION = re.compile(rf' loc\((?:[^()"]|{_QUOTED}|\((?:[^()"]|{_QUOTED}|\([^()]*\))*\))*\)')


def files(case: Case, reader: Reader) -> dict[str, Any]:
    """The files by name, what the script shows (`compiler` or `tracing`), and remarks.

    Raises UsageError where nothing differs, or what is needed of it is gone.
    """
    first = case.stage
    if first is None:
        raise UsageError(
            f"nothing differs in {case.target}'s last round ({case.judgement.verdict})",
            hint=f"`pcvctl explain {case.target}` tells what was compared",
        )
    if case.reference is None:
        raise UsageError(
            f"the builds of {case.target}'s last round are gone",
            hint="check the target again, then ask again",
        )
    if (case.judgement.cause or {}).get("kind") == "run":
        raise UsageError(
            f"one executable of {case.target} gave other bits when it ran again: no compilation shows that",
            hint="call the jitted function twice on the same arguments; look for callbacks in it",
        )
    remarks: list[str] = []
    if first in TRACED:
        made = _tracing(case, reader, first)
        remarks.append("the script compares the programs as they were recorded; it traces nothing")
    else:
        made = _compiling(case, reader, first, remarks)
    manifest = made.pop("repro.json")
    return {
        "schema": SCHEMA,
        "target": case.target,
        "shows": manifest["shows"],
        "files": {
            **made,
            "repro.json": json.dumps(manifest, indent=1, ensure_ascii=False) + "\n",
            "repro.py": resources.files("pcvd.inquiry").joinpath("script/repro.py").read_text("utf-8"),
            "README.md": page.text(case, manifest, remarks),
        },
        "remarks": remarks,
    }


def stripped(text: str) -> str:
    """StableHLO without source positions: they name files of whoever wrote the model."""
    without, definitions = _DEFINITION.subn("", text)
    # Only with definitions was it printed with positions; else "loc(" may stand in somebody's string.
    return _LOCATION.sub("", without) if definitions else text


# -- two programs ------------------------------------------------------------------------------------


def _tracing(case: Case, reader: Reader, first: str) -> dict[str, Any]:
    sides = {"reference": case.reference, "other": _unlike(case, first)}
    made: dict[str, Any] = {
        f"{name}.mlir": _program(build, reader, case.target)
        for name, build in sides.items()
        if build is not None
    }
    made["repro.json"] = {
        "target": case.target,
        "shows": "tracing",
        "stage": first,
        "sides": ["reference.mlir", "other.mlir"],
    }
    return made


def _unlike(case: Case, stage: str) -> Build:
    """A build that differs from the reference. Raises UsageError where none is recorded any more."""
    assert case.reference is not None
    for name, state in case.states(stage).items():
        build = case.differing_build(name, stage, case.reference) if state == DIFFERS else None
        if build is not None:
            return build
    raise UsageError(
        f"the builds in which {case.target} differs at {stage} are gone",
        hint="check the target again, then ask again",
    )


def _program(build: Build, reader: Reader, target: str) -> str:
    """The StableHLO of a build. Raises UsageError where the store has it no more."""
    artifact = build.artifact("stablehlo")
    if artifact is None or not artifact.parts:
        raise UsageError(
            f"no StableHLO of {target} is recorded", hint="check the target again, then ask again"
        )
    try:
        return stripped(reader.data(artifact.parts[0]).decode())
    except Unreadable as why:
        raise UsageError(str(why), hint="check the target again, then ask again") from why


# -- one program, built in several ways --------------------------------------------------------------


def _compiling(case: Case, reader: Reader, first: str, remarks: list[str]) -> dict[str, Any]:
    run = case.run(REFERENCE)
    assert run is not None
    programs = _programs(case, run, reader, remarks)
    entries = list(programs)
    made: dict[str, Any] = {
        f"programs/{_slug(place, name)}": programs[name] for place, name in enumerate(entries)
    }
    kind = str((case.judgement.cause or {}).get("kind") or "unknown")
    reference, others = conditions.plan(case, entries, run, kind)
    if first == "output":
        remarks.append(
            "what differs shows when it runs; the script compiles only, as arguments are not recorded"
        )
    environment = run.environments[0] if run.environments else {}
    made["repro.json"] = {
        "target": case.target,
        "shows": "compiler",
        "stage": first,
        "kind": kind,
        "programs": [
            {"name": name, "file": f"programs/{_slug(at, name)}"} for at, name in enumerate(entries)
        ],
        "subject": entries.index(case.target),
        "variables": dict(environment.get("variables") or {}),
        "versions": _versions(environment),
        "reference": reference,
        "conditions": others,
    }
    return made


def _programs(case: Case, run: Run, reader: Reader, remarks: list[str]) -> dict[str, str]:
    """The target's program and those that were compiled beside it, in the reference's order."""
    found: dict[str, str] = {}
    chosen = _chosen(case, run)
    for build in run.builds:
        if build.target not in chosen or build.target in found:
            continue
        try:
            found[build.target] = _program(build, reader, build.target)
        except UsageError as error:
            if build.target == case.target:
                raise
            remarks.append(f"left out: {error.message}")
    left_out = len(set(run.order)) - len(chosen)
    if left_out > 0:
        remarks.append(f"{left_out} further targets of the round are left out")
    return found


def _chosen(case: Case, run: Run) -> set[str]:
    """The target, and the neighbours most likely to matter: those built just before it, in any run."""
    chosen = {case.target: None}
    for other in (run, *case.challengers()):
        order = list(dict.fromkeys(other.order))
        if case.target in order:
            at = order.index(case.target)
            chosen |= dict.fromkeys(reversed(order[max(0, at - _MOST_NEIGHBOURS) : at]))
    chosen |= dict.fromkeys(run.order)
    return set(list(chosen)[: _MOST_NEIGHBOURS + 1])


def _slug(place: int, name: str) -> str:
    return f"{place:02d}_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')[:60]}.mlir"


def _versions(environment: dict[str, Any]) -> str:
    told = [f"{name} {environment[name]}" for name in ("jax", "jaxlib", "python") if environment.get(name)]
    told += [str(environment[name]) for name in ("platform", "system", "processor") if environment.get(name)]
    return ", ".join(told) or "unknown versions"
