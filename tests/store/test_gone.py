"""The file of a store that is open, removed or replaced."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from pcvd.core.model import TargetSpec
from pcvd.store import Store, StoreGone

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _remove(path: Path) -> None:
    path.unlink()


def _replace(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


@pytest.mark.parametrize("harm", [_remove, _replace])
def test_nothing_is_read_or_written_any_more(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    path = tmp_path / "pcv.sqlite"

    async def scenario() -> None:
        async with Store.open(str(path)) as store:
            await store.declare([TargetSpec("m.py:f")])
            store.require()
            assert store.stands
            harm(path)
            assert not store.stands
            with pytest.raises(StoreGone, match="removed or replaced"):
                store.require()
            with pytest.raises(StoreGone, match=r"pcv\.sqlite"):
                await store.declare([])
            with pytest.raises(StoreGone):
                await store.standings()

    asyncio.run(scenario())


def test_one_made_afresh_can_be_opened_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "pcv.sqlite")

    async def scenario() -> None:
        async with Store.open(path):
            _remove(tmp_path / "pcv.sqlite")
            async with Store.open(path) as another:
                assert another.stands
                assert await another.standings() == []

    asyncio.run(scenario())
