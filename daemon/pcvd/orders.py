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
from typing import TYPE_CHECKING, Any, Self

import structlog

from pcv_config.settings import Settings
from pcvd.builders.protocol import Builders
from pcvd.builders.protocol import Order as BuildOrder
from pcvd.core import events
from pcvd.core.errors import PcvError, StoreError
from pcvd.core.model import Judgement, Problem, Read, Run, TargetSpec, source_key
from pcvd.core.schedule import SERIAL, is_schedule
from pcvd.core.succession import (
    accumulate,
    confirmed,
    inherit,
    is_partial,
    puzzling,
    settle,
    soaked,
    strengthened,
    varied,
)
from pcvd.core.variation import named
from pcvd.glance import Glance
from pcvd.investigation import Investigation
from pcvd.resolution import resolve
from pcvd.round import Rounds
from pcvd.store import Discovered

if TYPE_CHECKING:
    from pcvd.blobs import Blobs
    from pcvd.builders.protocol import Discovery
    from pcvd.files import Files
    from pcvd.jury import Outcome
    from pcvd.premises import Premises
    from pcvd.store import RoundRecord, Store, VerdictRecord

log = structlog.get_logger()

_KEEP_ROUNDS = 3
"""Of how many rounds per target the artifacts' bytes are kept; verdicts are kept for good."""
_UNCLAIMED_S = 3600.0
"""Bytes that no recorded round names are removed when they are this old: before, another process may be
about to name them.
"""

_TIDY_EVERY = 16
"""Rounds; raw artifacts differ at every build, so a busy day would fill the disk."""

_BUILDERS = (
    "python",
    "preload",
    "platform",
    "env",
    "paths",
    "seed",
    "timeout_s",
    "memory_mb",
    "atol",
    "rtol",
)
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
    confirmed: tuple[Judgement, ...] = ()
    """Judgements that stand over other sources, since the programs are the same."""
    explanations: tuple[Explanation, ...] = ()
    soaked_s: float | None = None
    """How long it took, where it was only to gather evidence."""

    @property
    def read(self) -> set[str]:
        """The names of everything that what was judged or confirmed rests on."""
        found: set[str] = set()
        for event in self.events:
            if isinstance(event, events.Ended):
                found.update(*(one.reads or () for one in event.judged))
                found.update(*(one.reads for one in event.confirmed))
        return found


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
        self,
        settings: Settings,
        store: Store,
        blobs: Blobs,
        files: Files,
        premises: Premises,
        open_builders: OpenBuilders,
    ) -> None:
        self._premises, self._seen = premises, frozenset[Read]()
        self._settings = self._next_settings = settings
        self._store, self._blobs, self._files = store, blobs, files
        self._open_builders = open_builders
        self._builders: Builders | None = None
        self._open = AsyncExitStack()
        self._opening, self._preparing = asyncio.Lock(), asyncio.Lock()
        self._recorded = 0
        self._under_way: dict[int, asyncio.Task[Finished]] = {}
        self._abandoned: set[int] = set()
        self._crowded: set[int] = set()
        """Orders that were carried out beside another one: their times say nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def carry_out(self, order: events.Work, cohort: Sequence[TargetSpec]) -> Finished:
        """The order's outcome; a PcvError becomes a problem to show, and leaves the order's targets as
        stale as they were.
        """
        began, number = time.monotonic(), order.number
        task = self._under_way[number] = asyncio.create_task(self._explained(order, cohort))
        if len(self._under_way) > 1:
            self._crowded.update(self._under_way)
        try:
            finished = await task
        except asyncio.CancelledError:
            if number not in self._abandoned:
                raise
            log.info("abandoned", order=type(order).__name__, number=number)
            finished = Finished((events.Ended(failed=True),), {})
        finally:
            del self._under_way[number]
            self._abandoned.discard(number)
            self._crowded.discard(number)
        soaking = isinstance(order, events.Validate) and order.soak is not None
        return replace(
            finished,
            events=tuple(_numbered(event, number) for event in finished.events),
            soaked_s=time.monotonic() - began if soaking else None,
        )

    def abandon(self, number: int) -> None:
        """Give up an order under way; its outcome is that it failed, unless it has just ended."""
        task = self._under_way.get(number)
        if task is not None and task.cancel():
            self._abandoned.add(number)

    async def cut(self, spec: TargetSpec, policy: str | None) -> dict[str, Any]:
        """How a target is cut into kernels, by the settings' policy unless another one is named.

        Raises PcvError where that can't be told.
        """
        builders = await self._ready()
        usual = self._settings.partition if self._settings.partition != "whole" else "auto"
        return {"target": spec.entry, **await builders.cut(spec, policy or usual)}

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
            seen = frozenset(await self._premises.present(self._next_settings))
            other = any(
                getattr(self._next_settings, name) != getattr(self._settings, name) for name in _BUILDERS
            )
            # Zygotes that were started before have imported what was installed then.
            if other or self._seen != seen:
                async with self._preparing:
                    await self._open.aclose()
                self._builders = None
            self._settings, self._seen = self._next_settings, seen
            if self._builders is None:
                self._builders = await self._open.enter_async_context(self._open_builders(self._settings))
            return self._builders

    async def _discover(self, order: events.Discover) -> Finished:
        builders = await self._ready()
        rests_on = await self._premises.present(self._settings)
        found = await builders.discover(order.files)
        log.info("discovered", files=list(order.files), targets=[target.entry for target in found.targets])
        await self._note(order.files, found, rests_on)
        problems = {file: (found.problems[file],) if file in found.problems else () for file in order.files}
        declared = []
        for file in order.files:
            targets = tuple(target for target in found.targets if target.path == file)
            reads = {read.name for read in found.reads.get(file, ()) if read.kind in {"file", "absent"}}
            reads.add(self._path(file))
            declared.append(events.Declared(targets, file, frozenset(reads), broken=file in found.problems))
        return Finished((*declared, events.Ended()), {**problems, "workers": ()})

    async def _note(self, files: Sequence[str], found: Discovery, rests_on: Sequence[Read]) -> None:
        """Write down what files declare, so that a daemon to come need not ask them again."""
        told = [file for file in files if file not in found.problems]
        resolved, changed = await resolve(self._files, {file: self._path(file) for file in told}, found.reads)
        declared = [
            Discovered(
                file,
                tuple(target for target in found.targets if target.path == file),
                (*resolved[file], *rests_on),
            )
            for file in told
            if file not in changed
        ]
        try:
            await self._store.discovered(files, declared)
        except PcvError as error:
            log.warning("discoveries not written down", error=str(error))

    def _path(self, file: str) -> str:
        return f"{self._settings.root.rstrip('/')}/{file}"

    async def _validate(self, order: events.Validate, cohort: Sequence[TargetSpec]) -> Finished:
        builders = await self._ready()
        surroundings = (builders, self._settings, self._files, self._blobs, utc_now)
        rests_on = await self._premises.present(self._settings)
        if order.whole:
            if order.aside:
                # Not for this round: the next save is to find workers waiting.
                await self.prepare()
            rounds = Rounds(*surroundings, soak=order.soak, alone=lambda: order.number not in self._crowded)
            outcome = await rounds.hold(cohort, order.why, rests_on)
        else:
            standing = {spec.entry: await self._standing(spec.entry) for spec in cohort}
            known = {entry: one.judgement for entry, one in standing.items() if one is not None}
            outcome = await Glance(*surroundings).hold(cohort, order.why, rests_on, known)
        owed = dict(order.owed)
        settled = [(one, settle(one, owed.get(one.target, ()))) for one in outcome.record.judgements]
        provisional = frozenset(after.target for before, after in settled if after is not before)
        record = replace(outcome.record, judgements=tuple(after for _, after in settled))
        if order.soak is not None:
            record, counted = await self._weighed(record, soaked)
            return replace(await self._conclude(record, whole=True), explanations=counted)
        if order.aside:
            record, counted = await self._weighed(record, strengthened)
            finished = await self._conclude(record, outcome, provisional, whole=order.whole)
            return replace(finished, explanations=counted)
        return await self._conclude(await self._succeed(record), outcome, provisional, whole=order.whole)

    async def _standing(self, entry: str) -> VerdictRecord | None:
        return next(iter(await self._store.verdicts(entry, 1)), None)

    async def _conclude(
        self,
        record: RoundRecord,
        outcome: Outcome | None = None,
        provisional: frozenset[str] = frozenset(),
        *,
        whole: bool,
    ) -> Finished:
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
        judged = tuple(
            events.Judged(
                one.target,
                one.verdict,
                _files_of(record.reads[one.target]) if one.target in record.reads else None,
                puzzling(one),
                # A whole round beside a slow order says nothing of speed, and has judged all the same.
                partial=(not whole and not record.alone)
                or is_partial(one.verdict, one.built, self._settings.schedules),
                provisional=one.target in provisional,
            )
            for one in record.judgements
        )
        kept = await self._confirm(outcome) if outcome is not None else {}
        ended = events.Ended(
            judged,
            outcome.again if outcome is not None else (),
            (*(one.target for one in changed), *(outcome.moved if outcome is not None else ())),
            round=number,
            confirmed=tuple(events.Confirmed(entry, _files_of(reads)) for entry, (_, reads) in kept.items()),
        )
        standing = tuple(judgement for judgement, _ in kept.values())
        return Finished((ended,), {"workers": (), "store": ()}, record, changed, standing)

    async def _confirm(self, outcome: Outcome) -> dict[str, tuple[Judgement, tuple[Read, ...]]]:
        """Write down that verdicts stand over other sources."""
        kept = {}
        for entry, reads in outcome.confirmed.items():
            standing = await self._standing(entry)
            if standing is not None:
                kept[entry] = confirmed(standing.judgement, source_key(reads)), reads
                log.info("confirmed", target=entry, verdict=standing.judgement.verdict)
        if kept:
            await self._store.confirm(kept, utc_now())
        return kept

    async def _succeed(self, record: RoundRecord) -> RoundRecord:
        """`record`, with what earlier rounds over the same sources have found out already."""
        judgements = []
        for judgement in record.judgements:
            last = await self._store.verdicts(judgement.target, 1)
            earlier = last[0].judgement if last else None
            known = inherit(judgement, earlier) if earlier else judgement
            judgements.append(accumulate(known, earlier))
        return replace(record, judgements=tuple(judgements))

    async def _weighed(
        self, record: RoundRecord, weigh: Callable[[Judgement, Judgement], Judgement | None]
    ) -> tuple[RoundRecord, tuple[Explanation, ...]]:
        """What of a round that nobody asked for is to be recorded, by what `weigh` makes of the verdict that
        stands and the one that was found; the rest only counts.
        """
        recorded, counted = [], []
        for found in record.judgements:
            last = await self._standing(found.target)
            stands = weigh(last.judgement, found) if last is not None else found
            if stands is None:
                continue
            if last is not None and stands.stages is last.judgement.stages:  # it is the one that stood
                counted.append(Explanation(last.round, (stands,)))
            else:
                recorded.append(stands)
        # Of the others the reads stay as well: what was read now may be newer than their verdict.
        reads = {one.target: record.reads[one.target] for one in recorded if one.target in record.reads}
        return replace(record, judgements=tuple(recorded), reads=reads), tuple(counted)

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


def _numbered(event: events.Event, number: int) -> events.Event:
    return replace(event, order=number) if isinstance(event, events.Declared | events.Ended) else event


def _files_of(reads: Sequence[Read]) -> dict[str, str | None]:
    return {read.name: read.digest for read in reads if read.kind == "file"}
