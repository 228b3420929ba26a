"""The barrier: who waits is let go once the watcher told of the cookie, is silent for too long, or ends."""

from __future__ import annotations

import asyncio

import pytest

from pcvd import barrier as module
from pcvd.barrier import Barrier


@pytest.fixture
def barrier(tmp_path):
    made = Barrier(str(tmp_path / "cookies"))
    made.prepare()
    return made


async def cookies(folder):
    """The cookies that there are, once somebody waits."""
    await asyncio.sleep(0)  # until it waits, it does not give way
    return [str(path) for path in folder.iterdir()]


def test_it_is_passed_once_the_watcher_has_told_of_the_cookie(barrier, tmp_path):
    async def scenario():
        waiting = asyncio.create_task(barrier.passed())
        (cookie,) = await cookies(tmp_path / "cookies")
        barrier.told([str(tmp_path / "model.py")])
        await asyncio.sleep(0)
        assert not waiting.done()
        barrier.told([cookie])
        return await waiting

    assert asyncio.run(scenario()) is True
    assert list((tmp_path / "cookies").iterdir()) == []


def test_a_watcher_that_never_tells_is_not_waited_for(barrier, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    assert asyncio.run(barrier.passed()) is False


def test_without_its_folder_it_says_no(tmp_path):
    assert asyncio.run(Barrier(str(tmp_path / "gone")).passed()) is False


def test_when_all_is_over_nobody_waits(barrier, tmp_path):
    async def scenario():
        waiting = asyncio.create_task(barrier.passed())
        await cookies(tmp_path / "cookies")
        barrier.end()
        return await waiting, await barrier.passed()

    assert asyncio.run(scenario()) == (False, False)


def test_its_own_files_are_nobody_elses_news(barrier, tmp_path):
    own = {str(tmp_path / "cookies"), str(tmp_path / "cookies" / "1-0")}
    assert barrier.others({*own, str(tmp_path / "a.py")}) == {str(tmp_path / "a.py")}
