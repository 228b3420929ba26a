"""When and where status files are written."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pcvd import bulletin
from pcvd.bulletin import Bulletin


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(bulletin, "_LATER_S", 0.0)


def play(scene, publish):
    """Run `scene(bulletin, said)`, where `said` holds what there is to say."""

    async def stage():
        said = ["first"]
        held = Bulletin(lambda: (said[-1], "brief"), publish, few=2)
        running = asyncio.create_task(held.run())
        try:
            await scene(held, said)
        finally:
            running.cancel()

    asyncio.run(stage())


async def until(holds):
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # what a thread does wakes nobody
            await asyncio.sleep(0.001)


def test_few_targets_are_written_at_once():
    written = []

    async def scene(held, _):
        held.change(2, idle=False, awaited=True)
        assert written == [("first", "brief", threading.main_thread())]

    play(scene, lambda *words: written.append((*words, threading.current_thread())))


def test_many_are_written_beside_the_loop_and_as_they_are_then():
    written = []

    async def scene(held, said):
        held.change(3, idle=True, awaited=False)
        said.append("second")
        assert written == []
        await until(lambda: written)
        ((text, _, thread),) = written
        assert text == "second"
        assert thread is not threading.main_thread()

    play(scene, lambda *words: written.append((*words, threading.current_thread())))


def test_what_changes_while_it_is_written_is_written_after_it():
    written, go = [], threading.Event()

    def publish(*words):
        written.append(words)
        go.wait(60)

    async def scene(held, said):
        held.change(3, idle=True, awaited=False)
        await until(lambda: written)
        said.append("second")
        held.change(3, idle=True, awaited=False)
        go.set()
        await until(lambda: len(written) == 2)
        assert written[-1] == ("second", "brief")

    play(scene, publish)


@pytest.mark.parametrize("targets", [1, 3])
def test_what_could_not_be_written_is_tried_at_the_next_change(targets):
    tried = []

    def publish(*words):
        tried.append(words)
        raise OSError(28, "No space left on device")

    async def scene(held, _):
        for number in (1, 2):
            held.change(targets, idle=True, awaited=False)
            await until(lambda number=number: len(tried) == number)

    play(scene, publish)
