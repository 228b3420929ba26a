"""A barrier: once the watcher tells of a file that is written now, it has told of all that was saved before.

The system tells of changes in their order, so a cookie marks a moment. The idea is Watchman's
(https://facebook.github.io/watchman/docs/cookies).
"""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATIENCE_S = 2.0
"""A watcher that has not told of a cookie by then does not work here (a network file system, say)."""


class Barrier:
    """Cookies in one folder, and who waits for each."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._names = (f"{os.getpid()}-{number}" for number in itertools.count())
        self._waiting: dict[str, asyncio.Event] = {}
        self._over = False

    def prepare(self) -> None:
        """Make the folder, before the watcher begins."""
        self._folder.mkdir(exist_ok=True)

    async def passed(self) -> bool:
        """Return once everything saved before has been taken in; False where the watcher does not say so."""
        if self._over:
            return False
        path = self._folder / next(self._names)
        told = self._waiting[str(path)] = asyncio.Event()
        try:
            path.touch()  # an empty file: a thread would take longer
            async with asyncio.timeout(_PATIENCE_S):
                await told.wait()
        except (OSError, TimeoutError):
            return False
        finally:
            del self._waiting[str(path)]
            path.unlink(missing_ok=True)
        return not self._over

    def end(self) -> None:
        """Nobody takes anything in any more: whoever waits is let go, and nobody need come."""
        self._over = True
        for waiting in self._waiting.values():
            waiting.set()

    def others(self, paths: Iterable[str]) -> frozenset[str]:
        """Those of `paths` that are not the barrier's own."""
        folder = str(self._folder)
        return frozenset(path for path in paths if path != folder and not path.startswith(f"{folder}/"))

    def told(self, paths: Iterable[str]) -> None:
        """The watcher has told of `paths`, and of all that was saved before, and that has been taken in."""
        for path in paths:
            waiting = self._waiting.get(path)
            if waiting is not None:
                waiting.set()
