"""The desk: what others may ask of the running service. It answers from the plan and the board, and posts to
the loop what is to be done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pcvctl import names
from pcvd.changes import Changed, Look
from pcvd.core import events
from pcvd.core.errors import UsageError
from pcvd.core.model import model_file
from pcvd.core.variation import named

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from pcvd.barrier import Barrier
    from pcvd.board import Board
    from pcvd.changes import Changes
    from pcvd.core.model import TargetSpec
    from pcvd.core.plan import Plan
    from pcvd.pulse import Pulse
    from pcvd.status import Status
    from pcvd.store import Store


MOST_LISTED = 60
"""Of more targets than this, a text lists those alone that there is something to say of."""

_FEW = 500
"""Files that are looked at before the status is told; where there are more, the watcher's word must do."""


class Desk:
    """Questions and wishes. Whoever waits here raises StoreGone where the records are removed meanwhile, and
    SetupError where the loop ends.
    """

    def __init__(
        self,
        plan: Plan,
        board: Board,
        store: Store,
        pulse: Pulse[Any],
        changes: Changes,
        barrier: Barrier,
        cut: Callable[[TargetSpec, str | None], Awaitable[dict[str, Any]]],
    ) -> None:
        """`cut` tells how a target is cut into kernels."""
        self._plan, self._board, self._store, self._pulse = plan, board, store, pulse
        self._changes, self._barrier, self._cut = changes, barrier, cut

    def status(self, entries: Sequence[str] = ()) -> Status:
        """The status of `entries` or of all targets. Raises UsageError for unknown entries, but for those
        that a file may declare which is just being asked, and StoreGone where what it would tell of is
        recorded no longer.
        """
        self._store.require()
        asked = self._plan.asked_for(entries)
        self._check([entry for entry in entries if model_file(entry) not in asked])
        return self._board.status(self._plan, ready=self._pulse.ready, entries=entries)

    def brief(self, most: int) -> Status:
        """The status of all targets, of which not more than `most` are listed: those that there is something
        to say of.
        """
        self._store.require()
        return self._board.brief(self._plan, most, ready=self._pulse.ready)

    async def news(self) -> AsyncIterator[Status]:
        """The status now and after every change of it."""
        while True:
            seen = self._pulse.version
            yield self.status()
            await self._changed_since(seen)

    async def recovered(self) -> None:
        """Return once what is remembered stands on the board: before, there would seem to be no targets."""
        await self._until(lambda: True)

    async def look(self) -> None:
        """Have all that was saved before taken in, also what the watcher does not see."""
        await self._taken_in(Look(covered=await self._barrier.passed()))

    async def glimpse(self) -> None:
        """Look at the files that were read, where they are few: a save just before may not have been told
        yet, and a verdict on files as they were must not be called fresh.
        """
        paths = self._plan.paths
        if len(paths) <= _FEW and (changed := await self._changes.differing(paths)):
            await self._taken_in(Changed(frozenset(changed)))

    async def recheck(self, entries: Sequence[str] | None) -> tuple[str, ...]:
        """Have targets (None: all) built again, fresh or not; the targets concerned. Raises UsageError for
        unknown ones.
        """
        await self._declared(entries)
        wanted = tuple(entries) if entries is not None else tuple(spec.entry for spec in self._plan.targets)
        # Before the plan knows, waiting would end at once.
        await self._taken_in(events.Asked(wanted))
        return wanted

    async def cut(self, entry: str, policy: str | None) -> dict[str, Any]:
        """How a target is cut into kernels, by the settings' policy unless another one is named.

        Raises UsageError for an unknown target or policy, TargetError where it can't be traced or cut.
        """
        await self._declared([entry])
        return await self._cut(self._plan.spec(entry), policy)

    async def settled(
        self, entries: Sequence[str] | None = None, *, explained: bool = False, whole: bool = False
    ) -> None:
        """Return once nothing is pending for `entries` (None: for any target), nor taken on trust; with
        `explained`, once it is known as well what their differences come from; with `whole`, once every
        schedule was tried.
        """
        await self._until(
            lambda: (
                self._pulse.quiet
                and not self._plan.waits(entries)
                and not self._plan.believes(entries)
                and not (explained and self._plan.puzzled(entries))
                and not (whole and self._plan.unfinished(entries))
            )
        )

    async def vary(self, entries: Sequence[str], variations: Sequence[str]) -> None:
        """Find out what `variations` change in `entries`. Raises UsageError for unknown ones of either."""
        named(variations)
        self._check(entries)
        await self._taken_in(events.Wondered(tuple(entries), tuple(variations)))
        await self.settled(entries, explained=True)

    @property
    def surveyed(self) -> bool:
        """Whether it is known which targets there are."""
        return self._pulse.ready and self._plan.surveyed

    @property
    def entries(self) -> tuple[str, ...]:
        """The names of all targets, also of those that are only remembered as yet."""
        return tuple(spec.entry for spec in (*self._plan.targets, *self._plan.remembered))

    def exists(self, entry: str) -> bool:
        """Whether a target of that name is declared."""
        return self._plan.exists(entry)

    async def _declared(self, entries: Sequence[str] | None) -> None:
        """Return once it is known that these targets (None: all there are) exist. Raises UsageError."""
        if entries is not None and all(self._plan.exists(entry) for entry in entries):
            return
        await self.recovered()
        # At once, where finding out what the model files declare can't make it exist.
        self._check([entry for entry in entries or () if not await self._may_exist(entry)])
        await self._until(lambda: not self._plan.discovering)
        self._check(entries or ())

    def _check(self, entries: Sequence[str]) -> None:
        remembered = {spec.entry for spec in self._plan.remembered} if entries else set()
        for entry in entries:
            if not self._plan.exists(entry) and entry not in remembered:
                message, hint = names.unknown(entry, self.entries)
                raise UsageError(message, hint=hint)

    async def _may_exist(self, entry: str) -> bool:
        return entry in self.entries or await asyncio.to_thread(self._changes.may_declare, model_file(entry))

    async def _changed_since(self, version: int) -> None:
        await self._until(lambda: self._pulse.version != version)

    async def _taken_in(self, event: events.Event | Look | Changed) -> None:
        number = self._pulse.post(event)
        await self._heard(self._pulse.handled(number))

    async def _until(self, holds: Callable[[], bool]) -> None:
        await self._heard(self._pulse.until(holds))

    async def _heard(self, waiting: Awaitable[None]) -> None:
        # Where the records are removed, the loop ends as well; that another one begins is what counts then.
        try:
            await waiting
        finally:
            self._store.require()
