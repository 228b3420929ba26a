from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pcv_config import settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Load = Callable[..., settings.Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a settings file into an empty project and loads it."""

    def write_and_load(text: str | bytes, file: str = "pcv.toml") -> settings.Settings:
        data = text.encode() if isinstance(text, str) else text
        (tmp_path / file).write_bytes(data)
        return settings.load(str(tmp_path))

    return write_and_load
