"""Discoveries in the store: which targets a model file declared when it was asked last, and what it read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcvd.core.model import TargetSpec
from pcvd.store import reads
from pcvd.store.codec import decode, encode, row
from pcvd.store.records import Discovered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import aiosqlite


async def replace(
    connection: aiosqlite.Connection, files: Iterable[str], found: Sequence[Discovered]
) -> None:
    """Record what was `found`, instead of what stood there of `files`."""
    await connection.executemany("DELETE FROM discoveries WHERE file = ?", [row(file) for file in files])
    listed = await reads.enlist(connection, {one.file: one.reads for one in found})
    await connection.executemany(
        "INSERT INTO discoveries (file, targets, reads) VALUES (?, ?, ?)",
        [row(one.file, encode(one.targets), listed[one.file]) for one in found],
    )


async def select(connection: aiosqlite.Connection) -> list[Discovered]:
    """What is known of all model files."""
    rows = await connection.execute_fetchall("SELECT file, targets, reads FROM discoveries ORDER BY file")
    read = await reads.look_up(connection, {file: listed for file, _, listed in rows})
    return [
        Discovered(file, decode(targets, tuple[TargetSpec, ...]), read[file]) for file, targets, _ in rows
    ]
