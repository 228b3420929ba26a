"""The loop: something happened → plan → build → record → compare → publish.

One task owns all state and takes events from one queue, so nothing here needs a lock. Orders are carried out
beside it, one at a time, and come back as events.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import structlog

from pcv_config import settings as pcv_settings
from pcv_config.settings import Settings, SettingsError
from pcvd.board import Board
from pcvd.core import events
from pcvd.core.errors import SetupError, UsageError
from pcvd.core.model import Problem, Read, TargetSpec
from pcvd.core.plan import Plan
from pcvd.files import Files
from pcvd.orders import Finished, OpenBuilders, Orders
from pcvd.premises import premises
from pcvd.watch import Watch, may_declare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from pcvd.blobs import Blobs
    from pcvd.store import Standing, Store

log = structlog.get_logger()

_REST_AFTER_S = 600.0
"""After this long without work, waiting workers and zygotes are given back."""

_FIELDS = frozenset(field.name for field in fields(Settings))
_ASIDE = frozenset({"source", "watch", "ignore", "settle_ms", "targets", "timeout_s", "memory_mb"})
"""Settings that say which targets there are and how long they may take, not how they are built."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Something happened to these paths; what, is still to be found out."""

    paths: frozenset[str]


class Service:
    """The daemon's heart: owns the plan and the board; everything else is handed to it."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        blobs: Blobs,
        open_builders: OpenBuilders,
        publish: Callable[[dict[str, Any]], None],
    ) -> None:
        self._settings, self._store, self._publish = settings, store, publish
        self._files = Files()
        self._plan = Plan()
        self._board = Board(settings.root)
        self._orders = Orders(settings, store, blobs, self._files, open_builders)
        self._watch = _watch_of(settings)
        self._events: asyncio.Queue[events.Event | Changed | Finished] = asyncio.Queue()
        self._news = asyncio.Condition()
        self._version = self._posted = self._handled = 0
        self._ready = False
        self._declared: tuple[TargetSpec, ...] = ()

    # -- what others may ask -----------------------------------------------------------------------

    def status(self, entries: Sequence[str] = ()) -> dict[str, Any]:
        """The status document, of `entries` or of all targets. Raises UsageError for unknown entries."""
        self._check(entries)
        return self._board.document(self._plan, ready=self._ready, entries=entries)

    async def recheck(self, entries: Sequence[str] | None) -> tuple[str, ...]:
        """Have targets (None: all) built again, fresh or not; the targets concerned. Raises UsageError for
        unknown ones.
        """
        await self._until(lambda: not self._plan.discovering)
        self._check(entries or ())
        wanted = tuple(entries) if entries is not None else tuple(spec.entry for spec in self._plan.targets)
        posted = self._post(events.Asked(wanted))
        await self._until(lambda: self._handled >= posted)  # before the plan knows, waiting would end at once
        return wanted

    async def settled(self, entries: Sequence[str] | None = None) -> None:
        """Return once nothing is pending for `entries` (None: for any target)."""
        await self._until(
            lambda: (
                self._handled == self._posted
                and (self._plan.idle if entries is None else not self._plan.waits(entries))
            )
        )

    async def news(self) -> AsyncIterator[dict[str, Any]]:
        """The status document now and after every change of it."""
        while True:
            seen = self._version
            yield self.status()
            await self._after(seen)

    async def _after(self, version: int) -> None:
        await self._until(lambda: self._version != version)

    def _post(self, event: events.Event | Changed | Finished) -> int:
        self._events.put_nowait(event)
        self._posted += 1
        return self._posted

    def _check(self, entries: Sequence[str]) -> None:
        for entry in entries:
            if not self._plan.exists(entry):
                raise UsageError(f'there is no target "{entry}"', hint="pcvctl status lists them")

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self._ready and holds())

    # -- the loop ----------------------------------------------------------------------------------

    async def run(self, *, watching: bool) -> None:
        """Recover what is remembered, then take events until cancelled. Raises StoreError where the store
        can't be read.
        """
        async with self._orders, asyncio.TaskGroup() as group:
            watcher = group.create_task(self._listen()) if watching else None
            for event in await self._recover():
                self._handle(event, group)
            self._ready = True
            while True:
                await self._tell()
                taken = await self._next_event(group, watching=watching)
                if (
                    isinstance(taken, Changed)
                    and self._settings_in(taken)
                    and await self._reload()
                    and watcher is not None
                ):
                    watcher.cancel()
                    watcher = group.create_task(self._listen())
                for event in await self._understand(taken):
                    self._handle(event, group)
                self._handled += 1

    def _handle(self, event: events.Event, group: asyncio.TaskGroup) -> None:
        for order in self._plan.handle(event):
            cohort: list[TargetSpec] = []
            match order:
                case events.Discover(files):
                    log.info("discovering", files=files)
                case events.Validate(entries, why):
                    cohort = [self._plan.spec(entry) for entry in entries]
                    log.info("validating", targets=entries, why=why)
            group.create_task(self._carry_out(order, cohort))

    async def _carry_out(self, order: events.Order, cohort: Sequence[TargetSpec]) -> None:
        self._post(await self._orders.carry_out(order, cohort))

    async def _next_event(
        self, group: asyncio.TaskGroup, *, watching: bool
    ) -> events.Event | Changed | Finished:
        """The next event. While a watching service has none, it first has workers waiting, and after a
        long while gives them back.
        """
        if watching and self._plan.idle and self._handled == self._posted:
            group.create_task(self._orders.prepare())
            try:
                async with asyncio.timeout(_REST_AFTER_S):
                    return await self._events.get()
            except TimeoutError:
                await self._orders.rest()
        return await self._events.get()

    async def _listen(self) -> None:
        try:
            async for paths in self._watch.changes():
                self._post(Changed(frozenset(paths)))
        except SetupError as error:
            log.warning("not watching", error=str(error))
            self._board.problem("watch", Problem(error.message, hint=error.hint))
            await self._tell()

    async def _tell(self) -> None:
        """Publish the status, and wake whoever waits for a change of it."""
        if not self._plan.discovering and self._plan.targets != self._declared and self._ready:
            self._declared = self._plan.targets
            await self._store.declare(self._declared)
        self._version += 1
        self._publish(self.status())
        async with self._news:
            self._news.notify_all()

    # -- from what happened to what it means -------------------------------------------------------

    async def _recover(self) -> list[events.Event]:
        """What is remembered, what is declared, and which files may declare more."""
        standings = await self._store.standings()
        self._board.recall(standings)
        try:
            present = await premises(self._settings)
        except SetupError as error:
            self._board.problem("workers", Problem(error.message, hint=error.hint))
            present = ()
        known = await self._known(standings, present)
        log.info("recovered", targets=len(known), fresh=sum(one.fresh for one in known))
        declaring = await asyncio.to_thread(self._watch.declaring)
        return [
            events.Recovered(known),
            events.Saved({}, frozenset(declaring)),
            events.Declared(_specs(self._settings)),
        ]

    async def _known(
        self, standings: Sequence[Standing], present: Sequence[Read]
    ) -> tuple[events.Known, ...]:
        paths = {read.name for standing in standings for read in standing.reads if read.kind == "file"}
        digests = await self._files.digests(paths)
        values = {(read.kind, read.name): read.digest for read in present}
        environment = {**os.environ, **self._settings.env}

        def is_so(read: Read) -> bool:
            if read.kind == "file":
                return digests[read.name] == read.digest
            if read.kind == "env":
                value = environment.get(read.name)
                return read.digest == (None if value is None else _digest_of(value))
            return values.get((read.kind, read.name)) == read.digest

        return tuple(
            events.Known(
                standing.target.entry,
                standing.judgement.verdict,
                standing.cohort,
                {read.name: read.digest for read in standing.reads if read.kind == "file"},
                bool(present) and all(is_so(read) for read in standing.reads),
            )
            for standing in standings
        )

    async def _understand(self, taken: events.Event | Changed | Finished) -> list[events.Event]:
        match taken:
            case Changed():
                return await self._saved(taken.paths)
            case Finished():
                if taken.outcome is not None:
                    self._board.put(taken.outcome.record, taken.outcome.changed)
                for about, problems in taken.problems.items():
                    self._board.problem(about, *problems)
                return list(taken.events)
            case _:
                return [taken]

    async def _saved(self, paths: frozenset[str]) -> list[events.Event]:
        concerned = {each for path in paths for each in self._plan.concerned(path)}
        changes = await self._files.digests(concerned)
        declaring = await asyncio.to_thread(self._watch.declaring_among, paths)
        gone = set()
        for file in self._plan.sources:
            path = os.path.join(self._settings.root, file)
            if (path in concerned or path in paths) and file not in declaring and not may_declare(path):
                gone.add(file)
                self._board.problem(file)
        if not changes and not declaring and not gone:
            return []
        log.info("saved", files=sorted(concerned | paths)[:20])
        return [events.Saved(changes, declaring, frozenset(gone))]

    def _settings_in(self, changed: Changed) -> bool:
        names = {os.path.join(self._settings.root, name) for name in ("pcv.toml", "pyproject.toml")}
        return not names.isdisjoint(changed.paths)

    async def _reload(self) -> bool:
        """Take over edited settings; whether they are other ones. Wrong ones are shown, and the former
        stay in force.
        """
        try:
            settings = await asyncio.to_thread(pcv_settings.load, self._settings.root)
        except SettingsError as error:
            log.warning("settings", error=str(error))
            self._board.problem("settings", Problem(error.message, error.file, error.line, error.hint))
            return False
        self._board.problem("settings")
        if settings == self._settings:
            return False
        log.info(
            "settings",
            changed=[
                name for name in sorted(_FIELDS) if getattr(settings, name) != getattr(self._settings, name)
            ],
        )
        builds_alike = all(
            getattr(settings, name) == getattr(self._settings, name) for name in _FIELDS - _ASIDE
        )
        self._orders.reconfigure(settings)
        self._settings, self._watch = settings, _watch_of(settings)
        declaring = await asyncio.to_thread(self._watch.declaring)
        self._post(events.Declared(_specs(settings)))
        self._post(events.Saved({}, frozenset(declaring), self._plan.sources - set(declaring)))
        if not builds_alike:
            self._post(events.Outdated("the settings changed"))
        return True


def _watch_of(settings: Settings) -> Watch:
    return Watch(settings.root, settings.watch, settings.ignore, settings.settle_ms)


def _specs(settings: Settings) -> tuple[TargetSpec, ...]:
    return tuple(
        TargetSpec(target.entry, target.args, settings.source, target.line) for target in settings.targets
    )


def _digest_of(value: str) -> str:
    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()
