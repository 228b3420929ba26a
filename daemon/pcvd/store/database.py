"""The SQLite file itself: opening it, its schema, transactions that end cleanly, errors a person can act on.

Other processes may write the same file (a check in the foreground beside the daemon), so every writing
transaction takes the write lock at its beginning, and waits for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import quote

import aiosqlite
import msgspec

from pcvd.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator

T = TypeVar("T")
Kind = Literal["DEFERRED", "IMMEDIATE"]

SCHEMA_VERSION = 4
"""What `PRAGMA user_version` says in a file that this pcv wrote."""

_MIGRATIONS = {
    1: ("ALTER TABLE verdicts DROP COLUMN streak",),  # rounds are counted in the judgement, by their sources
    2: ("TABLE kernels",),
    3: (
        "ALTER TABLE dependencies RENAME TO earlier",
        "TABLE reads",
        "UNIQUE INDEX reads_once",
        "TABLE readers",
        "TABLE discoveries",
        "INSERT INTO reads (kind, name, digest) SELECT DISTINCT kind, name, digest FROM earlier",
        """
        INSERT INTO readers (target, reads)
        SELECT target, json_group_array(id) FROM (
            SELECT e.target, r.id FROM earlier e
            JOIN reads r ON r.kind = e.kind AND r.name = e.name AND r.digest IS e.digest
            ORDER BY e.target, e.kind, e.name)
        GROUP BY target
        """,
        "DROP TABLE earlier",
        "VIEW dependencies",
        # A judgement is told as it is stored, and those of version 2 say nothing of kernels.
        """
        UPDATE verdicts SET detail = substr(detail, 1, length(detail) - 1) || ',"kernels":null}'
        WHERE json_type(detail, '$.kernels') IS NULL
        """,
    ),
}
"""What leads from each earlier version to the next. What is only named is made as the schema has it now:
whoever changes that in a later version writes out here what it was.
"""

_PATIENCE_S = 30.0  # how long to wait for another process's transaction
_OLDEST = (3, 37)  # STRICT tables came with it


class StoreGone(StoreError):
    """The database's file was removed, or another one put in its place, while it was open."""


class Database:
    """One connection to one file. Transactions take their turn, so none sees another's half."""

    def __init__(self, path: str, connection: aiosqlite.Connection) -> None:
        self.path = path
        self._connection = connection
        self._turn = asyncio.Lock()
        self._identity = _identity(path)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: str) -> AsyncIterator[Database]:
        """The database at `path`, created where there is none; nothing is deleted. Raises StoreError."""
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StoreError(
                f"SQLite {sqlite3.sqlite_version} is too old",
                hint="use a Python whose sqlite3 module has SQLite 3.37 or newer",
            )
        await asyncio.to_thread(_create_private, path)
        # Not cancelled half-way: aiosqlite would drop a connection that its thread has opened already.
        connecting = asyncio.ensure_future(_connect(path))
        try:
            with _explained(path):
                await _finished(connecting)
            database = cls(path, connecting.result())
            await database._prepare()
            yield database
        finally:
            if connecting.done() and not connecting.cancelled() and connecting.exception() is None:
                await _finished(connecting.result().close())

    @property
    def stands(self) -> bool:
        """Whether the file that is open is still the one at its path.

        SQLite itself goes on reading and writing a file that was removed, and says nothing.
        """
        return self._identity is not None and _identity(self.path) == self._identity

    def require(self) -> None:
        """Raise StoreGone where the file that is open is no longer the one at its path."""
        if not self.stands:
            raise StoreGone(
                "was removed or replaced while it was open", file=self.path, hint="ask again: pcv begins anew"
            )

    @classmethod
    @asynccontextmanager
    async def reading(cls, path: str) -> AsyncIterator[Database]:
        """The database at `path`, which must exist, for reading alone: nothing is created or altered.

        Raises StoreError.
        """
        # Found out here: of a connection that fails, aiosqlite's thread may outlive the event loop.
        if not await asyncio.to_thread(os.access, path, os.R_OK):
            raise StoreError("is missing, or may not be read", file=path, hint="`pcvctl check` makes one")
        # As a URI, since only that has a mode; quoted, since a folder may be called "what?".
        connecting = asyncio.ensure_future(
            aiosqlite.connect(
                f"file:{quote(path)}?mode=ro", uri=True, timeout=_PATIENCE_S, isolation_level=None
            )
        )
        try:
            with _explained(path):
                await _finished(connecting)
            database = cls(path, connecting.result())
            async with database.transaction("DEFERRED") as connection:
                await _refuse_strangers(connection, path)
            yield database
        finally:
            if connecting.done() and not connecting.cancelled() and connecting.exception() is None:
                await _finished(connecting.result().close())

    @asynccontextmanager
    async def transaction(self, kind: Kind) -> AsyncIterator[aiosqlite.Connection]:
        """One transaction: all of it, or nothing, also when the task is cancelled meanwhile.

        `DEFERRED` is for reading: one snapshot, whatever others commit. Raises StoreError; afterwards the
        database can be used on.
        """
        self.require()
        async with self._turn:
            with _explained(self.path):
                try:
                    await self._connection.execute(f"BEGIN {kind}")
                    yield self._connection
                    await self._connection.commit()
                except BaseException:
                    # Also where BEGIN itself was cancelled: the thread carries out whatever it was handed.
                    await _finished(self._connection.rollback())
                    raise

    async def _prepare(self) -> None:
        # In one snapshot: between two statements another process may create the tables.
        async with self.transaction("DEFERRED") as connection:
            await _refuse_strangers(connection, self.path)
        with _explained(self.path):
            mode = await _write_ahead(self._connection)
            # Without a write-ahead log (some network folders have none), NORMAL could corrupt the file at a
            # power failure.
            await self._connection.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")
            await self._connection.execute("PRAGMA foreign_keys = ON")
        # Taken even if there is nothing to create: SQLite opens a file that it may not write without a word.
        async with self.transaction("IMMEDIATE") as connection:
            version = await _refuse_strangers(connection, self.path)
            if version != SCHEMA_VERSION:
                for statement in _statements() if version == 0 else _upgrade(version):
                    await connection.execute(statement)
                await connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        info = os.stat(path)  # noqa: PTH116  # asked for at every answer
    except OSError:
        return None
    return (info.st_dev, info.st_ino)


async def _connect(path: str) -> aiosqlite.Connection:
    return await aiosqlite.connect(path, timeout=_PATIENCE_S, isolation_level=None)


def _create_private(path: str) -> None:
    # SQLite would create the file readable to all, and say no more than "unable to open" where it can't. A
    # file that exists is not opened here: closing it again would drop the locks of every other connection of
    # this process.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if os.path.isdir(path):  # noqa: PTH112  # os.open's companion
            raise StoreError("is a folder, not a database", file=path, hint="move it away") from None
    except OSError as error:
        raise StoreError(
            f"can't create the database: {error.strerror}",
            file=path,
            hint="pcv keeps its records in the project folder, which must exist and be writable",
        ) from error


async def _refuse_strangers(connection: aiosqlite.Connection, path: str) -> int:
    """The file's schema version, 0 for an empty file. Raises StoreError where the file is not this pcv's."""
    ((version,),) = await connection.execute_fetchall("PRAGMA user_version")
    if not 0 <= version <= SCHEMA_VERSION:
        raise StoreError(
            f"its schema has version {version}, this pcv knows {SCHEMA_VERSION}",
            file=path,
            hint=f"upgrade pcv, or {_MOVE_AWAY}",
        )
    if version == 0 and await connection.execute_fetchall("SELECT 1 FROM sqlite_schema LIMIT 1"):
        raise StoreError("is a database, but not pcv's", file=path, hint=_MOVE_AWAY)
    return int(version)


def _upgrade(version: int) -> Iterator[str]:
    for number in range(version, SCHEMA_VERSION):
        for step in _MIGRATIONS[number]:
            made = (one for one in _statements() if f"CREATE {step} " in one)
            yield next(made, step)


async def _write_ahead(connection: aiosqlite.Connection) -> str:
    # Of several processes that switch a new file to WAL at once, some are told "locked" at once, whatever the
    # busy timeout.
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    while True:
        try:
            ((mode,),) = await connection.execute_fetchall("PRAGMA journal_mode = WAL")
            return str(mode)
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(0.01)


def _statements() -> Iterator[str]:
    # executescript() would commit the transaction that makes creation all or nothing.
    statement = ""
    schema = resources.files("pcvd.store").joinpath("schema.sql").read_text("utf-8")
    for line in schema.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


async def _finished(work: Awaitable[T]) -> T:
    """What `work` gives. A caller that is cancelled meanwhile still waits for it, then goes on ending."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # looked at, or asyncio would report it as forgotten
        raise cancelled
    return task.result()


_MOVE_AWAY = "move it away together with its -wal and -shm files: verdicts and artifacts will be rebuilt"
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_HINTS = {
    sqlite3.SQLITE_BUSY: f"another process has held it for {_PATIENCE_S:.0f} s: end that one",
    sqlite3.SQLITE_FULL: "free some space on that disk",
    sqlite3.SQLITE_IOERR: "look whether that disk is full or broken",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "make the file and its folder readable and writable",
    sqlite3.SQLITE_PERM: "make the file and its folder readable and writable",
    sqlite3.SQLITE_CONSTRAINT: "nothing of this round was recorded; this is a bug in pcv, please report it",
}


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = _code(error)
        if code in _DAMAGED or "no such table" in str(error) or "no such column" in str(error):
            raise StoreError(
                f"not a database that pcv can read: {error}", file=path, hint=_MOVE_AWAY
            ) from error
        raise StoreError(f"SQLite says: {error}", file=path, hint=_HINTS.get(code)) from error
    except (msgspec.DecodeError, json.JSONDecodeError) as error:
        raise StoreError(
            f"holds a record that pcv did not write: {error}", file=path, hint=_MOVE_AWAY
        ) from error
    except OverflowError as error:
        raise StoreError(
            f"a value does not fit: {error}", file=path, hint=_HINTS[sqlite3.SQLITE_CONSTRAINT]
        ) from error


def _code(error: sqlite3.Error) -> int:
    # The low byte is the primary result code. Errors that Python's own module raises carry none.
    return getattr(error, "sqlite_errorcode", -1) & 0xFF
