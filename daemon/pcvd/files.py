"""Files and their contents: the stat is a hint, the hash is the proof."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Stat = tuple[int, int, int, int]

_SETTLED_NS = 50_000_000
"""A file is trusted by its stat only when it was already this old as it was hashed: within one tick of the
file system's clock it can change again without its stat telling.
"""

_CHUNK = 1 << 20


class Files:
    """Digests of files, remembered as long as a file's stat says that nothing happened to it."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Stat, str]] = {}

    async def digests(self, paths: Iterable[str]) -> dict[str, str | None]:
        """SHA-256 of each file's contents; None for what is not there, is no file or can't be read."""
        wanted = list(paths)
        return await asyncio.to_thread(lambda: {path: self.digest(path) for path in wanted})

    def digest(self, path: str) -> str | None:
        """SHA-256 of one file's contents, or None. Reads the file unless its stat is the known one."""
        stat = stat_of(path)
        if stat is None:
            self._known.pop(path, None)
            return None
        known = self._known.get(path)
        if known is not None and known[0] == stat:
            return known[1]
        seen = time.time_ns()
        try:
            digest = _hash(path)
        except OSError:
            return None
        if stat_of(path) == stat and seen - max(stat[0], stat[1]) > _SETTLED_NS:
            self._known[path] = (stat, digest)
        return digest

    async def stats(self, paths: Iterable[str]) -> dict[str, Stat | None]:
        """Each file's stat as it is now."""
        wanted = list(paths)
        return await asyncio.to_thread(lambda: {path: stat_of(path) for path in wanted})


def stat_of(path: str) -> Stat | None:
    """(mtime_ns, ctime_ns, size, inode) of a regular file, or None."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    if not os.path.isfile(path):
        return None
    return (info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino)


def _hash(path: str) -> str:
    seen = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            seen.update(chunk)
    return seen.hexdigest()
