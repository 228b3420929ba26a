"""Rounds in the store: a finished one goes in as rows, and what is found out about it later is added."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from pcvd.core.compare import GRAVITY, INCONCLUSIVE
from pcvd.core.model import digest
from pcvd.store import reads, runs, targets
from pcvd.store.codec import encode, row, said

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import aiosqlite

    from pcvd.core.builds import Run
    from pcvd.core.model import Judgement, Read
    from pcvd.store.records import RoundRecord

_INSERT_VERDICT = """
    INSERT INTO verdicts (round, target, verdict, reason, first_stage, differing, detail, checked_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


async def insert(connection: aiosqlite.Connection, done: RoundRecord) -> int:
    """Write all rows of a finished round; its row number. The caller's transaction makes it all or nothing.

    Rows are made by generators, so that encoding them happens on the connection's thread and leaves the event
    loop free.
    """
    known = await targets.ids(connection, _entries(done), done.finished_at)
    number = await _insert_round(connection, done)
    await runs.insert(connection, number, done.runs, known)
    await connection.executemany(
        _INSERT_VERDICT,
        (_verdict_row(number, known[found.target], found, done.finished_at) for found in done.judgements),
    )
    await reads.replace(connection, {known[entry]: read for entry, read in done.reads.items()})
    return number


async def explain(
    connection: aiosqlite.Connection,
    number: int,
    found: Sequence[Judgement],
    tried: tuple[Run, ...],
    now: str,
) -> None:
    """Put judgements of round `number` in the place of those that did not know the cause, and the runs of the
    variations that were `tried` in the place of those of earlier tries: of two runs of one name, one would
    be shown here and the other there.
    """
    await runs.remove(connection, number, [run.schedule for run in tried])
    known = await targets.ids(connection, (build.target for run in tried for build in run.builds), now)
    await _insert_environments(connection, list(_environments(tried)), now)
    await runs.insert(connection, number, tried, known)
    await connection.executemany(
        """
        UPDATE verdicts SET detail = ?
        WHERE round = ? AND target = (SELECT id FROM targets WHERE entry = ?)
        """,
        [row(said(judgement), number, judgement.target) for judgement in found],
    )


async def confirm(
    connection: aiosqlite.Connection,
    found: Mapping[str, tuple[Judgement, tuple[Read, ...]]],
    now: str,
    checked_at: str | None,
) -> None:
    """Put judgements in the place of the latest ones of their targets, over other reads."""
    known = await targets.ids(connection, found, now)
    await connection.executemany(
        """
        UPDATE verdicts SET detail = ?, checked_at = coalesce(?, checked_at)
        WHERE id = (SELECT max(id) FROM verdicts WHERE target = ?)
        """,
        [row(said(judgement), checked_at, known[entry]) for entry, (judgement, _) in found.items()],
    )
    await reads.replace(connection, {known[entry]: read for entry, (_, read) in found.items()})


def _entries(done: RoundRecord) -> Iterable[str]:
    built = (build.target for run in done.runs for build in (*run.builds, *run.kernels))
    return chain(done.cohort, (found.target for found in done.judgements), done.reads, built)


def _outcome(judgements: tuple[Judgement, ...]) -> str:
    # A round that judged nothing is no agreement.
    # One that judged otherwise than verdicts are called is the table's to refuse.
    words = {verdict: place for place, verdict in enumerate(GRAVITY)}
    return max(
        (found.verdict for found in judgements),
        key=lambda word: words.get(word, len(words)),
        default=INCONCLUSIVE,
    )


async def _insert_round(connection: aiosqlite.Connection, done: RoundRecord) -> int:
    environments = [done.environment, *_environments(done.runs)]
    await _insert_environments(connection, environments, done.started_at)
    ((number,),) = await connection.execute_fetchall(
        """
        INSERT INTO rounds (started_at, finished_at, why, cohort, environment, outcome)
        VALUES (?, ?, ?, ?, (SELECT id FROM environments WHERE digest = ?), ?) RETURNING id
        """,
        row(
            done.started_at, done.finished_at, done.why, encode(done.cohort),
            digest(encode(done.environment).encode()), _outcome(done.judgements),
        ),
    )  # fmt: skip
    return int(number)


def _environments(made: tuple[Run, ...]) -> Iterator[dict[str, Any]]:
    return (environment for run in made for environment in run.environments)


async def _insert_environments(
    connection: aiosqlite.Connection, environments: list[dict[str, Any]], now: str
) -> None:
    described = {text: digest(text.encode()) for text in map(encode, environments)}
    await connection.executemany(
        """
        INSERT INTO environments (digest, description, first_seen) VALUES (?, ?, ?)
        ON CONFLICT (digest) DO NOTHING
        """,
        [(name, text, now) for text, name in described.items()],
    )


def _verdict_row(number: int, target: int, found: Judgement, checked_at: str) -> tuple[object, ...]:
    return row(
        number, target, found.verdict, found.reason, found.first_stage, encode(found.differing),
        said(found), checked_at,
    )  # fmt: skip
