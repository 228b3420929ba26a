"""Recall: what an earlier life found is put up again, some verdicts at a time, and told to the plan as far as
it still holds.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from pcvd import recovery
from pcvd.builders.zygotes import worker_environment
from pcvd.core.events import Declared, Recovered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from pcv_config.settings import Settings
    from pcvd.board import Board
    from pcvd.changes import Changes
    from pcvd.core.events import Known
    from pcvd.core.model import Read, TargetSpec
    from pcvd.files import Files
    from pcvd.store import Store
    from pcvd.watch import Watch

log = structlog.get_logger()

_PAGE = 500
"""So many verdicts are recalled at a time: of ten thousand at once the memory would never be given back."""


class Recall:
    """Reads what is recorded, for the board and for the plan."""

    def __init__(self, store: Store, files: Files, board: Board, changes: Changes) -> None:
        self._store, self._files, self._board, self._changes = store, files, board, changes

    async def recall(
        self,
        settings: Settings,
        targets: Sequence[TargetSpec],
        watch: Watch,
        premises: Awaitable[tuple[Read, ...]],
    ) -> Recovered:
        """Verdicts, what is declared, and which files may declare more. `targets` are those that `settings`
        name; `premises`, what all builds rest on now (nothing where that can't be found out). Raises
        StoreError.
        """
        environment = worker_environment(settings.env, settings.platform)
        known: list[Known] = []
        discoveries = {one.file: one for one in await self._store.discoveries()}
        told = [file for file, one in discoveries.items() if one.targets]
        present, files = await asyncio.gather(premises, self._changes.declaring(watch, told))
        # One after the other: threads that take turns at the interpreter take half as long again.
        page = await self._store.standings("", _PAGE)
        while page:
            self._board.recall(await asyncio.to_thread(self._board.notes, page))
            found, held = await recovery.known(
                page, present, environment, self._files, settings.root, settings.schedules
            )
            known += found
            self._changes.know(held)
            page = await self._store.standings(page[-1].target.entry, _PAGE)
        if gone := discoveries.keys() - files:
            await self._store.discovered(gone, ())
        there = [one for file, one in discoveries.items() if file not in gone]
        declared, held = await recovery.declared(there, present, environment, self._files, settings.root)
        # After those of the verdicts, which it leaves as they are: a save since then is news.
        self._changes.know(held)
        log.info("recovered", targets=len(known), fresh=sum(one.stale is None for one in known))
        # What the settings name comes first: a model file that names it as well has not the last word.
        return Recovered(tuple(known), files, (Declared(tuple(targets)), *declared))
