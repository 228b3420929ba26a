"""The loop: something happened → plan → build → record → compare → publish.

One task owns all state and takes events from one queue, so nothing here needs a lock. Orders are carried out
beside it, and come back as events.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from pcv_config import places
from pcvd import seen
from pcvd.barrier import Barrier
from pcvd.board import Board
from pcvd.bulletin import Bulletin
from pcvd.changes import Changed, Changes, Look
from pcvd.clock import utc_now
from pcvd.core import events, looks
from pcvd.core.errors import PcvError, SetupError
from pcvd.core.model import Problem, Read
from pcvd.core.plan import Plan
from pcvd.desk import MOST_LISTED, Desk
from pcvd.files import Files
from pcvd.finished import Explanation, Finished
from pcvd.leisure import Errand, Leisure, machine_is_idle
from pcvd.lookout import Lookout, Watching
from pcvd.means import Supply
from pcvd.orders import Orders
from pcvd.premises import Premises
from pcvd.pulse import Pulse
from pcvd.recall import Recall
from pcvd.reload import LiveSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pcv_config.settings import Settings
    from pcvd.blobs import Blobs
    from pcvd.core.model import TargetSpec
    from pcvd.means import OpenBuilders
    from pcvd.status import Status
    from pcvd.store import Store

log = structlog.get_logger()

_LONG_S = 10.0
"""An order that is under way for longer than this does not keep others from being carried out."""


Happening = events.Event | Changed | Look | Watching | Finished


class Service:
    """The daemon's heart: owns the plan and the board; everything else is handed to it."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        blobs: Blobs,
        open_builders: OpenBuilders,
        publish: Callable[[Status, Status], None],
        *,
        eager: bool = True,
    ) -> None:
        """`eager`: build what is new or stale by itself, not only what is asked for."""
        self._store = store
        self._files = Files()
        self._settings = LiveSettings(settings, self._files)
        self._plan = Plan(eager=eager, root=settings.root)
        self._board = Board(settings.root)
        self._premises = Premises()
        self._orders = Orders(
            Supply(settings, store, blobs, self._files, self._premises, open_builders), store, blobs
        )
        self._pulse: Pulse[Happening] = Pulse()
        self._post = self._pulse.post
        self._changes = Changes(settings.root, self._files)
        self._lookout = Lookout(
            self._settings, self._plan, self._changes, self._files, self._premises, self._post, store.require
        )
        self._seen = places.state(settings.root, "files.json")
        self._barrier = Barrier(places.state(settings.root, "cookies"))
        self.desk = Desk(
            self._plan, self._board, store, self._pulse, self._changes, self._barrier,
            self._orders.cut,
        )  # fmt: skip
        self._bulletin = Bulletin(
            lambda: (self.desk.status(), self.desk.brief(MOST_LISTED)), publish, few=MOST_LISTED
        )
        self._declared = 0
        self._held_against: tuple[Read, ...] = ()
        """What all builds rested on when what is remembered was held against it."""
        self._leisure = Leisure(time.monotonic(), soak=settings.soak)

    # -- the loop ----------------------------------------------------------------------------------

    async def run(self, *, watching: bool) -> None:
        """Recover what is remembered, then take events until cancelled. Raises StoreError where the store
        can't be read, StoreGone where it is removed meanwhile.
        """
        try:
            await self._work(watching=watching)
        finally:
            await self._pulse.end()
            self._barrier.end()
            if watching and self.desk.surveyed and self._store.stands:
                seen.save(self._seen, self._files.known)

    async def tidy(self) -> None:
        """Remove artifacts that only old rounds refer to."""
        await self._orders.tidy()

    async def _work(self, *, watching: bool) -> None:
        async with self._orders, asyncio.TaskGroup() as group:
            self._barrier.prepare()
            group.create_task(self._bulletin.run())
            watcher = group.create_task(self._lookout.listen()) if watching else None
            if watching:
                self._files.recall(await asyncio.to_thread(seen.load, self._seen))
                group.create_task(self._look_out())
            self._handle(await self._recover(), group)
            self._pulse.ready = True
            while True:
                await self._tell()
                taken = await self._next_event(group, watching=watching)
                if isinstance(taken, Changed | Look) and await self._reload(taken) and watcher is not None:
                    watcher.cancel()
                    watcher = group.create_task(self._lookout.listen())
                for event in await self._understand(taken):
                    self._handle(event, group)
                if watching and isinstance(taken, Finished):
                    group.create_task(self._changes.learn(taken.read))
                if isinstance(taken, Finished) and taken.afterwards is not None:
                    group.create_task(self._write_down(taken.afterwards))
                self._pulse.done()
                if isinstance(taken, Changed):
                    self._barrier.told(taken.paths)

    async def _look_out(self) -> None:
        """Look where the watcher does not, once it is known how things stand: of ten thousand files that
        takes a while.
        """
        await self._pulse.until(lambda: self._pulse.quiet)
        await self._changes.learn()
        await self._lookout.poll(self._held_against)

    async def _write_down(self, work: Callable[[], Awaitable[None]]) -> None:
        """What nobody waits for."""
        try:
            await work()
        except PcvError as error:
            self._board.problem("store", Problem.of(error))

    def _handle(self, event: events.Event, group: asyncio.TaskGroup) -> None:
        for file in event.gone if isinstance(event, events.Saved) else ():
            self._board.problem(file)
        for order in self._plan.handle(event):
            cohort: list[TargetSpec] = []
            match order:
                case events.Abandon(number):
                    self._orders.abandon(number)
                    continue
                case events.Discover(files):
                    log.info("discovering", files=files, order=order.number, by=order.by)
                case events.Validate(entries, why, _):
                    cohort = [self._plan.spec(entry) for entry in entries]
                    log.info(
                        "validating",
                        targets=entries,
                        why=why,
                        whole=order.whole,
                        order=order.number,
                        by=order.by,
                    )
                case events.Retrace(entries):
                    cohort = [self._plan.spec(entry) for entry in entries]
                    log.info("retracing", targets=entries, order=order.number, by=order.by)
                case events.Investigate(entries, targets):
                    cohort = [self._plan.spec(entry) for entry in entries]
                    log.info("investigating", targets=targets, order=order.number, by=order.by)
            group.create_task(self._carry_out(order, cohort))

    async def _carry_out(self, order: events.Work, cohort: Sequence[TargetSpec]) -> None:
        dragging = asyncio.get_running_loop().call_later(_LONG_S, self._post, events.Dragging(order.number))
        try:
            self._post(await self._orders.carry_out(order, cohort))
        finally:
            dragging.cancel()

    async def _next_event(self, group: asyncio.TaskGroup, *, watching: bool) -> Happening:
        """The next event. While a watching service has none, it runs errands."""
        while watching and self._plan.idle and self._pulse.quiet:
            at, errand = self._leisure.next()
            try:
                async with asyncio.timeout_at(at):
                    return await self._pulse.next()
            except TimeoutError:
                self._leisure.done(errand)
                await self._run_errand(errand, group)
        return await self._pulse.next()

    async def _run_errand(self, errand: Errand, group: asyncio.TaskGroup) -> None:
        match errand:
            case Errand.PREPARE:
                group.create_task(self._orders.prepare())
            case Errand.REST:
                log.info("resting")
                await self._orders.rest()
            case Errand.SOAK if machine_is_idle():
                self._post(events.Bored())
            case Errand.SOAK:
                self._leisure.postpone(asyncio.get_running_loop().time())

    async def _tell(self) -> None:
        """Publish the status, and wake whoever waits for a change of it."""
        surveyed = self.desk.surveyed and not self._plan.discovering
        if surveyed and self._plan.targets_version != self._declared:
            self._declared = self._plan.targets_version
            try:
                await self._store.declare(self._plan.targets)
            except PcvError as error:
                self._board.problem("store", Problem.of(error))
        self._bulletin.change(self._plan.size, idle=self._plan.idle, awaited=self._plan.waits())
        await self._pulse.tell()

    # -- from what happened to what it means -------------------------------------------------------

    async def _recover(self) -> events.Event:
        """What is remembered, what is declared, and which files may declare more."""
        recall = Recall(self._store, self._files, self._board, self._changes)
        return await recall.recall(
            self._settings.current, self._settings.targets, self._settings.watch, self._present()
        )

    async def _present(self) -> tuple[Read, ...]:
        """What all builds rest on now; nothing where that can't be found out, which is told."""
        try:
            self._held_against = await self._premises.present(self._settings.current)
        except SetupError as error:
            self._board.problem("workers", Problem(error.message, hint=error.hint))
        return self._held_against

    async def _understand(self, taken: Happening) -> list[events.Event]:
        match taken:
            case Changed(paths):
                return await self._saved(self._barrier.others(paths))
            case Look(covered):
                unseen = await self._changes.unseen(self._plan, self._settings.watch) if covered else None
                return await self._changes.looked(self._plan, unseen)
            case Watching(problem):
                self._board.problem("watch", *([problem] if problem else []))
                if problem is not None:
                    return await self._changes.looked(self._plan)
                return await self._changes.caught_up(self._plan, self._settings.watch)
            case Finished():
                self._note_leisure(taken)
                await self._amend(taken.explanations)
                if taken.record is not None:
                    self._board.put(taken.record, taken.changed)
                    for reads in taken.record.reads.values():
                        self._changes.know({read.name: read.digest for read in reads if read.kind == "file"})
                self._board.confirm(taken.confirmed, utc_now())
                asked = {one.source for one in taken.events if isinstance(one, events.Declared)}
                gone = asked - self._plan.sources if asked else asked
                for about, problems in taken.problems.items():
                    if about not in gone:
                        self._board.problem(about, *problems)
                return list(taken.events)
            case _:
                return [taken]

    def _note_leisure(self, finished: Finished) -> None:
        now = asyncio.get_running_loop().time()
        if finished.soaked_s is None:
            self._leisure.worked(now)
        else:
            self._leisure.soaked(now, finished.soaked_s)

    async def _amend(self, explanations: Sequence[Explanation]) -> None:
        """Take over what was found out about verdicts, unless what they are about has changed meanwhile."""
        changed = await self._changes.looked(self._plan) if explanations else []
        for event in changed:
            self._post(event)
        for explanation in () if changed else explanations:
            known = [one for one in explanation.judgements if self._plan.exists(one.target)]
            fresh = tuple(one for one in known if self._plan.fresh(one.target))
            if not fresh:
                continue
            try:
                fresh = await self._orders.remember(replace(explanation, judgements=fresh))
            except PcvError as error:
                self._board.problem("store", Problem.of(error))
            for judgement in fresh:
                self._board.amend(judgement)

    async def _saved(self, paths: frozenset[str]) -> list[events.Event]:
        saved = await self._changes.saved(paths, self._plan, self._settings.watch) if paths else None
        if saved is None:
            return []
        log.info("saved", files=sorted({*map(looks.path_of, saved.changes), *saved.declaring, *saved.gone}))
        return [saved]

    async def _reload(self, happened: Changed | Look) -> bool:
        """Take over edited settings; whether the watcher must be another one."""
        edited = await self._settings.look(happened)
        self._board.problem("settings", *([self._settings.problem] if self._settings.problem else []))
        if edited is None:
            return False
        settings = self._settings.current
        self._orders.reconfigure(settings)
        self._leisure.soak = settings.soak
        self._post(events.Declared(self._settings.targets))
        self._post(await self._changes.survey(self._plan, self._settings.watch))
        if edited.outdates:
            self._post(events.Outdated("the settings changed"))
        return edited.rewatches
