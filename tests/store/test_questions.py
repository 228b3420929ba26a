"""What the store tells about one target, and that asking writes nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from pcvd.core.errors import StoreError
from pcvd.core.model import TargetSpec
from pcvd.store import Store

F, G = "a.py:f", "b.py:g"


def stored(path, use):
    async def main():
        async with Store.open(path) as store:
            return await use(store)

    return asyncio.run(main())


def asked(path, use):
    async def main():
        async with Store.reading(path) as store:
            return await use(store)

    return asyncio.run(main())


@pytest.fixture
def filled(path, make):
    async def fill(store):
        await store.declare([TargetSpec(G)])
        for number, verdict in enumerate(("agree", "diverged", "diverged")):
            record = make.round(F, G, verdict=verdict, salt=str(number), why=f"save {number}")
            await store.record(dataclasses.replace(record, environment={"jax": f"0.{number}"}))

    stored(path, fill)
    return path


def test_verdicts_come_newest_first_with_their_round_and_environment(filled):
    found = asked(filled, lambda store: store.verdicts(F, 2))
    assert [(one.round, one.why, one.environment) for one in found] == [
        (3, "save 2", {"jax": "0.2"}),
        (2, "save 1", {"jax": "0.1"}),
    ]
    assert found[0].judgement.verdict == "diverged"
    assert found[0].cohort == (F, G)
    assert asked(filled, lambda store: store.verdicts("nobody.py:f")) == []


def test_every_target_is_known_those_declared_now_first(filled):
    assert asked(filled, Store.entries) == [G, F]


def test_asking_beside_a_writer_sees_what_was_committed_and_writes_nothing(filled, make):
    async def main():
        async with Store.open(filled) as writer, Store.reading(filled) as reader:
            before = await reader.verdicts(F, 1)
            await writer.record(make.round(F, salt="new"))
            return before[0].round, (await reader.verdicts(F, 1))[0].round

    assert asyncio.run(main()) == (3, 4)
    with pytest.raises(StoreError, match="readonly"):
        asked(filled, lambda store: store.record(make.round(F)))


def test_a_folder_may_be_called_whatever_it_likes(filled, tmp_path):
    odd = tmp_path / "what? #1 %41"
    odd.mkdir()
    Path(filled).rename(odd / "pcv.sqlite")
    assert asked(str(odd / "pcv.sqlite"), Store.entries) == [G, F]


def test_where_nothing_was_recorded_nothing_is_created(path):
    with pytest.raises(StoreError, match="is missing"):
        asked(path, Store.entries)
    assert not Path(path).exists()


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to look like one" * 30, b"\0" * 4096]
)
def test_a_damaged_file_is_refused_and_left_alone(path, content):
    Path(path).write_bytes(content)
    with pytest.raises(StoreError):
        asked(path, Store.entries)
    assert Path(path).read_bytes() == content
