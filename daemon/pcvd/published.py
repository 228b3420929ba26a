"""The status files: `.pcv/status.json` and `.pcv/status.txt`, for when no daemon runs, for shell prompts
and for editors.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pcv_config import places
from pcvctl.offline import stale
from pcvctl.render import render
from pcvd import jsontext

_WIDTH = 100


class Published:
    """Writes the status files, each at once or not at all, and only when something in them changed."""

    def __init__(self, root: str) -> None:
        self._json, self._text = (
            Path(places.state(root, "status.json")),
            Path(places.state(root, "status.txt")),
        )
        self._last = b""

    def write(self, document: dict[str, Any]) -> None:
        """Put `document` into both files."""
        told = jsontext.encode({**document, "daemon": {**document["daemon"], "uptime_s": 0.0}})
        if told == self._last:
            return
        self._last = told
        _replace(self._json, jsontext.encode(document))
        _replace(self._text, render(document, now=None, width=_WIDTH).encode())

    def write_down(self, document: dict[str, Any]) -> None:
        """The last words: the same verdicts, with nobody left to keep them fresh."""
        self.write(stale(document))


def _replace(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_bytes(data)
    unfinished.replace(path)
