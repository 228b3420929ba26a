"""What builds read, in the store: each once, however many targets share it, and a list per target.

Thousands of targets rest on much the same files and versions. As a row for each read of each target, what the
daemon recovers at its start would be hundreds of thousands of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pcvd.core.errors import StoreError
from pcvd.core.model import Read
from pcvd.jsontext import clean
from pcvd.store.codec import decode, encode, name_column, name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import aiosqlite

K = TypeVar("K")

_AT_ONCE = 10_000  # parameters of one statement, of which SQLite takes 32,766


async def replace(connection: aiosqlite.Connection, found: Mapping[int, tuple[Read, ...]]) -> None:
    """Record what the builds of each target (by row number) read, instead of what stood there."""
    await connection.executemany(
        "INSERT OR REPLACE INTO readers (target, reads) VALUES (?, ?)",
        list((await enlist(connection, found)).items()),
    )


async def select(connection: aiosqlite.Connection, targets: Iterable[int]) -> dict[int, tuple[Read, ...]]:
    """What the builds of each of `targets` (by row number) read, ordered by kind and name."""
    lists = await connection.execute_fetchall(
        "SELECT target, reads FROM readers WHERE target IN (SELECT value FROM json_each(?))",
        (encode(list(targets)),),
    )
    return await look_up(connection, {int(target): str(column) for target, column in lists})


async def of(connection: aiosqlite.Connection, entries: Iterable[str]) -> dict[str, tuple[Read, ...]]:
    """What the builds of the targets of these names read."""
    named = {clean(entry): entry for entry in entries}
    lists = await connection.execute_fetchall(
        """
        SELECT t.entry, r.reads FROM targets t JOIN readers r ON r.target = t.id
        WHERE t.entry IN (SELECT value FROM json_each(?))
        """,
        (encode(list(named)),),
    )
    return await look_up(connection, {named[entry]: column for entry, column in lists})


async def enlist(connection: aiosqlite.Connection, found: Mapping[K, tuple[Read, ...]]) -> dict[K, str]:
    """Give each read that is new a row, and each reader a column: the list of its reads' row numbers, by kind
    and name. Of several reads of one name, the last counts.
    """
    latest = {
        reader: {(read.kind, name_column(read.name)): read.digest for read in reads}
        for reader, reads in found.items()
    }
    every = {(*key, digest) for reads in latest.values() for key, digest in reads.items()}
    numbers = await _numbers(connection, every)
    return {
        reader: encode([numbers[*key, reads[key]] for key in sorted(reads, key=_place)])
        for reader, reads in latest.items()
    }


async def look_up(connection: aiosqlite.Connection, lists: Mapping[K, str]) -> dict[K, tuple[Read, ...]]:
    """The reads that such columns list. What several have alike is one object."""
    read = {reader: decode(column, list[int]) for reader, column in lists.items()}
    rows = await connection.execute_fetchall(
        "SELECT id, kind, name, digest FROM reads WHERE id IN (SELECT value FROM json_each(?))",
        (encode(list({number for numbers in read.values() for number in numbers})),),
    )
    held = {number: Read(kind, name_of(name), digest) for number, kind, name, digest in rows}
    try:
        return {reader: tuple([held[number] for number in numbers]) for reader, numbers in read.items()}
    except KeyError as error:  # no foreign key reaches into a list
        raise StoreError(
            f"the store lists read {error}, which it does not hold",
            hint="move .pcv/pcv.sqlite away: verdicts will be rebuilt",
        ) from None


async def prune(connection: aiosqlite.Connection) -> None:
    """Remove what nobody rests on any more."""
    await connection.execute(
        """
        DELETE FROM reads WHERE id NOT IN (
            SELECT value FROM readers, json_each(readers.reads)
            UNION SELECT value FROM discoveries, json_each(discoveries.reads))
        """
    )


async def _numbers(
    connection: aiosqlite.Connection, reads: set[tuple[str, str | bytes, str | None]]
) -> dict[tuple[str, str | bytes, str | None], int]:
    """The row numbers of these reads (kind, name, digest); what is new gets one."""
    await connection.executemany(
        "INSERT INTO reads (kind, name, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", reads
    )
    names = list({name for _, name, _ in reads})
    found: dict[Any, int] = {}
    for first in range(0, len(names), _AT_ONCE):
        some = names[first : first + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        rows = await connection.execute_fetchall(
            f"SELECT kind, name, digest, id FROM reads WHERE name IN ({marks})",  # noqa: S608 - question marks
            some,
        )
        found |= {(kind, name, digest): number for kind, name, digest, number in rows}
    return found


def _place(key: tuple[str, str | bytes]) -> tuple[str, bytes]:
    kind, name = key
    return kind, name if isinstance(name, bytes) else name.encode()
