"""Whoever waits at the desk when the loop ends hears why: the daemon ends, or begins anew and will answer."""

from __future__ import annotations

import asyncio

import pytest

from pcvd.barrier import Barrier
from pcvd.board import Board
from pcvd.changes import Changes
from pcvd.core.errors import SetupError
from pcvd.core.plan import Plan
from pcvd.desk import Desk
from pcvd.files import Files
from pcvd.pulse import Pulse
from pcvd.store import Store, StoreGone

ASKED = {
    "recovered": Desk.recovered,
    "settled": Desk.settled,
    "look": Desk.look,
    "recheck": lambda desk: desk.recheck([]),
    "vary": lambda desk: desk.vary([], ["order"]),
    "news": lambda desk: _second(desk.news()),
}


async def _second(news):
    await anext(news)
    return await anext(news)


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("question", ASKED)
def test_when_the_loop_ends(tmp_path, question, removed):
    path = tmp_path / "pcv.sqlite"

    async def scenario():
        async with Store.open(str(path)) as store:
            pulse = Pulse()
            root = str(tmp_path)
            changes, barrier = Changes(root, Files()), Barrier(str(tmp_path / "cookies"))
            desk = Desk(Plan(), Board(root), store, pulse, changes, barrier, None)
            waiting = asyncio.ensure_future(ASKED[question](desk))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not waiting.done()
            if removed:
                path.unlink()
            await pulse.end()
            await waiting

    with pytest.raises(StoreGone if removed else SetupError):
        asyncio.run(scenario())
