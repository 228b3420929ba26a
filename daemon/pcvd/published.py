"""The status files: `.pcv/status.json` and `.pcv/status.txt`, for when no daemon runs, for shell prompts
and for editors.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pcv_config import places
from pcvctl.offline import stale
from pcvctl.render import render
from pcvd import jsontext
from pcvd.core.compare import AGREE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcvd.status import Status

_WIDTH = 100


class Published:
    """Writes the status files, each at once or not at all, and only when something in them changed."""

    def __init__(self, root: str) -> None:
        self._json, self._text = (
            Path(places.state(root, "status.json")),
            Path(places.state(root, "status.txt")),
        )
        self._writing = threading.Lock()
        self._last: bytes | None = b""

    def write(self, status: Status, brief: Status) -> None:
        """Put the whole status into one file, and the brief one as text into the other; not after the last
        words. May be called on another thread.
        """
        told = status.digest()
        with self._writing:
            if self._last is None or told == self._last:
                return
            _replace(self._json, status.pieces())
            _replace(self._text, [render(brief.plain(), now=None, width=_WIDTH).encode()])
            self._last = told

    def write_down(self, status: Status, most: int) -> None:
        """The last words: the same verdicts, with nobody left to keep them fresh. The text lists not more
        than `most` targets, those that differ before the others.
        """
        last = stale(status.plain())
        graver = sorted(last["targets"], key=lambda target: target["verdict"] == AGREE)
        brief = {**last, "targets": graver[:most], "unshown": max(0, len(graver) - most)}
        # A thread that nobody waits for any more may still be writing.
        with self._writing:
            self._last = None
            _replace(self._json, [jsontext.encode(last)])
            _replace(self._text, [render(brief, now=None, width=_WIDTH).encode()])


def _replace(path: Path, pieces: Iterable[bytes]) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with unfinished.open("wb") as file:
        file.writelines(pieces)
    unfinished.replace(path)
