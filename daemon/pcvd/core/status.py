"""The status document: what `pcvctl status --json` prints and every other view is made from. Fields may be
added under one schema, never changed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pcvd.core.compare import AGREE, DIVERGED, EQUIVALENT, INCONCLUSIVE, UNSTABLE
from pcvd.core.model import Judgement, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SCHEMA = 1
VERDICTS = (AGREE, EQUIVALENT, DIVERGED, UNSTABLE, INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one target stands: the verdict, whether it is about the files as they are, what is being done about
    it (`idle`, `queued` or `building`), whether anything was compared at all, and whether the very files were
    built: of a comment it is believed at first that it changes nothing.
    """

    verdict: str
    fresh: bool
    state: str
    compared: bool
    confirmed: bool = True

    @property
    def settled(self) -> bool:
        """Whether it agrees, and nothing about that is open."""
        return self.fresh and self.compared and self.verdict in {AGREE, EQUIVALENT}

    @property
    def quiet(self) -> bool:
        """Whether there is nothing to say of it but that it agrees."""
        return self.fresh and self.compared and self.verdict == AGREE and self.state == "idle"


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


class Tally:
    """How many targets stand how; kept as they change."""

    def __init__(self, standings: Iterable[Standing] = ()) -> None:
        self._verdicts: Counter[str] = Counter()
        self._targets = self._stale = self._unsettled = 0
        for one in standings:
            self.count(one, 1)

    def count(self, standing: Standing, by: int) -> None:
        """One target more (`by` is 1) or less (-1) that stands like this."""
        self._targets += by
        self._verdicts[standing.verdict] += by
        self._stale += by * (not standing.fresh)
        self._unsettled += by * (not standing.settled)

    def summary(self, *, doubted: bool = False) -> dict[str, int]:
        """The counts of the status JSON; `doubted`: nothing is certain to be fresh."""
        verdicts = {verdict: self._verdicts[verdict] for verdict in VERDICTS}
        return {
            "targets": self._targets,
            **verdicts,
            "stale": self._targets if doubted else self._stale,
        }

    def amounts_to(self, *, known: bool) -> tuple[bool, bool]:
        """Whether some target differs, and whether all of them (at least one) agree and nothing about that
        is open; `known`: no problem and no doubt stands in the way.
        """
        differs = bool(self._verdicts[DIVERGED] or self._verdicts[UNSTABLE])
        return differs, known and self._targets > 0 and not self._unsettled


def head(
    root: str,
    daemon: Daemon,
    summary: Mapping[str, int],
    problems: Sequence[Problem],
    speed: Mapping[str, float | None],
    environment: Mapping[str, Any],
    asking: Sequence[str] = (),
) -> dict[str, Any]:
    """The status as plain values, but for its targets. `asking` are the model files that are still to tell
    which targets they declare.
    """
    return {
        "schema": SCHEMA,
        "root": root,
        "daemon": asdict(daemon),
        "summary": dict(summary),
        "problems": [asdict(problem) for problem in problems],
        "asking": list(asking),
        "speed": dict(speed),
        "environment": dict(environment),
    }


def unchecked(entry: str) -> Judgement:
    """What stands of a target that was never judged."""
    return Judgement(entry, INCONCLUSIVE, "not checked yet")


def target(found: Judgement) -> dict[str, Any]:
    """What a status tells of a judged target, as plain values, and what is stored of it; but for the time,
    and for what changes without its being judged: whether it is fresh, whether that is confirmed, its state.
    """
    return {
        "target": found.target,
        "verdict": found.verdict,
        "reason": found.reason,
        "first_stage": found.first_stage,
        "differing": list(found.differing),
        "stages": found.stages,
        "output": found.output,
        "evidence": found.evidence or {"rounds": 0, "schedules": {}},
        "cause": found.cause,
        "kernels": found.kernels,
        "failure": None if found.failure is None else asdict(found.failure),
    }
