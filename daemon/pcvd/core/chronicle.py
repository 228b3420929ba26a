"""The history of a target: its verdicts, newest first, each with what changed since the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcvd.core.builds import STAGES
from pcvd.core.case import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pcvd.core.model import Judgement

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Chapter:
    """One verdict, and the round it came from, which ended at `judged_at`. It may have been confirmed since
    then, at `checked_at`. `environment` is what the reference ran in.
    """

    round: int
    judged_at: str
    checked_at: str
    why: str
    cohort: tuple[str, ...]
    environment: Mapping[str, Any]
    judgement: Judgement


def document(target: str, chapters: Sequence[Chapter], limit: int) -> dict[str, Any]:
    """The last `limit` of `chapters`, which are the newest first and may hold one more to compare with."""
    shown = chapters[:limit]
    return {
        "schema": SCHEMA,
        "target": target,
        "more": len(chapters) > limit,
        "verdicts": [
            _verdict(one, chapters[place + 1] if place + 1 < len(chapters) else None)
            for place, one in enumerate(shown)
        ],
    }


def _verdict(one: Chapter, before: Chapter | None) -> dict[str, Any]:
    judgement = one.judgement
    return {
        "round": one.round,
        "judged_at": one.judged_at,
        "checked_at": one.checked_at,
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "first_stage": judgement.first_stage,
        "cause": judgement.cause,
        "why": one.why,
        "cohort": list(one.cohort),
        "rounds": judgement.evidence.get("rounds", 1),
        "agreed": judgement.evidence.get("agreed"),
        "untraced": judgement.evidence.get("untraced", []),
        "changed": None if before is None else _changed(one, before),
    }


def _changed(one: Chapter, before: Chapter) -> dict[str, Any]:
    """What is other than it was: null where it is not. `stages` are those whose *reference* changed: the
    program itself, or what the compiler makes of it.
    """
    verdicts = [before.judgement.verdict, one.judgement.verdict]
    stages = _stages(one.judgement, before.judgement)
    return {
        "verdict": verdicts if verdicts[0] != verdicts[1] else None,
        "stages": stages,
        "environment": dict(_unlike("", before.environment, one.environment)),
        "cohort": {
            "added": [name for name in one.cohort if name not in before.cohort],
            "removed": [name for name in before.cohort if name not in one.cohort],
        },
    }


def _stages(one: Judgement, before: Judgement) -> list[str] | None:
    """The stages whose reference changed; None where one of the verdicts remembers no digests."""
    if not one.stages or not before.stages:
        return None
    return [
        stage
        for stage in STAGES
        if one.stages.get(stage, {}).get(REFERENCE) != before.stages.get(stage, {}).get(REFERENCE)
    ]


def _unlike(name: str, before: Any, now: Any) -> Iterator[tuple[str, list[Any]]]:
    """What differs between two descriptions of an environment, by dotted name: [before, now]."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _unlike(f"{name}.{key}" if name else key, before.get(key), now.get(key))
    elif before != now:
        yield name, [before, now]
