"""The board: what stands now. The last judgement of every target, what is wrong with the project, the
speed of the last round.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from pcv_config import places
from pcvd import __version__
from pcvd.core.evidence import speed_up
from pcvd.core.status import Daemon, Row, document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcvd.core.model import Judgement, Problem
    from pcvd.core.plan import Plan
    from pcvd.store import RoundRecord, Standing

_DOUBTING = frozenset({"settings", "watch"})
"""What, when it is wrong, leaves no verdict certain to be about the project as it is."""

_DEGRADING = _DOUBTING | {"store", "workers"}
"""What can be wrong with so that the daemon cannot keep its promise, whatever the targets are."""


class Board:
    """The standing verdicts, from which every status document is made."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._rows: dict[str, tuple[Judgement, str | None]] = {}
        """Per target its judgement, and when it was made."""
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._speed: dict[str, float | None] = {}
        self._environment: dict[str, Any] = {}
        self._started = time.monotonic()

    def recall(self, standings: Sequence[Standing]) -> None:
        """Put up what an earlier life found."""
        for standing in standings:
            self._rows[standing.target.entry] = (standing.judgement, standing.checked_at)

    def put(self, record: RoundRecord, changed: Sequence[Judgement] = ()) -> None:
        """Put up what a round found; `changed` are judgements that only say why there is none."""
        for judgement in (*record.judgements, *changed):
            self._rows[judgement.target] = (judgement, record.finished_at)
        if record.judgements and record.runs and record.alone:
            self._speed = {run.schedule: speed_up(run, record.runs[0]) for run in record.runs}
        if record.environment:
            self._environment = dict(record.environment)

    def confirm(self, judgements: Sequence[Judgement], at: str) -> None:
        """These stand, as was seen again at that time."""
        for judgement in judgements:
            self._rows[judgement.target] = (judgement, at)

    def amend(self, judgement: Judgement) -> None:
        """Put up a judgement that knows more, in the place of the one that stands."""
        self._rows[judgement.target] = (judgement, self._rows[judgement.target][1])

    def problem(self, about: str, *problems: Problem) -> None:
        """What is wrong with `about` (`settings`, `workers`, `store`, or a model file) from now on;
        nothing, when none is given.
        """
        if problems:
            self._problems[about] = problems
        else:
            self._problems.pop(about, None)

    def document(self, plan: Plan, *, ready: bool, entries: Sequence[str] = ()) -> dict[str, Any]:
        """The status document of `entries`, or of all targets. `ready`: whether recovery is over."""
        wanted = set(entries)
        # Until it is known which targets there are, those of an earlier life stand for themselves, as stale.
        entries = [spec.entry for spec in (*plan.targets, *plan.remembered)]
        rows = [self._row(entry, plan) for entry in entries if not wanted or entry in wanted]
        trouble = _DEGRADING & self._problems.keys()
        state = "busy" if not ready or not plan.idle else "degraded" if trouble else "idle"
        uptime_s = round(time.monotonic() - self._started, 3)
        return document(
            self._root,
            Daemon(os.getpid(), state, __version__, uptime_s, places.socket_path(self._root)),
            rows,
            [problem for about in sorted(self._problems) for problem in self._problems[about]],
            self._speed,
            self._environment,
        )

    def _row(self, entry: str, plan: Plan) -> Row:
        judgement, checked_at = self._rows.get(entry, (None, None))
        if not plan.exists(entry):  # only remembered as yet
            return Row(entry, judgement, checked_at, False, "queued")
        fresh = plan.fresh(entry) and plan.surveyed and not _DOUBTING & self._problems.keys()
        return Row(entry, judgement, checked_at, fresh, plan.state(entry))
