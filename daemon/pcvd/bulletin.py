"""The bulletin: has the status files written when there is something new to say, at a pace that costs nobody
who waits for a verdict.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from pcvd.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pcvd.status import Status

log = structlog.get_logger()

_LATER_S = 1.0
"""What takes a while is begun so long after a change: by then whoever waited for that has heard of it."""


class Bulletin:
    """The status files, as far behind the status as is worth it."""

    def __init__(
        self,
        words: Callable[[], tuple[Status, Status]],
        publish: Callable[[Status, Status], None],
        few: int,
    ) -> None:
        """`words` gives the status, whole and brief. That of not more than `few` targets is written at once,
        others beside the loop.
        """
        self._words, self._publish, self._few = words, publish, few
        self._pace = Pace()
        self._due = asyncio.Event()

    def change(self, targets: int, *, idle: bool, awaited: bool) -> None:
        """There may be something new to say of so many targets. `idle`: nothing else will change; `awaited`:
        somebody waits for a verdict.
        """
        if not self._pace.due(asyncio.get_running_loop().time(), idle=idle, awaited=awaited):
            return
        if targets > self._few:
            self._due.set()
            return
        with self._writing():
            self._publish(*self._words())

    async def run(self) -> None:
        """Write what takes a while, until cancelled."""
        while True:
            await self._due.wait()
            await asyncio.sleep(_LATER_S)
            self._due.clear()
            with self._writing():
                await asyncio.to_thread(self._publish, *self._words())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """The files are written meanwhile, or it is told why not."""
        began = asyncio.get_running_loop().time()
        try:
            yield
        except OSError as error:
            log.warning("status not written", error=str(error))
        self._pace.wrote(began, asyncio.get_running_loop().time())
