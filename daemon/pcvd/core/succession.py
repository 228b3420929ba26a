"""Succession: what a verdict takes over from an earlier one on the same target."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pcvd.core.compare import AGREE, EQUIVALENT, GRAVITY, INCONCLUSIVE
from pcvd.core.partition import CAUSE
from pcvd.core.schedule import SERIAL

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pcvd.core.model import Judgement


def settle(judgement: Judgement, missing: Sequence[str]) -> Judgement:
    """`judgement`, with agreement that clears nothing turned into what it is.

    A smaller cohort cannot clear what a larger one found: `missing` are neighbours that the target differed
    beside, and that were not built with it.
    """
    if not missing or judgement.verdict not in {AGREE, EQUIVALENT}:
        return judgement
    beside = ", ".join(missing)
    reason = f"it agrees, but it differed beside {beside}, which could not be built with it"
    return replace(judgement, verdict=INCONCLUSIVE, reason=reason)


def puzzling(judgement: Judgement) -> bool:
    """Whether it differs, and nobody has looked into why. A run that contradicts itself needs no looking, and
    for a kernel that alone differs there are no variations.
    """
    cause = judgement.cause
    return cause is not None and is_open(cause["kind"], cause.get("evidence", ()))


def is_open(kind: str, evidence: Collection[object]) -> bool:
    """Whether a cause of that kind, with that evidence, is still to be found out."""
    return not evidence and kind not in {"run", CAUSE}


def inherit(judgement: Judgement, earlier: Judgement) -> Judgement:
    """`judgement`, with the cause that was found out of an `earlier` one, where that was about the same
    sources and differed alike.
    """
    alike = same_sources(judgement, earlier) and _shape(judgement) == _shape(earlier)
    # What is known of a kernel that differed alone says nothing of the target in one piece.
    told = earlier.cause is not None and earlier.cause["kind"] != CAUSE
    known = alike and told and puzzling(judgement) and not puzzling(earlier)
    return replace(judgement, cause=earlier.cause) if known else judgement


def varied(judgement: Judgement, cause: dict[str, Any]) -> Judgement:
    """`judgement`, with what variations that somebody asked for have changed, or why they were not tried."""
    found = {"variations": cause["evidence"], "untried": cause["remarks"]}
    return replace(judgement, evidence=judgement.evidence | found)


def same_sources(judgement: Judgement, earlier: Judgement) -> bool:
    """Whether both are about the very same files, versions and settings."""
    key = judgement.evidence.get("source_key")
    return key is not None and key == earlier.evidence.get("source_key")


def _shape(judgement: Judgement) -> tuple[Any, ...]:
    reference = {stage: digests.get(SERIAL.name) for stage, digests in judgement.stages.items()}
    return judgement.verdict, judgement.differing, reference


def accumulate(judgement: Judgement, earlier: Judgement | None) -> Judgement:
    """`judgement`, with the rounds counted that there were over the same sources, and those that agreed:
    agreement that comes after a difference, with nothing edited, is told with it.
    """
    if earlier is not None and (INCONCLUSIVE in {judgement.verdict, earlier.verdict}):
        earlier = None
    alike = earlier is not None and same_sources(judgement, earlier)
    return _counted(judgement, earlier if alike else None, judgement)


def confirmed(judgement: Judgement, sources: str, untraced: Sequence[str] | None = None) -> Judgement:
    """`judgement`, which stands over other sources, since they make the same programs; `untraced` names the
    schedules under which that was not seen yet (None: those that were so before).
    """
    evidence = judgement.evidence | {"source_key": sources}
    if untraced is not None:
        evidence = _seen_whole(evidence) | ({"untraced": list(untraced)} if untraced else {})
    return replace(judgement, evidence=evidence)


def doubted(judgement: Judgement, sources: str) -> Judgement:
    """`judgement`, over other sources of which some schedule has made another program. That counts as a round
    that did not agree: one that agrees after it is told with it.
    """
    evidence = judgement.evidence
    alike = judgement.verdict in {AGREE, EQUIVALENT}
    counts = {"rounds": evidence.get("rounds", 1) + 1, "agreed": evidence.get("agreed", int(alike))}
    return replace(judgement, evidence=evidence | counts | {"source_key": sources})


def amended(latest: Judgement, found: Judgement) -> Judgement:
    """`latest`, with what was `found` out about it as it was, before it was confirmed over other sources."""
    since = {name: latest.evidence[name] for name in _CONFIRMED if name in latest.evidence}
    evidence = {name: value for name, value in found.evidence.items() if name not in _CONFIRMED}
    return replace(found, evidence=evidence | since)


_CONFIRMED = ("source_key", "untraced")
"""What a confirmation changes of the evidence."""


def _seen_whole(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in evidence.items() if name != "untraced"}


def is_partial(verdict: str, built: Collection[str], schedules: Sequence[str]) -> bool:
    """Whether a verdict that rests on the schedules `built` rests on fewer than these. What could not be
    compared rests on none, and would on no more.
    """
    return verdict != INCONCLUSIVE and not set(schedules) <= set(built)


def strengthened(standing: Judgement, found: Judgement) -> Judgement | None:
    """What stands after a whole round over the same sources, when nobody asked for it; None where `found` is
    no evidence on what stands.

    A whole round knows more than the glance before it: also that a target can't be built under some schedule.
    But a divergence that it did not see again is one all the same.
    """
    if found.verdict == INCONCLUSIVE != standing.verdict:
        failed = found.failure is not None and standing.verdict in {AGREE, EQUIVALENT}
        return accumulate(found, standing) if failed else None
    if standing.verdict == INCONCLUSIVE or not same_sources(found, standing):
        return accumulate(found, standing)
    milder = GRAVITY.index(found.verdict) < GRAVITY.index(standing.verdict)
    known = standing if milder else inherit(found, standing)
    return _counted(known, standing, found)


def soaked(standing: Judgement, found: Judgement) -> Judgement | None:
    """What stands after one more round over the same sources `found` this; None where that is no evidence.

    What was graver stands: a divergence that shows once in fifty rounds is one, and the fifty-first round
    does not undo it. Only an edit does, or being asked for. Nor does a control that equals the reference by
    luck put the blame on concurrency, once another one has differed.
    """
    if INCONCLUSIVE in {found.verdict, standing.verdict} or not same_sources(found, standing):
        return None
    graver = GRAVITY.index(found.verdict) > GRAVITY.index(standing.verdict)
    return _counted(found if graver else standing, standing, found)


def _counted(stands: Judgement, before: Judgement | None, found: Judgement) -> Judgement:
    rounds = before.evidence.get("rounds", 1) if before is not None else 0
    agreed = before.evidence.get("agreed", 0) if before is not None else 0
    counts = {"rounds": rounds + 1, "agreed": agreed + (found.verdict in {AGREE, EQUIVALENT})}
    return replace(stands, evidence=_seen_whole(stands.evidence) | counts)
