"""Files and their contents, folders and their listings: the stat is a hint, the hash is the proof."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import time
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from pcvd.core import looks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Stat = tuple[int, int, int, int]

_SETTLED_NS = 50_000_000
"""A file is trusted by its stat only when it was already this old as it was hashed: within one tick of the
file system's clock it can change again without its stat telling.
"""

_CHUNK = 1 << 16  # bytes


class Seen(NamedTuple):
    """What a file was found to hold: its digest, and whether it may declare targets."""

    stat: Stat
    digest: str
    declares: bool


class Files:
    """What files hold, remembered as long as a file's stat says that nothing happened to it."""

    def __init__(self) -> None:
        self._known: dict[str, Seen] = {}
        self._recalled: dict[str, Seen] = {}
        """What an earlier life saw; of each file, until it is looked at."""

    async def digests(self, paths: Iterable[str], *, sparse: bool = False) -> dict[str, str | None]:
        """SHA-256 of each file's contents or folder's listing; None for what is not there, is neither or
        can't be read. Names may also be those of `core.looks`. `sparse`: most of them are not there, which
        listing their folders tells more quickly.
        """
        wanted = list(paths)
        return await asyncio.to_thread(self._digests, wanted, sparse)

    def _digests(self, paths: Sequence[str], sparse: bool) -> dict[str, str | None]:
        digests: dict[str, str | None] = dict.fromkeys(paths)
        for path in _not_absent(paths) if sparse else paths:
            digests[path] = self.digest(path)
        return digests

    def digest(self, path: str) -> str | None:
        """The digest of one name, or None. Reads a file unless its stat is the known one."""
        if path.endswith(looks.TREE):
            return _tree(looks.path_of(path))
        path = looks.file_of(path)
        if path.endswith("/"):
            return looks.place_digest(os.path.realpath(path)) if os.path.isdir(path) else None
        seen = self._look(path)
        return None if seen is None else seen.digest

    def may_declare(self, path: str) -> bool:
        """Whether a Python file's text mentions what a declaration needs; only such files are imported to ask
        them. False where it can't be read.
        """
        seen = self._look(path)
        return seen is not None and seen.declares

    @property
    def known(self) -> dict[str, Seen]:
        """What was looked at, for a later life to recall."""
        return dict(self._known)

    def recall(self, seen: Mapping[str, Seen]) -> None:
        """An earlier life saw this. It is believed of a file whose stat is still the same."""
        self._recalled |= seen

    def _look(self, path: str) -> Seen | None:
        found = stat_of(path)
        recalled = self._recalled.pop(path, None)
        if found is None:
            self._known.pop(path, None)
            return None
        known = self._known.get(path, recalled)
        if known is not None and known.stat == found:
            self._known[path] = known
            return known
        began = time.time_ns()
        try:
            digest, declares = _read(path)
        except IsADirectoryError:
            # Not remembered: where a link in it leads may change without the folder's own stat telling.
            return _listed(path, found)
        except OSError:
            return None
        seen = Seen(found, digest, declares)
        if stat_of(path) == found and began - max(found[0], found[1]) > _SETTLED_NS:
            self._known[path] = seen
        return seen

    async def stats(self, paths: Iterable[str]) -> dict[str, Stat | None]:
        """Each file's or folder's stat as it is now."""
        wanted = list(paths)
        return await asyncio.to_thread(lambda: {path: stat_of(looks.file_of(path)) for path in wanted})


def _not_absent(paths: Iterable[str]) -> Iterator[str]:
    """`paths` without those that the listing of their folder does not hold."""
    listed: dict[str, set[str] | None] = {}
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in listed:
            listed[folder] = _names(folder)
        names = listed[folder]
        # Names of `looks` are in no listing.
        if names is None or _folded(name) in names or looks.path_of(path) != path:
            yield path


def _names(folder: str) -> set[str] | None:
    """The names in a folder, folded; None where that can't be found out."""
    try:
        return set(map(_folded, os.listdir(folder)))
    except FileNotFoundError:
        return set()
    except (OSError, ValueError):
        return None


def _folded(name: str) -> str:
    """The same for all names that some file system takes for one."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFKD", name).casefold()


def stat_of(path: str) -> Stat | None:
    """(mtime_ns, ctime_ns, size, inode) of a regular file or a folder, or None."""
    try:
        info = os.stat(path)
    except (OSError, ValueError):
        return None
    if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
        return None
    return (info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino)


def _read(path: str) -> tuple[str, bool]:
    """The digest of what a file holds, and whether that may declare targets. Raises OSError."""
    # Not through a buffer, which costs as much as reading: a start looks at every file that was read.
    with open(path, "rb", buffering=0) as file:
        if path.endswith(".py"):
            text = file.read()
            return hashlib.sha256(text).hexdigest(), b"pcv" in text and b"target" in text
        seen = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            seen.update(chunk)
    return seen.hexdigest(), False


def _listed(path: str, found: Stat) -> Seen | None:
    """What a folder holds: the names in it."""
    try:
        with os.scandir(path) as entries:
            digest = looks.listing_digest((entry.name, entry.is_dir()) for entry in entries)
    except OSError:
        return None
    return Seen(found, digest, declares=False)


def _tree(root: str) -> str | None:
    """A digest that changes when any file below `root` does, by their stats; None where there is no folder.

    Contents are not read: it stands for what programs read of which nothing is known, and a save is told by
    its time.
    """
    if not os.path.isdir(root):
        return None
    seen = hashlib.sha256()
    for path, found in sorted(_below(root)):
        seen.update(f"{path}\0{found}\0".encode(errors="surrogateescape"))
    return seen.hexdigest()


def _below(root: str) -> Iterator[tuple[str, Stat | None]]:
    for parent, folders, files in os.walk(root):
        # Hidden folders are tools' own; a virtual environment is the premises' business.
        folders[:] = [
            name
            for name in folders
            if looks.is_listed(name)
            and not name.startswith(".")
            and not os.path.exists(os.path.join(parent, name, "pyvenv.cfg"))
        ]
        for name in files:
            if looks.is_listed(name):
                path = os.path.join(parent, name)
                yield path, stat_of(path)
