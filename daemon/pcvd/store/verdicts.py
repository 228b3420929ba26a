"""Verdicts in the store: where every target stands, and how one came there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from pcvd.core.model import Judgement
from pcvd.core.succession import is_open
from pcvd.jsontext import clean
from pcvd.store import reads, targets
from pcvd.store.codec import decode, row, strings
from pcvd.store.records import Standing, VerdictRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import aiosqlite

    from pcvd.core.model import Read


class _There(msgspec.Struct):
    """Nothing of it matters but that it is there: unlike msgspec.Raw, msgspec.convert can make it too."""


class _Evidence(msgspec.Struct):
    schedules: dict[str, _There] = {}
    untraced: list[str] = []


class _Cause(msgspec.Struct):
    kind: str
    evidence: list[_There] = []


class _Gist(msgspec.Struct):
    """What has to be known of a judgement before anybody asks for it: the rest is passed over."""

    evidence: _Evidence
    cause: _Cause | None = None

    @property
    def puzzling(self) -> bool:
        return self.cause is not None and is_open(self.cause.kind, self.cause.evidence)


_PAGE = """
    WITH page AS (
        SELECT t.id, t.entry, t.args, t.file, t.line, v.id AS verdict, v.round
        FROM targets t JOIN verdicts v ON v.id = (SELECT max(id) FROM verdicts WHERE target = t.id)
        WHERE t.active = 1 AND t.entry > ? ORDER BY t.entry LIMIT ?)
"""


async def standings(connection: aiosqlite.Connection, after: str, most: int) -> list[Standing]:
    """The last verdict of the active targets that have one, by entry: of those behind `after`, at most `most`
    (-1: all). As many statements for any number.
    """
    page = row(after, most)
    latest = await connection.execute_fetchall(
        _PAGE  # noqa: S608 - a constant
        + """
        SELECT p.id, p.entry, p.args, p.file, p.line, p.round, v.verdict, v.detail, v.checked_at
        FROM page p JOIN verdicts v ON v.id = p.verdict ORDER BY p.entry
        """,
        page,
    )
    # A cohort may name every target: one that all of them share is fetched and decoded once, not with each.
    rounds = await connection.execute_fetchall(
        _PAGE  # noqa: S608 - a constant
        + """
        SELECT r.id, r.cohort, e.digest FROM rounds r JOIN environments e ON e.id = r.environment
        WHERE r.id IN (SELECT round FROM page)
        """,
        page,
    )
    differed = await connection.execute_fetchall(
        _PAGE  # noqa: S608 - a constant
        + """
        SELECT v.target, r.cohort, v.verdict FROM page p
        JOIN verdicts v ON v.id = (
            SELECT max(id) FROM verdicts WHERE target = p.id AND verdict <> 'inconclusive')
        JOIN rounds r ON r.id = v.round
        WHERE v.verdict <> 'agree'
        """,
        page,
    )
    read = await reads.select(connection, (target for target, *_ in latest))
    # Looking into thousands of judgements takes a while: not on the event loop.
    held = {target: (cohort, verdict) for target, cohort, verdict in differed}
    return await asyncio.to_thread(_standings, latest, rounds, held, read)


def _standings(
    latest: Iterable[Any],
    rounds: Iterable[Any],
    differed: dict[int, tuple[str, str]],
    read: Mapping[int, tuple[Read, ...]],
) -> list[Standing]:
    held = {number: (strings(cohort), environment) for number, cohort, environment in rounds}
    found = []
    for target, entry, args, file, line, number, verdict, detail, checked_at in latest:
        cohort, environment = held[number]
        gist = decode(detail, _Gist)
        found.append(
            Standing(
                target=targets.spec(entry, args, file, line),
                verdict=verdict,
                said=detail,
                schedules=tuple(gist.evidence.schedules),
                checked_at=checked_at,
                reads=read.get(target, ()),
                environment=environment,
                cohort=cohort,
                differed=strings(differed[target][0]) if target in differed else (),
                grave=target in differed and differed[target][1] != "equivalent",
                unexplained=number if gist.puzzling else None,
                untraced=bool(gist.evidence.untraced),
            )
        )
    return found


async def latest(connection: aiosqlite.Connection, target: str, limit: int) -> list[VerdictRecord]:
    """The last `limit` verdicts on `target` with all that is known of them, newest first."""
    found = await connection.execute_fetchall(
        """
        SELECT v.round, r.finished_at, v.checked_at, r.why, r.cohort, e.description, v.detail
        FROM targets t JOIN verdicts v ON v.target = t.id
        JOIN rounds r ON r.id = v.round JOIN environments e ON e.id = r.environment
        WHERE t.entry = ? ORDER BY v.id DESC LIMIT ?
        """,
        (clean(target), limit),
    )
    return [
        VerdictRecord(
            number, judged_at, checked_at, why, strings(cohort), decode(environment, dict[str, Any]),
            decode(detail, Judgement),
        )
        for number, judged_at, checked_at, why, cohort, environment, detail in found
    ]  # fmt: skip


async def entries(connection: aiosqlite.Connection) -> list[str]:
    """Every target that was ever declared or judged: those declared now first, then by entry."""
    found = await connection.execute_fetchall("SELECT entry FROM targets ORDER BY active DESC, entry")
    return [entry for (entry,) in found]
