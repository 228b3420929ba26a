"""Carrying out the plan's orders: a discovery or a round, with whatever may go wrong on the way turned
into something to show.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import structlog

from pcv_config.settings import Settings
from pcvd.builders.protocol import Builders
from pcvd.builders.protocol import Order as BuildOrder
from pcvd.core import events
from pcvd.core.errors import PcvError, StoreError
from pcvd.core.model import Judgement, Problem, Run, TargetSpec
from pcvd.core.schedule import SERIAL, is_schedule
from pcvd.core.succession import accumulate, inherit, puzzling, settle, soaked, varied
from pcvd.core.variation import named
from pcvd.investigation import Investigation
from pcvd.premises import premises
from pcvd.round import Outcome, Rounds

if TYPE_CHECKING:
    from pcvd.blobs import Blobs
    from pcvd.files import Files
    from pcvd.store import RoundRecord, Store

log = structlog.get_logger()

_KEEP_ROUNDS = 3
"""Of how many rounds per target the artifacts' bytes are kept; verdicts are kept for good."""
_UNCLAIMED_S = 3600.0
"""Bytes that no recorded round names are removed when they are this old: before, another process may be
about to name them.
"""

_TIDY_EVERY = 16
"""Rounds; raw artifacts differ at every build, so a busy day would fill the disk."""

_BUILDERS = ("python", "platform", "env", "paths", "seed", "timeout_s", "memory_mb", "atol", "rtol")
"""The settings that builders are opened with."""

OpenBuilders = Callable[[Settings], AbstractAsyncContextManager[Builders]]


@dataclass(frozen=True, slots=True)
class Finished:
    """An order has been carried out: what the plan must hear, in turn, and what the board must show.

    `problems` maps what they are about to what is wrong with it now (an empty tuple: nothing any more).
    """

    events: tuple[events.Event, ...]
    problems: dict[str, tuple[Problem, ...]]
    record: RoundRecord | None = None
    changed: tuple[Judgement, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    soaked_s: float | None = None
    """How long it took, where it was only to gather evidence."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found out about judgements of a round after it: they themselves, and the runs that told."""

    round: int
    judgements: tuple[Judgement, ...]
    runs: tuple[Run, ...] = ()


class Orders:
    """Carries out orders, one at a time; opens builders when they are first needed. Use under `async
    with`.
    """

    def __init__(
        self, settings: Settings, store: Store, blobs: Blobs, files: Files, open_builders: OpenBuilders
    ) -> None:
        self._settings = self._next_settings = settings
        self._store, self._blobs, self._files = store, blobs, files
        self._open_builders = open_builders
        self._builders: Builders | None = None
        self._open = AsyncExitStack()
        self._opening, self._preparing = asyncio.Lock(), asyncio.Lock()
        self._recorded = 0
        self._under_way: asyncio.Task[Finished] | None = None
        self._abandoned = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def carry_out(self, order: events.Work, cohort: Sequence[TargetSpec]) -> Finished:
        """The order's outcome; a PcvError becomes a problem to show, and leaves the order's targets as
        stale as they were.
        """
        began = time.monotonic()
        self._under_way = asyncio.create_task(self._explained(order, cohort))
        try:
            finished = await self._under_way
        except asyncio.CancelledError:
            if not self._abandoned:
                raise
            self._abandoned = False
            log.info("abandoned", order=type(order).__name__)
            finished = Finished((events.Ended(failed=True),), {})
        soaking = isinstance(order, events.Validate) and order.soak is not None
        return replace(finished, soaked_s=time.monotonic() - began) if soaking else finished

    def abandon(self) -> None:
        """Give up the order under way; its outcome is that it failed."""
        if self._under_way is not None:
            self._abandoned = self._under_way.cancel()

    async def _explained(self, order: events.Work, cohort: Sequence[TargetSpec]) -> Finished:
        try:
            match order:
                case events.Discover():
                    return await self._discover(order)
                case events.Validate():
                    return await self._validate(order, cohort)
                case events.Investigate():
                    return await self._investigate(order, cohort)
        except PcvError as error:
            log.warning("order failed", order=type(order).__name__, error=str(error))
            about = "store" if isinstance(error, StoreError) else "workers"
            problem = Problem.of(error)
            return Finished((events.Ended(failed=True),), {about: (problem,)})
        except OSError as error:
            log.warning("order failed", order=type(order).__name__, error=str(error))
            return Finished((events.Ended(failed=True),), {"workers": (Problem(str(error)),)})
        except Exception as error:
            # A fault of pcv's own must not take the daemon down with it, nor pass for a verdict.
            log.exception("order failed", order=type(order).__name__)
            problem = Problem(
                f"a fault inside pcv: {type(error).__name__}: {error}",
                hint="please report it with pcvctl logs",
            )
            return Finished((events.Ended(failed=True),), {"workers": (problem,)})

    async def rest(self) -> None:
        """Give back waiting workers, and bytes that nothing refers to any more."""
        async with self._opening:
            if self._builders is not None:
                await self._builders.rest()
        await self.tidy()

    async def tidy(self) -> None:
        """Remove what only old rounds refer to, and bytes that none does."""
        try:
            await self._store.prune(_KEEP_ROUNDS)
            referenced = await self._store.referenced(_KEEP_ROUNDS)
            removed = await asyncio.to_thread(self._blobs.sweep, referenced, _UNCLAIMED_S)
        except (PcvError, OSError) as error:
            log.warning("not tidied", error=str(error))
        else:
            log.info("tidied", removed_blobs=removed)

    async def prepare(self) -> None:
        """Have workers waiting for what comes next. One at a time, and not while builders are exchanged."""
        if self._preparing.locked():
            return
        try:
            builders = await self._ready()
            async with self._preparing:
                await builders.prepare()
        except (PcvError, OSError) as error:
            log.warning("no workers could be prepared", error=str(error))

    def reconfigure(self, settings: Settings) -> None:
        """Work under other settings from the next order on."""
        self._next_settings = settings

    async def _ready(self) -> Builders:
        async with self._opening:
            if any(getattr(self._next_settings, name) != getattr(self._settings, name) for name in _BUILDERS):
                async with self._preparing:
                    await self._open.aclose()
                self._builders = None
            self._settings = self._next_settings
            if self._builders is None:
                self._builders = await self._open.enter_async_context(self._open_builders(self._settings))
            return self._builders

    async def _discover(self, order: events.Discover) -> Finished:
        builders = await self._ready()
        found = await builders.discover(order.files)
        log.info("discovered", files=list(order.files), targets=[target.entry for target in found.targets])
        problems = {file: (found.problems[file],) if file in found.problems else () for file in order.files}
        declared = []
        for file in order.files:
            targets = tuple(target for target in found.targets if target.path == file)
            reads = {read.name for read in found.reads.get(file, ()) if read.kind in {"file", "absent"}}
            reads.add(f"{self._settings.root.rstrip('/')}/{file}")
            declared.append(events.Declared(targets, file, frozenset(reads), broken=file in found.problems))
        return Finished((*declared, events.Ended()), {**problems, "workers": ()})

    async def _validate(self, order: events.Validate, cohort: Sequence[TargetSpec]) -> Finished:
        builders = await self._ready()
        rounds = Rounds(builders, self._settings, self._files, self._blobs, utc_now, soak=order.soak)
        outcome = await rounds.hold(cohort, order.why, await premises(self._settings))
        owed = dict(order.owed)
        judgements = tuple(settle(one, owed.get(one.target, ())) for one in outcome.record.judgements)
        record = replace(outcome.record, judgements=judgements)
        if order.soak is not None:
            record, counted = await self._soaked(record)
            return replace(await self._conclude(record), explanations=counted)
        return await self._conclude(await self._succeed(record), outcome)

    async def _conclude(self, record: RoundRecord, outcome: Outcome | None = None) -> Finished:
        """Record a round, where it judged anything, and tell of it."""
        number = None
        if record.judgements:
            number = await self._store.record(record)
            self._recorded += 1
            if self._recorded % _TIDY_EVERY == 0:
                await self.tidy()
        changed = outcome.changed if outcome is not None else ()
        for judgement in (*record.judgements, *changed):
            log.info("judged", target=judgement.target, verdict=judgement.verdict, reason=judgement.reason)
        reads = {
            entry: {read.name: read.digest for read in booked if read.kind == "file"}
            for entry, booked in record.reads.items()
        }
        judged = tuple(
            events.Judged(one.target, one.verdict, reads.get(one.target), puzzling(one))
            for one in record.judgements
        )
        again = outcome.again if outcome is not None else ()
        ended = events.Ended(judged, again, tuple(one.target for one in changed), round=number)
        return Finished((ended,), {"workers": (), "store": ()}, record, changed)

    async def _succeed(self, record: RoundRecord) -> RoundRecord:
        """`record`, with what earlier rounds over the same sources have found out already."""
        judgements = []
        for judgement in record.judgements:
            last = await self._store.verdicts(judgement.target, 1)
            earlier = last[0].judgement if last else None
            known = inherit(judgement, earlier) if earlier else judgement
            judgements.append(accumulate(known, earlier))
        return replace(record, judgements=tuple(judgements))

    async def _soaked(self, record: RoundRecord) -> tuple[RoundRecord, tuple[Explanation, ...]]:
        """What of a soak's round is worse than what stands, to be recorded; the rest only counts."""
        worse, counted = [], []
        for found in record.judgements:
            (last,) = await self._store.verdicts(found.target, 1)
            stands = soaked(last.judgement, found)
            if stands is None:
                continue
            if stands.verdict == last.judgement.verdict:
                counted.append(Explanation(last.round, (stands,)))
            else:
                worse.append(stands)
        return replace(record, judgements=tuple(worse), reads={}), tuple(counted)

    async def _investigate(self, order: events.Investigate, cohort: Sequence[TargetSpec]) -> Finished:
        """What the differences come from that a round found, or what variations change in its targets;
        nothing, where a later round has judged since.
        """
        latest = [one for entry in order.entries for one in await self._store.verdicts(entry, 1)]
        number = max((one.round for one in latest), default=0) if order.round is None else order.round
        judgements = [one.judgement for one in latest if one.round == number]
        builders = await self._ready()
        runs = [run for run in await self._store.runs(number) if is_schedule(run.schedule)]
        if order.variations and not _stands(runs, cohort):
            runs = [(await builders.carry_out(BuildOrder.of(cohort, SERIAL, 0))).run]
        built = [one for one in judgements if runs and _made(runs[0], one.target)]
        if not built:
            return Finished((events.Ended(),), {})
        investigation = Investigation(builders, self._blobs, self._settings.root, cohort, runs)
        if order.variations:
            found = await investigation.vary([one.target for one in built], named(order.variations))
            told = [varied(one, found.causes[one.target]) for one in built]
        else:
            found = await investigation.explain(built)
            told = [replace(one, cause=found.causes[one.target]) for one in built]
        return Finished((events.Ended(),), {}, explanations=(Explanation(number, tuple(told), found.runs),))

    async def remember(self, explanation: Explanation) -> None:
        """Write down what was found out. Raises StoreError."""
        await self._store.explain(explanation.round, explanation.judgements, explanation.runs)


def _stands(runs: Sequence[Run], cohort: Sequence[TargetSpec]) -> bool:
    """Whether the reference of a round is still recorded, over just this cohort: what it is held against is
    then told of the same builds that the verdict is told of.
    """
    return bool(runs) and set(runs[0].order) == {spec.entry for spec in cohort} and bool(runs[0].builds)


def _made(run: Run, target: str) -> bool:
    return any(build.failure is None for build in run.of(target))


def utc_now() -> str:
    """The time as records carry it: UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
