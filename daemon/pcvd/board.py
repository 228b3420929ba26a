"""The board: what stands now. The last judgement of every target, what is wrong with the project, the speed
of the last round.

Judgements are kept as the JSON they are told as: ten thousand of them as Python's own objects would take ten
times the memory. What is counted is counted as it changes, so that an answer costs what it shows.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pcv_config import places
from pcvd import __version__, jsontext
from pcvd.core.compare import AGREE, DIVERGED, INCONCLUSIVE, UNSTABLE
from pcvd.core.evidence import speed_up
from pcvd.core.model import model_file
from pcvd.core.status import Daemon, Standing, Tally, head, target, unchecked
from pcvd.packing import Packing
from pcvd.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pcvd.core.model import Judgement, Problem
    from pcvd.core.plan import Plan
    from pcvd.store import RoundRecord
    from pcvd.store import Standing as Remembered

_DOUBTING = frozenset({"settings", "watch"})
"""What, when it is wrong, leaves no verdict certain to be about the project as it is."""

_DEGRADING = _DOUBTING | {"store", "workers"}
"""What can be wrong with so that the daemon cannot keep its promise, whatever the targets are."""


@dataclass(frozen=True, slots=True)
class Note:
    """What was last found of a target, whatever has changed since, and the JSON that tells it, packed: there
    may be ten thousand.
    """

    verdict: str
    compared: bool
    at: str | None
    told: bytes


_UNCHECKED = Note(INCONCLUSIVE, False, None, b"")
_URGENCY = {DIVERGED: -3, UNSTABLE: -2, INCONCLUSIVE: -1}
"""What is listed first where there is no room for all."""


class Board:
    """The standing verdicts, from which every status document is made."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._packing = Packing()
        self._notes: dict[str, Note] = {}
        self._listed: dict[str, Standing] = {}
        """The targets that exist, and how each stands."""
        self._tally = Tally()
        self._loud: dict[str, None] = {}
        """Those of which there is more to say than that they agree."""
        self._order: tuple[str, ...] = ()
        self._order_version = -1
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._speed: dict[str, float | None] = {}
        self._environment: dict[str, Any] = {}
        self._started = time.monotonic()

    # -- what is put up ----------------------------------------------------------------------------

    def notes(self, standings: Iterable[Remembered]) -> dict[str, Note]:
        """What an earlier life found, as it was written down, to be recalled. Of thousands that takes a
        while: it may be called on another thread.
        """
        return {
            one.target.entry: Note(
                one.verdict,
                len(one.schedules) > 1,
                one.checked_at,
                self._open(one.verdict, one.said.encode(), one.checked_at),
            )
            for one in standings
        }

    def recall(self, notes: Mapping[str, Note]) -> None:
        """Put up what an earlier life found."""
        for entry, note in notes.items():
            self._note(entry, note)

    def put(self, record: RoundRecord, changed: Sequence[Judgement] = ()) -> None:
        """Put up what a round found; `changed` are judgements that only say why there is none."""
        for judgement in (*record.judgements, *changed):
            self._put(judgement, record.finished_at)
        if record.judgements and record.runs and record.alone:
            self._speed = {run.schedule: speed_up(run, record.runs[0]) for run in record.runs}
        if record.environment:
            self._environment = dict(record.environment)

    def confirm(self, judgements: Sequence[Judgement], at: str) -> None:
        """These stand, as was seen again at that time."""
        for judgement in judgements:
            self._put(judgement, at)

    def amend(self, judgement: Judgement) -> None:
        """Put up a judgement that knows more, in the place of the one that stands."""
        note = self._notes.get(judgement.target)
        self._put(judgement, note.at if note is not None else None)

    def _put(self, judgement: Judgement, at: str | None) -> None:
        told = self._open(judgement.verdict, jsontext.encode(target(judgement)), at)
        self._note(judgement.target, Note(judgement.verdict, len(judgement.schedules) > 1, at, told))

    def _note(self, entry: str, note: Note) -> None:
        self._notes[entry] = note
        if entry in self._listed:
            before = self._listed[entry]
            self._list(entry, before.state, fresh=before.fresh, confirmed=before.confirmed)

    def problem(self, about: str, *problems: Problem) -> None:
        """What is wrong with `about` (`settings`, `workers`, `store`, or a model file) from now on;
        nothing, when none is given.
        """
        if problems:
            self._problems[about] = problems
        else:
            self._problems.pop(about, None)

    # -- how targets stand ---------------------------------------------------------------------------

    def follow(self, plan: Plan) -> None:
        """Take over what has changed in `plan`: who exists, who is fresh, what is done about each."""
        for entry in plan.news():
            if plan.exists(entry):
                confirmed = not plan.believes((entry,))
                self._list(entry, plan.state(entry), fresh=plan.fresh(entry), confirmed=confirmed)
            else:
                self._unlist(entry)
        if self._order_version != plan.targets_version:
            self._order_version = plan.targets_version
            self._order = tuple(spec.entry for spec in plan.targets)

    def _list(self, entry: str, state: str, *, fresh: bool, confirmed: bool) -> None:
        self._unlist(entry)
        note = self._notes.get(entry, _UNCHECKED)
        fresh = fresh and note is not _UNCHECKED
        standing = Standing(note.verdict, fresh, state, note.compared, confirmed)
        self._listed[entry] = standing
        self._tally.count(standing, 1)
        if not standing.quiet:
            self._loud[entry] = None

    def _unlist(self, entry: str) -> None:
        standing = self._listed.pop(entry, None)
        if standing is not None:
            self._tally.count(standing, -1)
            self._loud.pop(entry, None)

    # -- what is given out ---------------------------------------------------------------------------

    def status(self, plan: Plan, *, ready: bool, entries: Sequence[str] = ()) -> Status:
        """The status of `entries`, or of all targets."""
        self.follow(plan)
        # Until it is known which targets there are, those of an earlier life stand for themselves, as stale.
        remembered = tuple(spec.entry for spec in plan.remembered)
        wanted = tuple(dict.fromkeys(entries)) if entries else (*self._order, *remembered)
        if not entries and not remembered:
            return self._status(plan, wanted, self._tally, ready=ready)
        asking, also = plan.asked_for(entries), set(remembered)
        wanted = tuple(
            entry for entry in wanted if entry in self._listed or entry in also or model_file(entry) in asking
        )
        files = frozenset(map(model_file, wanted)) if entries else None
        tally = Tally(self._standing(entry) for entry in wanted)
        return self._status(plan, wanted, tally, files, ready=ready)

    def brief(self, plan: Plan, most: int, *, ready: bool) -> Status:
        """The status of all targets, of which those are listed that there is something to say of; all of them
        where there are no more than `most`.
        """
        self.follow(plan)
        if len(self._order) <= most or plan.remembered:
            whole = self.status(plan, ready=ready)
            return replace(whole, targets=whole.targets[:most], unshown=max(0, len(whole.targets) - most))
        loud = sorted(self._loud, key=lambda entry: _URGENCY.get(self._listed[entry].verdict, 0))[:most]
        held = self._status(plan, loud, self._tally, ready=ready)
        unshown = len(self._loud) - len(loud)
        return replace(held, unlisted=len(self._order) - len(self._loud), unshown=unshown)

    def _standing(self, entry: str) -> Standing:
        note = self._notes.get(entry, _UNCHECKED)
        return self._listed.get(entry) or Standing(note.verdict, False, "queued", note.compared)

    def _status(
        self,
        plan: Plan,
        entries: Sequence[str],
        tally: Tally,
        files: frozenset[str] | None = None,
        *,
        ready: bool,
    ) -> Status:
        """`files`: it is about targets of these alone, and what is open about others is no matter."""
        asking = plan.asking if files is None else plan.asking & files
        unknown = not plan.surveyed and (files is None or bool(asking))
        doubted = unknown or bool(_DOUBTING & self._problems.keys())
        trouble = _DEGRADING & self._problems.keys()
        state = "busy" if not ready or not plan.idle else "degraded" if trouble else "idle"
        uptime_s = round(time.monotonic() - self._started, 3)
        wrong = [one for one in self._problems if files is None or one in _DEGRADING or one in files]
        problems = [problem for about in sorted(wrong) for problem in self._problems[about]]
        # A model file that was not asked yet may declare targets of which nothing is known.
        differs, agrees = tally.amounts_to(known=not (doubted or problems or asking))
        return Status(
            head(
                self._root,
                Daemon(os.getpid(), state, __version__, uptime_s, places.socket_path(self._root)),
                tally.summary(doubted=doubted),
                problems,
                self._speed,
                self._environment,
                sorted(asking),
            ),
            [self._told(entry, doubted=doubted) for entry in entries],
            self._packing.unpack,
            differs,
            agrees,
        )

    def _told(self, entry: str, *, doubted: bool) -> tuple[bytes, bytes]:
        standing = self._standing(entry)
        note = self._notes.get(entry)
        told = (
            note.told if note is not None else self._open("", jsontext.encode(target(unchecked(entry))), None)
        )
        fresh = b"true" if standing.fresh and not doubted else b"false"
        confirmed = b"true" if standing.confirmed else b"false"
        state = standing.state.encode()
        return told, b',"fresh":%b,"confirmed":%b,"state":"%b"}' % (fresh, confirmed, state)

    def _open(self, verdict: str, said: bytes, at: str | None) -> bytes:
        """What is said of a target, and when it was found, as a JSON object that is to be gone on with,
        packed.
        """
        told = b'%b,"checked_at":%b' % (said[:-1], jsontext.encode(at))
        if verdict == AGREE:  # as most do, and none of these is like another's traceback
            self._packing.learn(told)
        return self._packing.pack(told)
