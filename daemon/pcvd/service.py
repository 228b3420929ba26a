"""The loop: something happened → plan → build → record → compare → publish.

One task owns all state and takes events from one queue, so nothing here needs a lock. Orders are carried out
beside it, one at a time, and come back as events.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import structlog

from pcv_config import settings as pcv_settings
from pcv_config.settings import Settings, SettingsError
from pcvd import recovery
from pcvd.board import Board
from pcvd.builders.zygotes import worker_environment
from pcvd.changes import Changed, Changes, Look
from pcvd.core import events
from pcvd.core.errors import PcvError, SetupError, UsageError
from pcvd.core.model import Problem, TargetSpec
from pcvd.core.plan import Plan
from pcvd.files import Files, Stat
from pcvd.orders import Finished, OpenBuilders, Orders
from pcvd.premises import premises
from pcvd.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from pcvd.blobs import Blobs
    from pcvd.store import Store

log = structlog.get_logger()

_REST_AFTER_S = 600.0
"""After this long without work, waiting workers and zygotes are given back."""
_WATCH_AGAIN_S = 5.0
"""After a failure of the watcher, this long until it is tried again."""
_POLL_S = 1.0
"""How often files are looked at that targets read from outside the watched folders."""

_FIELDS = frozenset(field.name for field in fields(Settings))
_ASIDE = frozenset({"source", "watch", "ignore", "settle_ms", "targets", "timeout_s", "memory_mb"})
"""Settings that say which targets there are and how long they may take, not how they are built."""
_WATCHED = ("watch", "ignore", "settle_ms")
"""Settings of the watcher."""


@dataclass(frozen=True, slots=True)
class Watching:
    """The watcher works, or why it does not."""

    problem: Problem | None


Happening = events.Event | Changed | Look | Watching | Finished


class Service:
    """The daemon's heart: owns the plan and the board; everything else is handed to it."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        blobs: Blobs,
        open_builders: OpenBuilders,
        publish: Callable[[dict[str, Any]], None],
        *,
        eager: bool = True,
    ) -> None:
        """`eager`: build what is new or stale by itself, not only what is asked for."""
        self._settings, self._store, self._publish = settings, store, publish
        self._files = Files()
        self._plan = Plan(eager=eager)
        self._board = Board(settings.root)
        self._orders = Orders(settings, store, blobs, self._files, open_builders)
        self._watch = _watch_of(settings)
        self._events: asyncio.Queue[Happening] = asyncio.Queue()
        self._news = asyncio.Condition()
        self._version = self._posted = self._handled = 0
        self._ready = False
        self._declared: tuple[TargetSpec, ...] = ()
        self._changes = Changes(settings.root, self._files)
        self._settings_stats: dict[str, Stat | None] = {}
        self._prepared_for = -1.0
        self._worked_at = 0.0

    # -- what others may ask -----------------------------------------------------------------------

    def status(self, entries: Sequence[str] = ()) -> dict[str, Any]:
        """The status document, of `entries` or of all targets. Raises UsageError for unknown entries."""
        self._check(entries)
        return self._board.document(self._plan, ready=self._ready, entries=entries)

    async def recheck(self, entries: Sequence[str] | None) -> tuple[str, ...]:
        """Have targets (None: all) built again, fresh or not; the targets concerned. Raises UsageError for
        unknown ones.
        """
        known = entries is not None and all(self._plan.exists(entry) for entry in entries)
        if not known:
            await self._until(lambda: not self._plan.discovering)
            self._check(entries or ())
        wanted = tuple(entries) if entries is not None else tuple(spec.entry for spec in self._plan.targets)
        posted = self._post(events.Asked(wanted))
        await self._until(lambda: self._handled >= posted)  # before the plan knows, waiting would end at once
        return wanted

    async def recovered(self) -> None:
        """Return once what is remembered stands on the board: before, there would seem to be no targets."""
        await self._until(lambda: True)

    async def look(self) -> None:
        """Have every file that was read looked at: a save just before may not have been told yet."""
        posted = self._post(Look())
        await self._until(lambda: self._handled >= posted)

    async def settled(self, entries: Sequence[str] | None = None) -> None:
        """Return once nothing is pending for `entries` (None: for any target)."""
        await self._until(
            lambda: (
                self._handled == self._posted
                and (self._plan.idle if entries is None else not self._plan.waits(entries))
            )
        )

    async def tidy(self) -> None:
        """Remove artifacts that only old rounds refer to."""
        await self._orders.tidy()

    @property
    def surveyed(self) -> bool:
        """Whether it is known which targets there are."""
        return self._ready and self._plan.surveyed

    def exists(self, entry: str) -> bool:
        """Whether a target of that name is declared."""
        return self._plan.exists(entry)

    async def news(self) -> AsyncIterator[dict[str, Any]]:
        """The status document now and after every change of it."""
        while True:
            seen = self._version
            yield self.status()
            await self._after(seen)

    async def _after(self, version: int) -> None:
        await self._until(lambda: self._version != version)

    def _post(self, event: Happening) -> int:
        self._events.put_nowait(event)
        self._posted += 1
        return self._posted

    def _check(self, entries: Sequence[str]) -> None:
        for entry in entries:
            if not self._plan.exists(entry) and entry not in {spec.entry for spec in self._plan.remembered}:
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
            if watching:
                group.create_task(self._poll())
            for event in await self._recover():
                self._handle(event, group)
            self._ready = True
            while True:
                await self._tell()
                taken = await self._next_event(group, watching=watching)
                if isinstance(taken, Changed | Look) and await self._reload(taken) and watcher is not None:
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
                case events.Validate(entries, why, _):
                    cohort = [self._plan.spec(entry) for entry in entries]
                    log.info("validating", targets=entries, why=why)
            group.create_task(self._carry_out(order, cohort))

    async def _carry_out(self, order: events.Order, cohort: Sequence[TargetSpec]) -> None:
        self._post(await self._orders.carry_out(order, cohort))

    async def _next_event(self, group: asyncio.TaskGroup, *, watching: bool) -> Happening:
        """The next event. While a watching service has none, it first has workers waiting, and after a
        long while without work gives them back.
        """
        if not watching or not self._plan.idle or self._handled != self._posted:
            return await self._events.get()
        if self._prepared_for != self._worked_at:
            self._prepared_for = self._worked_at
            group.create_task(self._orders.prepare())
        try:
            async with asyncio.timeout_at(self._rest_at()):
                return await self._events.get()
        except TimeoutError:
            log.info("resting", after_s=_REST_AFTER_S)
            await self._orders.rest()
            self._worked_at = self._prepared_for = float("inf")
        return await self._events.get()

    def _rest_at(self) -> float | None:
        # What nobody builds for (a log file that grows) must not keep workers waiting for ever.
        return None if self._worked_at == float("inf") else self._worked_at + _REST_AFTER_S

    async def _listen(self) -> None:
        while True:
            try:
                self._post(Watching(None))
                async for paths in self._watch.changes():
                    self._post(Changed(frozenset(paths)))
            except SetupError as error:
                log.warning("not watching", error=str(error))
                self._post(Watching(Problem(error.message, hint=error.hint)))
            await asyncio.sleep(_WATCH_AGAIN_S)

    async def _poll(self) -> None:
        """Look at files that were read and that the watcher does not see."""
        known: dict[str, object] = {}
        while True:
            await asyncio.sleep(_POLL_S)
            paths = [path for path in self._plan.paths if not self._watch.covers(path)]
            stats = await self._files.stats(paths) if paths else {}
            changed = {path for path, stat in stats.items() if known.get(path, stat) != stat}
            known = dict(stats)
            if changed:
                self._post(Changed(frozenset(changed)))

    async def _tell(self) -> None:
        """Publish the status, and wake whoever waits for a change of it."""
        if self.surveyed and not self._plan.discovering and self._plan.targets != self._declared:
            self._declared = self._plan.targets
            try:
                await self._store.declare(self._declared)
            except PcvError as error:
                self._board.problem("store", Problem(error.message, error.file, error.line, error.hint))
        self._version += 1
        try:
            self._publish(self.status())
        except OSError as error:
            log.warning("status not written", error=str(error))
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
        environment = worker_environment(self._settings.env, self._settings.platform)
        known = await recovery.known(standings, present, environment, self._files)
        log.info("recovered", targets=len(known), fresh=sum(one.fresh for one in known))
        for one in known:
            self._changes.know(one.reads)
        declaring = await asyncio.to_thread(self._watch.declaring)
        return [events.Recovered(known, frozenset(declaring)), events.Declared(_specs(self._settings))]

    async def _understand(self, taken: Happening) -> list[events.Event]:
        match taken:
            case Changed(paths):
                return await self._saved(paths)
            case Look():
                return await self._changes.looked(self._plan)
            case Watching(problem):
                self._board.problem("watch", *([problem] if problem else []))
                return await self._changes.looked(self._plan)
            case Finished():
                self._worked_at = asyncio.get_running_loop().time()
                if taken.record is not None:
                    self._board.put(taken.record, taken.changed)
                    for reads in taken.record.reads.values():
                        self._changes.know({read.name: read.digest for read in reads if read.kind == "file"})
                for about, problems in taken.problems.items():
                    self._board.problem(about, *problems)
                return list(taken.events)
            case _:
                return [taken]

    async def _saved(self, paths: frozenset[str]) -> list[events.Event]:
        saved = await self._changes.saved(paths, self._plan, self._watch)
        if saved is None:
            return []
        for file in saved.gone:
            self._board.problem(file)
        log.info("saved", files=sorted({*saved.changes, *saved.declaring, *saved.gone}))
        return [saved]

    async def _reload(self, happened: Changed | Look) -> bool:
        """Take over edited settings; whether the watcher must be another one. Wrong settings are shown, and
        the former stay in force.
        """
        names = [os.path.join(self._settings.root, name) for name in ("pcv.toml", "pyproject.toml")]
        if isinstance(happened, Changed) and happened.paths.isdisjoint(names):
            return False
        before, self._settings_stats = self._settings_stats, await self._files.stats(names)
        if isinstance(happened, Look) and before == self._settings_stats:
            return False
        try:
            settings = await asyncio.to_thread(pcv_settings.load, self._settings.root)
        except SettingsError as error:
            log.warning("settings", error=str(error))
            self._board.problem("settings", Problem(error.message, error.file, error.line, error.hint))
            return False
        self._board.problem("settings")
        if settings == self._settings:
            return False
        changed = {name for name in _FIELDS if getattr(settings, name) != getattr(self._settings, name)}
        log.info("settings", changed=sorted(changed))
        self._orders.reconfigure(settings)
        self._settings, self._watch = settings, _watch_of(settings)
        declaring = await asyncio.to_thread(self._watch.declaring)
        self._post(events.Declared(_specs(settings)))
        self._post(events.Saved({}, frozenset(declaring), self._plan.sources - set(declaring)))
        if changed - _ASIDE:
            self._post(events.Outdated("the settings changed"))
        return not changed.isdisjoint(_WATCHED)


def _watch_of(settings: Settings) -> Watch:
    return Watch(settings.root, settings.watch, settings.ignore, settings.settle_ms)


def _specs(settings: Settings) -> tuple[TargetSpec, ...]:
    return tuple(
        TargetSpec(target.entry, target.args, settings.source, target.line) for target in settings.targets
    )
