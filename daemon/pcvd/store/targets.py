"""Targets in the store: which are declared now, and what each one's builds read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcvd.core.model import Read, TargetSpec
from pcvd.jsontext import clean
from pcvd.store.codec import decode, encode, name_column, name_of, row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import aiosqlite


_ARGS: Any = tuple[str, ...] | str | None


async def declare(connection: aiosqlite.Connection, targets: Sequence[TargetSpec], now: str) -> None:
    """Make `targets` the active ones. Those that are gone become inactive and keep their history."""
    await connection.execute("UPDATE targets SET active = 0 WHERE active = 1")
    await connection.executemany(
        """
        INSERT INTO targets (entry, args, file, line, active, first_seen, last_seen)
        VALUES (?, ?, ?, ?, 1, ?, ?)
        ON CONFLICT (entry) DO UPDATE SET
            args = excluded.args, file = excluded.file, line = excluded.line,
            active = 1, last_seen = excluded.last_seen
        """,
        (row(target.entry, encode(target.args), target.file, target.line, now, now) for target in targets),
    )


async def ids(connection: aiosqlite.Connection, entries: Iterable[str], now: str) -> dict[str, int]:
    """The row numbers of `entries`. One that was never declared gets a row, inactive until it is."""
    entries = list(dict.fromkeys(entries))
    await connection.executemany(
        """
        INSERT INTO targets (entry, args, active, first_seen, last_seen) VALUES (?, 'null', 0, ?, ?)
        ON CONFLICT (entry) DO UPDATE SET last_seen = excluded.last_seen
        """,
        (row(entry, now, now) for entry in entries),
    )
    found = await connection.execute_fetchall(
        "SELECT entry, id FROM targets WHERE entry IN (SELECT value FROM json_each(?))", (encode(entries),)
    )
    known = {str(entry): int(number) for entry, number in found}
    return {entry: known[clean(entry)] for entry in entries}


async def replace_reads(connection: aiosqlite.Connection, reads: Mapping[int, tuple[Read, ...]]) -> None:
    """Record what the builds of each target (by row number) read, instead of what stood there."""
    await connection.executemany("DELETE FROM dependencies WHERE target = ?", ((target,) for target in reads))
    await connection.executemany(
        "INSERT OR REPLACE INTO dependencies (target, kind, name, digest) VALUES (?, ?, ?, ?)",
        (
            (target, read.kind, name_column(read.name), read.digest)
            for target, found in reads.items()
            for read in found
        ),
    )


def reads_of(rows: Iterable[tuple[int, str, str | bytes, str | None]]) -> dict[int, tuple[Read, ...]]:
    """The reads of each target by its row number, ordered by kind and name. What many targets read alike is
    held once.
    """
    held: dict[tuple[str, str | bytes, str | None], Read] = {}
    found: dict[int, list[Read]] = {}
    for target, kind, name, digest in rows:
        read = held.get((kind, name, digest))
        if read is None:
            read = held[kind, name, digest] = Read(kind, name_of(name), digest)
        found.setdefault(target, []).append(read)
    return {target: tuple(reads) for target, reads in found.items()}


def spec(entry: str, args: str, file: str | None, line: int | None) -> TargetSpec:
    """The declaration that a row of `targets` holds."""
    return TargetSpec(entry, decode(args, _ARGS), file, line)
