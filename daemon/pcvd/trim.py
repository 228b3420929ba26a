"""Folders that hold no more than they may: what was not wanted for longest goes. The standard library alone,
since the daemon needs it and so does a library that users import.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 1 << 30


def trim(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Remove the files that were touched longest ago, until the others are of `most_bytes` together. Raises
    OSError.
    """
    kept = 0
    for path, size in _latest_first(folder):
        kept += size
        if kept > most_bytes:
            path.unlink(missing_ok=True)


def _latest_first(folder: Path) -> list[tuple[Path, int]]:
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # removed by somebody else, or finished under its name
            info = path.stat()
            found.append((info.st_mtime_ns, path, info.st_size))
    return [(path, size) for _, path, size in sorted(found, reverse=True)]
