"""Work that nobody waits for."""

from __future__ import annotations

import asyncio
import gc

import pytest

from pcvd.builders.background import Background


def test_what_has_begun_is_kept_until_it_is_done_though_its_waiter_gives_up():
    async def play():
        background, go, done = Background(), asyncio.Event(), []

        async def work():
            await go.wait()
            done.append("it")

        background.begin(work())
        waiting = asyncio.create_task(background.done())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gc.collect()
        go.set()
        await background.done()
        await background.done()  # of nothing
        return done

    assert asyncio.run(play()) == ["it"]


def test_all_can_be_given_up():
    async def play():
        background, ended = Background(), []

        async def work():
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("given up")

        for _ in range(2):
            background.begin(work())
        await asyncio.sleep(0)
        await background.cancel()
        return ended

    assert asyncio.run(play()) == ["given up"] * 2
