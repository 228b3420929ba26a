"""The status document: what `pcvctl status --json` prints and every other view is made from. Fields may be
added under one schema, never changed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pcvd.core.compare import AGREE, DIVERGED, EQUIVALENT, INCONCLUSIVE, UNSTABLE
from pcvd.core.model import Failure, Judgement, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = 1
_VERDICTS = (AGREE, EQUIVALENT, DIVERGED, UNSTABLE, INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Row:
    """One target as it stands: its last judgement (None: never judged), when that was, and what is being
    done about it.
    """

    entry: str
    judgement: Judgement | None
    checked_at: str | None
    fresh: bool
    state: str


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon's own state: `idle`, `busy`, `degraded` (it cannot build) or `down`; and the path of the
    socket on which it answers HTTP.
    """

    pid: int
    state: str
    version: str
    uptime_s: float
    socket: str | None = None


def document(
    root: str,
    daemon: Daemon,
    rows: Sequence[Row],
    problems: Sequence[Problem],
    speed: Mapping[str, float | None],
    environment: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole status as plain values."""
    targets = [_target(row) for row in rows]
    counts = {verdict: sum(target["verdict"] == verdict for target in targets) for verdict in _VERDICTS}
    return {
        "schema": SCHEMA,
        "root": root,
        "daemon": asdict(daemon),
        "summary": {
            "targets": len(targets),
            **counts,
            "stale": sum(not target["fresh"] for target in targets),
        },
        "targets": targets,
        "problems": [asdict(problem) for problem in problems],
        "speed": dict(speed),
        "environment": dict(environment),
    }


def _target(row: Row) -> dict[str, Any]:
    judgement = row.judgement or Judgement(row.entry, INCONCLUSIVE, "not checked yet")
    return {
        "target": row.entry,
        "verdict": judgement.verdict,
        "fresh": row.fresh and row.judgement is not None,
        "state": row.state,
        "reason": judgement.reason,
        "first_stage": judgement.first_stage,
        "differing": list(judgement.differing),
        "stages": judgement.stages,
        "output": judgement.output,
        "evidence": judgement.evidence or {"rounds": 0, "schedules": {}},
        "cause": judgement.cause,
        "failure": _failure(judgement.failure),
        "checked_at": row.checked_at,
    }


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    return None if failure is None else asdict(failure)
