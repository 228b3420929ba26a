"""Programs: what a build hands to the compiler. Where an edit leaves it as it was, nothing is compiled.

This is the early cutoff of build systems ("Build Systems à la Carte", Mokhov et al., 2018): a step whose
inputs turn out unchanged ends the work, although something before it changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcvd.core.builds import TRACED
from pcvd.core.compare import INCONCLUSIVE
from pcvd.core.model import digest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pcvd.core.model import Judgement

_TRACED = frozenset(TRACED)


@dataclass(frozen=True, slots=True)
class Program:
    """What one build of a target has come to before it is compiled: canonical digests of its jaxpr (with
    constants, signature, compiler options and what it calls) and its StableHLO, the digest of the values it
    will be run on, and that of JAX's configuration.

    `closed`: all that it does is in it. A program that calls back into Python does what Python does.
    """

    target: str
    jaxpr: str | None
    stablehlo: str | None
    inputs: str
    config: str
    closed: bool


def digest_of(config: Mapping[str, str]) -> str:
    """The digest of a configuration, whatever the order of its names."""
    return digest(repr(sorted(config.items())).encode(errors="surrogateescape"))


def is_standing(programs: Mapping[str, Sequence[Program]], standing: Judgement, premises: str) -> bool:
    """Whether all of a target's `programs`, by schedule, are those that a verdict stands on, so that it is
    about them as well. `premises` is the digest of what its builds rest on beside the files they read.

    The verdict knows one digest a stage and schedule: what its copies agreed in, or else one that differed;
    copies that differ from each other now are all compared with that one, so they never pass for standing.
    """
    evidence = standing.evidence
    if standing.verdict == INCONCLUSIVE or evidence.get("premises") != premises or not programs:
        return False
    return all(
        program.closed
        and program.inputs == evidence.get("inputs")
        and program.config == evidence.get("config")
        and _is(program.jaxpr, standing.stages.get("jaxpr", {}).get(schedule))
        and _is(program.stablehlo, standing.stages.get("stablehlo", {}).get(schedule))
        for schedule, made in programs.items()
        for program in made
    ) and all(programs.values())


def is_covered(standing: Judgement, traced: Collection[str]) -> bool:
    """Whether tracing under these schedules can tell that a verdict stands after the code was edited: not
    where programs differed under others alone, since the edit may have mended just that.
    """
    schedules: Mapping[str, Mapping[str, Sequence[str]]] = standing.evidence.get("schedules") or {}
    return all(
        name in traced or _TRACED.isdisjoint(one.get("differing_stages") or ())
        for name, one in schedules.items()
    )


def _is(digest: str | None, known: str | None) -> bool:
    # A stage that is absent on both sides is no evidence.
    return digest is not None and digest == known
