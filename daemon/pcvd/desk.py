"""The desk: what others may ask of the running service. It answers from the plan and the board, and posts to
the loop what is to be done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pcvctl import names
from pcvd.changes import Look
from pcvd.core import events
from pcvd.core.errors import UsageError
from pcvd.core.variation import named
from pcvd.watch import may_declare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from pcvd.board import Board
    from pcvd.core.plan import Plan
    from pcvd.pulse import Pulse
    from pcvd.store import Store


class Desk:
    """Questions and wishes. Whoever waits here raises StoreGone where the records are removed meanwhile, and
    SetupError where the loop ends.
    """

    def __init__(self, root: str, plan: Plan, board: Board, store: Store, pulse: Pulse[Any]) -> None:
        self._root, self._plan, self._board, self._store, self._pulse = root, plan, board, store, pulse

    def status(self, entries: Sequence[str] = ()) -> dict[str, Any]:
        """The status document, of `entries` or of all targets. Raises UsageError for unknown entries, and
        StoreGone where what it would tell of is recorded no longer.
        """
        self._store.require()
        self._check(entries)
        return self._board.document(self._plan, ready=self._pulse.ready, entries=entries)

    async def news(self) -> AsyncIterator[dict[str, Any]]:
        """The status document now and after every change of it."""
        while True:
            seen = self._pulse.version
            yield self.status()
            await self._changed_since(seen)

    async def recovered(self) -> None:
        """Return once what is remembered stands on the board: before, there would seem to be no targets."""
        await self._until(lambda: True)

    async def look(self) -> None:
        """Have every file that was read looked at: a save just before may not have been told yet."""
        await self._taken_in(Look())

    async def recheck(self, entries: Sequence[str] | None) -> tuple[str, ...]:
        """Have targets (None: all) built again, fresh or not; the targets concerned. Raises UsageError for
        unknown ones.
        """
        known = entries is not None and all(self._plan.exists(entry) for entry in entries)
        if not known:
            await self.recovered()
            # At once, where finding out what the model files declare can't make it exist.
            self._check([entry for entry in entries or () if not await self._may_exist(entry)])
            await self._until(lambda: not self._plan.discovering)
            self._check(entries or ())
        wanted = tuple(entries) if entries is not None else tuple(spec.entry for spec in self._plan.targets)
        # Before the plan knows, waiting would end at once.
        await self._taken_in(events.Asked(wanted))
        return wanted

    async def settled(self, entries: Sequence[str] | None = None, *, explained: bool = False) -> None:
        """Return once nothing is pending for `entries` (None: for any target); with `explained`, once it is
        known as well what their differences come from.
        """
        await self._until(
            lambda: (
                self._pulse.quiet
                and not self._plan.waits(entries)
                and not (explained and self._plan.puzzled(entries))
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

    def _check(self, entries: Sequence[str]) -> None:
        if not entries:
            return
        known = set(self.entries)
        for entry in entries:
            if entry not in known:
                message, hint = names.unknown(entry, self.entries)
                raise UsageError(message, hint=hint)

    async def _may_exist(self, entry: str) -> bool:
        file, _, _ = entry.rpartition(":")
        return entry in self.entries or await asyncio.to_thread(may_declare, f"{self._root}/{file}")

    async def _changed_since(self, version: int) -> None:
        await self._until(lambda: self._pulse.version != version)

    async def _taken_in(self, event: events.Event | Look) -> None:
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
