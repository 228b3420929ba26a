"""Carrying out the plan's orders: a discovery or a round, with whatever may go wrong on the way turned
into something to show.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import structlog

from pcv_config.settings import Settings
from pcvd.builders.protocol import Builders
from pcvd.core import events
from pcvd.core.compare import AGREE, EQUIVALENT, INCONCLUSIVE
from pcvd.core.errors import PcvError, StoreError
from pcvd.core.model import Judgement, Problem, TargetSpec
from pcvd.premises import premises
from pcvd.round import Rounds

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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def carry_out(self, order: events.Order, cohort: Sequence[TargetSpec]) -> Finished:
        """The order's outcome; a PcvError becomes a problem to show, and leaves the order's targets as
        stale as they were.
        """
        try:
            if isinstance(order, events.Discover):
                return await self._discover(order)
            return await self._validate(order, cohort)
        except PcvError as error:
            log.warning("order failed", order=type(order).__name__, error=str(error))
            about = "store" if isinstance(error, StoreError) else "workers"
            problem = Problem(error.message, error.file, error.line, error.hint)
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
        rounds = Rounds(builders, self._settings, self._files, self._blobs, utc_now)
        outcome = await rounds.hold(cohort, order.why, await premises(self._settings))
        record = settle(outcome.record, dict(order.owed))
        if record.judgements:
            await self._store.record(record)
            self._recorded += 1
            if self._recorded % _TIDY_EVERY == 0:
                await self.tidy()
        for judgement in (*record.judgements, *outcome.changed):
            log.info("judged", target=judgement.target, verdict=judgement.verdict, reason=judgement.reason)
        reads = {
            entry: {read.name: read.digest for read in booked if read.kind == "file"}
            for entry, booked in record.reads.items()
        }
        judged = tuple(
            events.Judged(one.target, one.verdict, reads.get(one.target, {})) for one in record.judgements
        )
        ended = events.Ended(judged, outcome.again, tuple(one.target for one in outcome.changed))
        return Finished((ended,), {"workers": (), "store": ()}, record, outcome.changed)


def settle(record: RoundRecord, owed: Mapping[str, Sequence[str]]) -> RoundRecord:
    """`record`, with agreement that clears nothing turned into what it is.

    A smaller cohort cannot clear what a larger one found: `owed` names the neighbours that a target differed
    beside, and that were not built with it.
    """

    def settled(judgement: Judgement) -> Judgement:
        missing = owed.get(judgement.target)
        if not missing or judgement.verdict not in {AGREE, EQUIVALENT}:
            return judgement
        beside = ", ".join(missing)
        reason = f"it agrees, but it differed beside {beside}, which could not be built with it"
        return replace(judgement, verdict=INCONCLUSIVE, reason=reason)

    return replace(record, judgements=tuple(settled(one) for one in record.judgements))


def utc_now() -> str:
    """The time as records carry it: UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
