"""Dependencies: who read which file. Answers what a change of one path concerns, at a cost that does not grow
with how many paths there are.
"""

from __future__ import annotations

import functools
import posixpath
from typing import TYPE_CHECKING

from pcvd.core import looks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_NOTHING: dict[str, str | None] = {}


class Dependencies:
    """Readers by path, and reads by reader. Paths are absolute."""

    def __init__(self) -> None:
        self._reads: dict[str, dict[str, str | None]] = {}
        self._readers: dict[str, set[str]] = {}
        self._below: dict[str, set[str]] = {}
        """Per folder, the paths below it that somebody read: a folder that is moved is one change."""
        self.version = 0
        """Grows whenever another path is read, or one is read no more."""

    def __contains__(self, path: str) -> bool:
        return path in self._readers

    def __iter__(self) -> Iterator[str]:
        """Every path that somebody read."""
        return iter(self._readers)

    @property
    def who(self) -> Collection[str]:
        """All readers."""
        return self._reads.keys()

    def put(self, reader: str, reads: Mapping[str, str | None]) -> None:
        """`reader` has read this, with these digests, and nothing else."""
        before, self._reads[reader] = self._reads.get(reader, _NOTHING), dict(reads)
        for path in before.keys() - reads.keys():
            self._forget(path, reader)
        for path in reads.keys() - before.keys():
            self._remember(path, reader)

    def update(self, reader: str, path: str, digest: str | None) -> None:
        """What `reader` read at `path` is as good as this."""
        self._reads[reader][path] = digest

    def drop(self, reader: str) -> None:
        """`reader` is no more."""
        for path in self._reads.pop(reader, _NOTHING):
            self._forget(path, reader)

    def digest(self, reader: str, path: str) -> str | None:
        """What `reader` found at `path`; None where nothing was there."""
        return self._reads[reader][path]

    def readers(self, path: str) -> set[str]:
        """Who read `path`."""
        return set(self._readers.get(path, ()))

    def below(self, folder: str) -> set[str]:
        """The paths below `folder` that somebody read."""
        return set(self._below.get(folder.rstrip("/") or "/", ()))

    def above(self, path: str) -> set[str]:
        """Of what was read, the names that stand for every file below a folder which `path` is in."""
        return {name for folder in _folders(path) if (name := looks.tree(folder)) in self._readers}

    def _remember(self, path: str, reader: str) -> None:
        readers = self._readers.get(path)
        if readers is not None:  # as for most of what ten thousand targets read
            readers.add(reader)
            return
        self._readers[path] = {reader}
        self.version += 1
        for folder in _folders(path):
            self._below.setdefault(folder, set()).add(path)

    def _forget(self, path: str, reader: str) -> None:
        readers = self._readers[path]
        readers.discard(reader)
        if readers:
            return
        del self._readers[path]
        self.version += 1
        for folder in _folders(path):
            held = self._below[folder]
            held.discard(path)
            if not held:
                del self._below[folder]


def _folders(path: str) -> tuple[str, ...]:
    """The folders that `path` is in, from the innermost to the root."""
    return _from(posixpath.dirname(path))


@functools.lru_cache(maxsize=4096)  # thousands of paths are in few folders
def _from(folder: str) -> tuple[str, ...]:
    if folder in {"", "/"}:
        return (folder,) if folder else ()
    return (folder, *_from(posixpath.dirname(folder)))
