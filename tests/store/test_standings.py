"""Standings and history: where the declared targets stand, and how they came there."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import sqlite3
from contextlib import closing

import pytest

from pcvd.core.model import Judgement, Read, TargetSpec, digest
from pcvd.core.succession import confirmed, puzzling
from pcvd.store import Discovered, Standing, Store
from pcvd.store.codec import decode, encode, said

F = TargetSpec("a.py:f", ("f32[32,128]", "a.py:init"), "pcv.toml", 7)
G = TargetSpec("b.py:g", "b.py:args", "b.py", 12)
H = TargetSpec("c.py:h")


def stored(path, use):
    async def main():
        async with Store.open(path) as store:
            return await use(store)

    return asyncio.run(main())


def test_a_standing_holds_all_that_was_recorded_also_after_reopening(path, make):
    judgement = Judgement(
        target="a.py:f",
        verdict="diverged",
        reason="the control agrees",
        first_stage="object",
        differing=("object", "executable"),
        stages={"object": {"serial": "aa", "threads:2": None}},
        output={"bitwise": False, "max_abs": math.inf, "max_rel": 0.5, "within_tolerance": False},
        evidence={"rounds": 1, "schedules": {"serial": {"builds": 1}}},
        cause={"kind": "compile-order", "line": 12},
    )
    reads = (
        Read("absent", "/p/x.py"),
        Read("env", "XLA_FLAGS", digest(b"")),
        Read("file", "/p/a.py", digest(b"a")),
        Read("file", b"/p/caf\xe9.npy".decode("utf-8", "surrogateescape"), digest(b"data")),
    )
    done = dataclasses.replace(
        make.round("a.py:f", "b.py:g"), judgements=(judgement,), reads={"a.py:f": tuple(reversed(reads))}
    )

    async def record(store):
        await store.declare([F])
        await store.record(done)

    stored(path, record)
    expected = Standing(
        target=F,
        verdict="diverged",
        said=said(judgement),
        schedules=("serial",),
        checked_at="2026-01-01T00:00:05Z",
        reads=reads,
        environment=digest(encode(done.environment).encode()),
        cohort=("a.py:f", "b.py:g"),
        differed=("a.py:f", "b.py:g"),
        grave=True,
        unexplained=1,
    )
    assert stored(path, Store.standings) == [expected]
    assert decode(expected.said, Judgement) == judgement


@pytest.mark.parametrize(
    ("cause", "unexplained"),
    [
        (None, False),
        ({"kind": "schedule"}, True),
        ({"kind": "process", "evidence": []}, True),
        ({"kind": "order", "evidence": [{"variation": "order"}]}, False),
        ({"kind": "run"}, False),
    ],
)
def test_a_difference_that_nobody_has_explained_is_remembered(cause, unexplained, path, make):
    judgement = Judgement(F.entry, "diverged", cause=cause)

    async def use(store):
        await store.declare([F])
        await store.record(make.round(F.entry))
        number = await store.record(dataclasses.replace(make.round(F.entry), judgements=(judgement,)))
        return number, (await store.standings())[0].unexplained

    number, found = stored(path, use)
    assert found == (number if unexplained else None)
    assert unexplained is puzzling(judgement)


def test_only_the_last_verdict_stands(path, make):
    async def use(store):
        await store.declare([F, G])
        seen = []
        for verdict in ("agree", "agree", "diverged", "agree", "agree", "agree"):
            await store.record(make.round("a.py:f", verdict=verdict))
            (standing,) = await store.standings()
            seen.append(standing.verdict)
            await store.record(
                make.round("c.py:h", verdict="unstable")
            )  # another target's rounds do not count
        return seen

    assert stored(path, use) == ["agree", "agree", "diverged", "agree", "agree", "agree"]


def test_declaring_replaces_the_active_set_and_history_stays(path, make):
    async def use(store):
        await store.declare([F, G])
        await store.record(make.round("a.py:f", "b.py:g"))
        await store.declare([G, H])
        without = [standing.target for standing in await store.standings()]
        history = await store.verdicts("a.py:f")
        moved = dataclasses.replace(F, line=9, args=None)
        await store.declare([moved])
        again = [standing.target for standing in await store.standings()]
        await store.declare([])
        return without, len(history), again, await store.standings()

    assert stored(path, use) == ([G], 1, [dataclasses.replace(F, line=9, args=None)], [])


def test_a_verdict_on_a_target_declared_no_more_does_not_bring_it_back(path, make):
    async def use(store):
        await store.declare([F])
        await store.record(make.round("a.py:f", "b.py:g"))  # b.py:g was removed while it was being built
        before = [standing.target.entry for standing in await store.standings()]
        await store.declare([F, G])
        return before, [standing.target for standing in await store.standings()]

    assert stored(path, use) == (["a.py:f"], [F, G])


def test_reads_are_those_of_the_last_round_that_recorded_them(path, make):
    async def use(store):
        await store.declare([F])
        first = make.round("a.py:f")
        await store.record(first)
        await store.record(dataclasses.replace(first, reads={}))
        kept = (await store.standings())[0].reads
        await store.record(
            dataclasses.replace(first, reads={"a.py:f": (Read("env", "HOME"), Read("env", "HOME", "ab"))})
        )
        replaced = (await store.standings())[0].reads
        await store.record(dataclasses.replace(first, reads={"a.py:f": ()}))
        return kept == first.reads["a.py:f"], replaced, (await store.standings())[0].reads

    assert stored(path, use) == (True, (Read("env", "HOME", "ab"),), ())


def test_what_some_targets_rest_on_can_be_asked_for(path, make):
    async def use(store):
        await store.declare([F, G])
        done = make.round("a.py:f", "b.py:g")
        await store.record(done)
        return await store.reads(["a.py:f", "c.py:none"]), done.reads["a.py:f"], await store.reads([])

    found, recorded, nothing = stored(path, use)
    assert list(found) == ["a.py:f"]
    assert set(found["a.py:f"]) == {dataclasses.replace(read, stat=None) for read in recorded}
    assert nothing == {}


def test_that_a_verdict_is_to_be_traced_under_further_schedules_is_remembered(path, make):
    async def use(store):
        await store.declare([F])
        await store.record(make.round("a.py:f"))
        (record,) = await store.verdicts("a.py:f", 1)
        told = []
        for untraced in (["threads:4"], []):
            stands = confirmed(record.judgement, "other", untraced)
            await store.confirm({"a.py:f": (stands, (Read("file", "/a.py", "2"),))}, "2027-01-01T00:00:00Z")
            told.append((await store.standings())[0].untraced)
        (after,) = await store.verdicts("a.py:f", 1)
        assert (after.judged_at, after.checked_at) == (record.checked_at, "2027-01-01T00:00:00Z")
        await store.confirm({"a.py:f": (record.judgement, ())})
        (doubted,) = await store.verdicts("a.py:f", 1)
        assert (doubted.checked_at, doubted.judgement) == (after.checked_at, record.judgement)
        return told

    assert stored(path, use) == [True, False]


def test_what_targets_read_alike_is_stored_once_and_what_nobody_reads_any_more_goes(path, make):
    jax = Read("version", "jax", "0.10.2")

    async def use(store):
        await store.declare([F, G])
        done = make.round("a.py:f", "b.py:g")
        own = {entry: done.reads[entry][0] for entry in done.cohort}
        await store.record(dataclasses.replace(done, reads={entry: (own[entry], jax) for entry in own}))
        before = held(path)
        await store.record(dataclasses.replace(done, reads={"a.py:f": (jax,)}))
        await store.prune(1)
        return own, before

    own, before = stored(path, use)
    file, other = (own[entry] for entry in ("a.py:f", "b.py:g"))
    assert before == (
        {file, other, jax},
        {("a.py:f", file), ("a.py:f", jax), ("b.py:g", other), ("b.py:g", jax)},
    )
    assert held(path) == ({other, jax}, {("a.py:f", jax), ("b.py:g", other), ("b.py:g", jax)})


def test_what_is_declared_already_is_not_written_again(path):
    async def use(store):
        connection = store._database._connection
        await store.declare([F, G])
        changes = connection.total_changes
        await store.declare([G, F])
        unchanged = connection.total_changes - changes
        await store.declare([F, dataclasses.replace(G, line=13)])
        return unchanged, connection.total_changes - changes

    unchanged, changed = stored(path, use)
    assert unchanged == 0 < changed


def test_what_model_files_declare_is_remembered_until_they_are_asked_again(path, make):
    jax, own = Read("version", "jax", "0.10.2"), Read("file", "/p/b.py", "bb")
    first, second = Discovered("a.py", (F,), (jax,)), Discovered("b.py", (G, H), (own, jax))

    async def use(store):
        await store.discovered(["a.py", "b.py"], [first, second])
        both = await store.discoveries()
        await store.prune(1)
        pruned = await store.discoveries()
        await store.discovered(["a.py", "b.py"], [dataclasses.replace(second, targets=())])
        return both, pruned, await store.discoveries()

    both, pruned, left = stored(path, use)
    assert both == pruned == [first, second]
    assert left == [dataclasses.replace(second, targets=())]


def held(path):
    """What the table of reads holds, and who depends on what, as somebody with a SQLite shell would ask."""
    with closing(sqlite3.connect(path)) as connection:
        reads = connection.execute("SELECT kind, name, digest FROM reads").fetchall()
        dependencies = connection.execute(
            "SELECT entry, kind, name, digest FROM dependencies JOIN targets ON targets.id = target"
        ).fetchall()
    assert len(reads) == len(set(reads))
    return {Read(*read) for read in reads}, {(entry, Read(*read)) for entry, *read in dependencies}


def test_history_is_newest_first_and_limited(path, make):
    async def use(store):
        for n, verdict in enumerate(("agree", "diverged", "unstable")):
            done = make.round("a.py:f", "b.py:g", why=f"save {n}")
            judgement = Judgement("a.py:f", verdict, first_stage=None if verdict == "agree" else "hlo")
            await store.record(dataclasses.replace(done, judgements=(judgement,)))
        return (
            await store.verdicts("a.py:f", limit=2),
            await store.verdicts("b.py:g"),
            await store.verdicts("no such"),
        )

    rows, unjudged, unknown = stored(path, use)
    cohort = ("a.py:f", "b.py:g")
    assert [(row.round, row.checked_at, row.why, row.cohort) for row in rows] == [
        (3, "2026-01-01T00:00:05Z", "save 2", cohort),
        (2, "2026-01-01T00:00:05Z", "save 1", cohort),
    ]
    assert [(row.judgement.verdict, row.judgement.first_stage) for row in rows] == [
        ("unstable", "hlo"),
        ("diverged", "hlo"),
    ]
    assert (unjudged, unknown) == ([], [])


def test_two_thousand_targets_stand_by_as_many_statements_as_two(path, make):
    async def statements(store) -> tuple[int, int]:
        traced = []
        connection = store._database._connection
        await connection.set_trace_callback(traced.append)
        standings = await store.standings()
        await connection.set_trace_callback(None)
        return len(standings), len(traced)

    async def use(store):
        await store.declare([F, G])
        await store.record(make.round("a.py:f", "b.py:g"))
        few = await statements(store)
        many = [TargetSpec(f"models/m{n:04}.py:f", "args", "pcv.toml", n + 1) for n in range(2_000)]
        await store.declare(many)
        await store.record(make.round(*(target.entry for target in many)))
        await store.record(make.round(*(target.entry for target in many[:10]), verdict="diverged"))
        standings = await store.standings()
        assert [standing.target for standing in standings] == many
        assert [standing.verdict for standing in standings] == ["diverged"] * 10 + ["agree"] * 1_990
        assert all(standing.reads[0].name == f"/p/{standing.target.entry}" for standing in standings)
        assert (len(standings[0].cohort), len(standings[-1].cohort)) == (10, 2_000)
        return few, await statements(store)

    few, many = stored(path, use)
    assert few[0] == 2
    assert many == (2_000, few[1])
