"""What the store keeps of old rounds: verdicts for good, builds only while they are evidence.

Evidence is what the last rounds of each target built, and what stands behind the latest verdict of each that
was no agreement: that is what somebody will want to look into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcvd.store import reads

if TYPE_CHECKING:
    import aiosqlite


async def referenced(connection: aiosqlite.Connection, keep: int) -> set[str]:
    """The digests, raw and canonical, of stages and parts that are evidence if `keep` rounds are kept."""
    await _choose(connection, keep)
    found = await connection.execute_fetchall(
        """
        WITH evidence AS (
            SELECT s.id, s.raw, s.canonical FROM temp.kept k
            JOIN runs r ON r.round = k.round
            JOIN builds b ON b.run = r.id AND b.target = k.target
            JOIN stages s ON s.build = b.id)
        SELECT raw, canonical FROM evidence WHERE raw IS NOT NULL
        UNION SELECT p.raw, p.canonical FROM evidence e JOIN parts p ON p.stage = e.id
        """
    )
    return {name for pair in found for name in pair}


async def prune(connection: aiosqlite.Connection, keep: int) -> int:
    """Remove the builds that are evidence no more, runs left empty, and reads that nothing rests on; how many
    builds went.
    """
    await _choose(connection, keep)
    gone = await connection.execute(
        """
        DELETE FROM builds WHERE id IN (
            SELECT b.id FROM builds b JOIN runs r ON r.id = b.run
            WHERE NOT EXISTS (SELECT 1 FROM temp.kept k WHERE k.round = r.round AND k.target = b.target))
        """
    )
    await connection.execute(
        """
        DELETE FROM runs
        WHERE round NOT IN (SELECT round FROM temp.kept)
        AND NOT EXISTS (SELECT 1 FROM builds WHERE run = runs.id)
        """
    )
    await reads.prune(connection)
    return gone.rowcount


async def _choose(connection: aiosqlite.Connection, keep: int) -> None:
    """Fill temp.kept with the rounds and targets whose builds are evidence."""
    if keep < 0:
        raise ValueError(f"keep must be 0 or more, not {keep}")
    await connection.execute("DROP TABLE IF EXISTS temp.kept")
    await connection.execute(
        """
        CREATE TEMP TABLE kept (
            round  INTEGER NOT NULL, -- a round
            target INTEGER NOT NULL, -- a target judged in it
            PRIMARY KEY (round, target)
        ) STRICT, WITHOUT ROWID
        """
    )
    await connection.execute(
        """
        WITH ranked AS (
            SELECT round, target, row_number() OVER (PARTITION BY target ORDER BY id DESC) AS age
            FROM verdicts)
        INSERT INTO temp.kept
        SELECT round, target FROM ranked WHERE age <= ?
        UNION
        SELECT round, target FROM verdicts WHERE id IN (
            SELECT max(id) FROM verdicts WHERE verdict <> 'agree' GROUP BY target)
        """,
        (keep,),
    )
