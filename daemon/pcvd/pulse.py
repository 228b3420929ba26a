"""The loop's pulse: what happened and waits for its turn, how far the loop has come, and who waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from pcvd.core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

Event = TypeVar("Event")


class Pulse(Generic[Event]):
    """One queue that one loop takes from. Whoever posts can wait until the loop has taken it in."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._beat = asyncio.Condition()
        self._posted = self._handled = 0
        self.ready = False
        """Whether the loop has come to know what there was before it."""
        self.over = False
        self.version = 0
        """Grows with every change that is told."""

    def post(self, event: Event) -> int:
        """Add an event; its number, for `handled`."""
        self._queue.put_nowait(event)
        self._posted += 1
        return self._posted

    async def next(self) -> Event:
        """The next event, for the loop."""
        return await self._queue.get()

    def done(self) -> None:
        """The loop has taken in the event it took last."""
        self._handled += 1

    @property
    def quiet(self) -> bool:
        """Whether all that happened has been taken in."""
        return self._handled == self._posted

    async def tell(self) -> None:
        """Wake whoever waits."""
        self.version += 1
        async with self._beat:
            self._beat.notify_all()

    async def end(self) -> None:
        """The loop is over; nobody waits for it any more."""
        self.over = True
        await self.tell()

    async def handled(self, number: int) -> None:
        """Return once the event of that number has been taken in."""
        await self.until(lambda: self._handled >= number)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once `holds()`, which is asked after every event. Raises SetupError when the loop ends
        before.
        """
        async with self._beat:
            await self._beat.wait_for(lambda: self.over or (self.ready and holds()))
        if self.over:
            raise SetupError("the daemon is ending", hint="pcvctl logs tells why")
