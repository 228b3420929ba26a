"""The lookout: posts what happens to the project, as the watcher tells it and where the watcher is blind."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from pcvd.changes import Changed
from pcvd.core import events
from pcvd.core.errors import SetupError
from pcvd.core.model import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pcvd.changes import Changes
    from pcvd.core.model import Read
    from pcvd.core.plan import Plan
    from pcvd.files import Files, Stat
    from pcvd.premises import Premises
    from pcvd.reload import LiveSettings

log = structlog.get_logger()

_WATCH_AGAIN_S = 5.0
"""After a failure of the watcher, this long until it is tried again."""
_POLL_S = 1.0
"""How often files are looked at that targets read from outside the watched folders."""


@dataclass(frozen=True, slots=True)
class Watching:
    """The watcher works, or why it does not."""

    problem: Problem | None


class Lookout:
    """Posts until cancelled."""

    def __init__(
        self,
        settings: LiveSettings,
        plan: Plan,
        changes: Changes,
        files: Files,
        premises: Premises,
        post: Callable[[Changed | Watching | events.Outdated], object],
        require: Callable[[], None],
    ) -> None:
        """`require` raises StoreGone where the records were removed."""
        self._settings, self._plan, self._changes, self._files = settings, plan, changes, files
        self._premises, self._post, self._require = premises, post, require

    async def listen(self) -> None:
        """Pass on what the watcher tells."""
        while True:
            try:
                self._post(Watching(None))
                async for paths in self._settings.watch.changes():
                    self._post(Changed(frozenset(paths)))
            except SetupError as error:
                log.warning("not watching", error=str(error))
                self._post(Watching(Problem(error.message, hint=error.hint)))
            await asyncio.sleep(_WATCH_AGAIN_S)

    async def poll(self, premises: Sequence[Read]) -> None:
        """Look at files that were read elsewhere, at what is installed, and at the store's own file.
        `premises` are those that the verdicts were last held against (none: nobody could say). Raises
        StoreGone.
        """
        known: dict[str, Stat | None] = {}
        installed = _versions(premises)
        while True:
            await asyncio.sleep(_POLL_S)
            self._require()
            before, installed = installed, await self._installed() or installed
            if before and installed != before:
                self._post(events.Outdated("the installed packages changed"))
            paths = await self._changes.unseen(self._plan, self._settings.watch)
            stats = await self._files.stats(paths) if paths else {}
            # What is read for the first time may have been saved since it was read.
            new = stats.keys() - known
            changed = {path for path in stats.keys() - new if known[path] != stats[path]}
            changed |= await self._changes.differing(new) if new else set()
            known = dict(stats)
            if changed:
                self._post(Changed(frozenset(changed)))

    async def _installed(self) -> frozenset[Read]:
        """The versions of what is installed; none where nobody can say."""
        try:
            return _versions(await self._premises.present(self._settings.current))
        except SetupError:
            return frozenset()


def _versions(premises: Iterable[Read]) -> frozenset[Read]:
    return frozenset(read for read in premises if read.kind == "version")
