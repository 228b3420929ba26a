"""Targets in the store: which are declared now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcvd.core.model import TargetSpec
from pcvd.jsontext import clean
from pcvd.store.codec import decode, encode, row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
        ((*one, now, now) for one in _rows(targets)),
    )


async def stand(connection: aiosqlite.Connection, targets: Sequence[TargetSpec]) -> bool:
    """Whether just these are the active ones already, declared alike."""
    active = "SELECT entry, args, file, line FROM targets WHERE active = 1"
    return {tuple(one) for one in await connection.execute_fetchall(active)} == set(_rows(targets))


def _rows(targets: Sequence[TargetSpec]) -> list[tuple[object, ...]]:
    return [row(one.entry, encode(one.args), one.file, one.line) for one in targets]


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


def spec(entry: str, args: str, file: str | None, line: int | None) -> TargetSpec:
    """The declaration that a row of `targets` holds."""
    return TargetSpec(entry, decode(args, _ARGS), file, line)
