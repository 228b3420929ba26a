"""Retention: what is evidence stays, the rest goes, and verdicts stay in any case."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from contextlib import closing

import pytest

from pcvd.core.model import Judgement
from pcvd.store import Store


def stored(path, use):
    async def main():
        async with Store.open(path) as store:
            return await use(store)

    return asyncio.run(main())


def digests(done, target):
    """Every digest that the builds of `target` hold in a round, of stages and of parts."""
    artifacts = [artifact for run in done.runs for build in run.of(target) for artifact in build.artifacts]
    pieces = [*artifacts, *(part for artifact in artifacts for part in artifact.parts)]
    return {name for piece in pieces for name in (piece.raw, piece.canonical) if name is not None}


def test_the_last_rounds_of_each_target_and_the_last_trouble_are_referenced(path, make):
    rounds = [
        make.round("a.py:f", "b.py:g", verdict="unstable", salt="0"),
        make.round("a.py:f", verdict="diverged", salt="1"),
        make.round("a.py:f", salt="2"),
        make.round("a.py:f", salt="3"),
    ]

    async def use(store):
        assert await store.referenced(3) == set()
        for done in rounds:
            await store.record(done)
        return [await store.referenced(keep) for keep in (0, 1, 2, 4, 100)]

    trouble = digests(rounds[1], "a.py:f") | digests(rounds[0], "b.py:g")
    last, before = digests(rounds[3], "a.py:f"), digests(rounds[2], "a.py:f")
    everything = trouble | last | before | digests(rounds[0], "a.py:f")
    assert stored(path, use) == [trouble, trouble | last, trouble | last | before, everything, everything]


def test_pruning_removes_what_is_not_referenced_and_no_more(path, make):
    rounds = [
        make.round("a.py:f", "b.py:g", salt="0"),
        *(make.round("a.py:f", salt=str(n)) for n in (1, 2, 3)),
    ]

    async def use(store):
        for done in rounds:
            await store.record(done)
        before = await store.referenced(2)
        removed = await store.prune(2)
        assert await store.referenced(2) == before
        assert await store.referenced(100) == before, "what is left is what was referenced"
        assert await store.prune(2) == 0
        runs = [await store.runs(number) for number in (1, 2, 3, 4)]
        return removed, runs, len(await store.verdicts("a.py:f"))

    removed, runs, verdicts = stored(path, use)
    assert removed == 4, "two schedules of a.py:f in each of rounds 1 and 2"
    only_g = tuple(dataclasses.replace(run, builds=run.of("b.py:g")) for run in rounds[0].runs)
    assert runs == [only_g, (), rounds[2].runs, rounds[3].runs]
    assert verdicts == 4
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute(
            "SELECT count(*) FROM stages WHERE build NOT IN (SELECT id FROM builds)"
        ).fetchone() == (0,)
        assert connection.execute(
            "SELECT count(*) FROM parts WHERE stage NOT IN (SELECT id FROM stages)"
        ).fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM verdicts").fetchone() == (5,)


def test_a_recent_run_that_died_before_its_first_build_is_kept(path, make):
    dead = dataclasses.replace(make.run("threads:2", ["a.py:f"]), builds=(), culprits=("a.py:f",))
    done = dataclasses.replace(
        make.round("a.py:f"), runs=(dead,), judgements=(Judgement("a.py:f", "inconclusive"),)
    )

    async def use(store):
        number = await store.record(done)
        await store.prune(1)
        return await store.runs(number)

    assert stored(path, use) == (dead,)


def test_new_rounds_after_pruning_do_not_mix_with_what_is_left(path, make):
    first, second = make.round("a.py:f", salt="1"), make.round("a.py:f", salt="2")

    async def use(store):
        for done in (first, first, second):
            await store.record(done)
        await store.prune(1)
        number = await store.record(first)
        return await store.runs(number), await store.runs(3)

    assert stored(path, use) == (first.runs, second.runs)


def test_a_negative_number_of_rounds_is_a_mistake_and_changes_nothing(path, make):
    async def use(store):
        await store.record(make.round("a.py:f"))
        with pytest.raises(ValueError, match="0 or more"):
            await store.prune(-1)
        return await store.referenced(1)

    assert stored(path, use) == digests(make.round("a.py:f"), "a.py:f")
