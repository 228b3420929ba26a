"""The store's face: one object, one method for each thing that pcv remembers or asks for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pcvd.store import discoveries, reads, retention, rounds, runs, targets, verdicts
from pcvd.store.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from pcvd.core.builds import Run
    from pcvd.core.model import Judgement, Read, TargetSpec
    from pcvd.store.records import Discovered, RoundRecord, Standing, VerdictRecord


class Store:
    """All that is durable, in one SQLite file. Every method is one transaction, and raises StoreError;
    StoreGone where the file was removed meanwhile.

    Any number of tasks may use one store, and other processes may have the same file open.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    @asynccontextmanager
    async def open(cls, path: str) -> AsyncIterator[Store]:
        """The store in the file `path`, created where there is none; its folder must exist.

        Raises StoreError where the file is damaged, is no database, is another program's, was written by a
        newer pcv, or can't be written. None of these is ever deleted or overwritten.
        """
        async with Database.open(path) as database:
            yield cls(database)

    @property
    def stands(self) -> bool:
        """Whether the file is still the one that was opened."""
        return self._database.stands

    def require(self) -> None:
        """Raise StoreGone where it is not: what is remembered of it must not be shown as recorded."""
        self._database.require()

    @classmethod
    @asynccontextmanager
    async def reading(cls, path: str) -> AsyncIterator[Store]:
        """The store in the file `path`, which must exist, for questions alone: nothing is written.

        Raises StoreError where the file is missing, damaged, another program's or a newer pcv's.
        """
        async with Database.reading(path) as database:
            yield cls(database)

    async def declare(self, active: Sequence[TargetSpec]) -> None:
        """Make `active` the active targets. Those that are gone become inactive, their history stays."""
        now = _now()
        async with self._database.transaction("DEFERRED") as connection:
            if await targets.stand(connection, active):
                return
        async with self._database.transaction("IMMEDIATE") as connection:
            await targets.declare(connection, active, now)

    async def discovered(self, files: Iterable[str], found: Sequence[Discovered]) -> None:
        """Remember what was `found` when `files` were asked for their targets, and no more of the others."""
        async with self._database.transaction("IMMEDIATE") as connection:
            await discoveries.replace(connection, files, found)

    async def discoveries(self) -> list[Discovered]:
        """What model files declared when they were asked last."""
        async with self._database.transaction("DEFERRED") as connection:
            return await discoveries.select(connection)

    async def record(self, done: RoundRecord) -> int:
        """Remember a finished round, all of it or nothing, also when cancelled; the round's number."""
        async with self._database.transaction("IMMEDIATE") as connection:
            return await rounds.insert(connection, done)

    async def explain(self, number: int, found: Sequence[Judgement], tried: tuple[Run, ...]) -> None:
        """Replace judgements of round `number` by ones that know more, and add the runs that told."""
        now = _now()
        async with self._database.transaction("IMMEDIATE") as connection:
            await rounds.explain(connection, number, found, tried, now)

    async def confirm(
        self, found: Mapping[str, tuple[Judgement, tuple[Read, ...]]], now: str | None = None
    ) -> None:
        """The latest verdicts of these targets stand, since `now` over other reads; None: they do not, and
        that is what the judgements say.
        """
        async with self._database.transaction("IMMEDIATE") as connection:
            await rounds.confirm(connection, found, now or _now(), now)

    async def standings(self, after: str = "", most: int = -1) -> list[Standing]:
        """The last verdict of the active targets that were ever judged, by entry: of those behind `after`, at
        most `most` (-1: all). Of thousands, a page takes little memory.
        """
        async with self._database.transaction("DEFERRED") as connection:
            return await verdicts.standings(connection, after, most)

    async def verdicts(self, target: str, limit: int = 50) -> list[VerdictRecord]:
        """The last `limit` verdicts on `target` with everything recorded of them, newest first."""
        async with self._database.transaction("DEFERRED") as connection:
            return await verdicts.latest(connection, target, limit)

    async def latest(self, target: str) -> VerdictRecord | None:
        """The last verdict on `target`; None where it was never judged."""
        return next(iter(await self.verdicts(target, 1)), None)

    async def entries(self) -> list[str]:
        """Every target that was ever declared or judged, those declared now first."""
        async with self._database.transaction("DEFERRED") as connection:
            return await verdicts.entries(connection)

    async def reads(self, entries: Iterable[str]) -> dict[str, tuple[Read, ...]]:
        """What the last verdicts of these targets rest on, with digests; a target that has none is not in
        it.
        """
        async with self._database.transaction("DEFERRED") as connection:
            return await reads.of(connection, entries)

    async def runs(self, number: int) -> tuple[Run, ...]:
        """The runs of round `number` as they were recorded, less what was pruned since."""
        async with self._database.transaction("DEFERRED") as connection:
            return await runs.select(connection, number)

    async def referenced(self, keep: int) -> set[str]:
        """The digests whose bytes are worth keeping, raw and canonical, of stages and of parts.

        Those of the last `keep` rounds of each target, and of each target's latest verdict that is not
        `agree`.
        """
        async with self._database.transaction("DEFERRED") as connection:
            return await retention.referenced(connection, keep)

    async def prune(self, keep: int) -> int:
        """Remove the builds whose digests `referenced(keep)` leaves out, and reads that nothing rests on any
        more; how many builds went. Verdicts stay.
        """
        async with self._database.transaction("IMMEDIATE") as connection:
            return await retention.prune(connection, keep)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
