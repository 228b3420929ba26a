"""What a build read: files, files looked for in vain, folders listed, environment variables, programs run,
and which module imported which.

That is the dependency graph; nothing is declared by hand. What happens is heard of by hooks (`hooks`,
`imports`), but not who needed it: two targets may share a module that only the first of them caused to be
imported, or to read and keep a file. So every read is booked under its *owner*, the module being executed or
the target being worked on, and under the modules whose code asked for it; imports are booked as edges between
owners, and what a target read is what can be reached from it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import sys
import sysconfig
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pcv
from pcvd.core import looks
from pcvd.core.model import Read
from pcvd.worker import given, hooks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

Stat = tuple[int, int, int, int]

ANYBODY = "anybody"
"""The owner of what happens on threads that no target was given: a model's own, and the compiler's, which run
callbacks. Whom it serves can't be known, so every target of the process depends on it.
"""

_OWN_VARIABLES = frozenset({"PYTHONHASHSEED", "PYTHONUNBUFFERED"})
"""Variables that pcv itself sets, one way or another per worker."""

_stat = os.stat  # the hooks replace it by one that tells of every look


class Ledger:
    """Books reads under their owners. One per process; `install` puts its hooks in place, for good."""

    def __init__(self, ignored: tuple[str, ...]) -> None:
        """`ignored`: folders whose files are nobody's dependency (pcv's own store and scratch folder)."""
        self._ignored = (*(os.path.join(folder, "") for folder in ignored), *_installed_prefixes())
        self._owner = threading.local()
        self._owner.name = None  # pcv's own thread: what it does for nobody is nobody's
        self._reads: dict[str, dict[Read, None]] = {}
        self._edges: dict[str, set[str]] = {}
        self._listening = False
        self.project: tuple[str, ...] = ()
        """The project's folders, the root first. Outside them only files that are opened count, not looks."""

    def install(self) -> None:
        """Start to listen, for good."""
        if not self._listening:
            self._listening = True
            hooks.install(self)

    # -- owners ------------------------------------------------------------------------------------

    @property
    def current(self) -> str | None:
        """Under whom this thread's reads are booked now; None where they are not."""
        owner: str | None = getattr(self._owner, "name", ANYBODY)
        return owner

    @contextmanager
    def owner(self, name: str | None) -> Iterator[None]:
        """Within, this thread's reads are booked under `name` (None: not at all), and `name` under the
        owner outside.
        """
        outside = self.current
        # A pool's thread comes as anybody's; that it works on a target now makes the target nobody else's.
        if name is not None and outside is not None and outside != ANYBODY:
            self.depends(outside, name)
        self._owner.name = name
        try:
            yield
        finally:
            self._owner.name = outside

    def depends(self, owner: str, on: str) -> None:
        """Whatever `on` reads, `owner` needs as well."""
        self._edges.setdefault(owner, set()).add(on)

    def booked(self) -> set[Read]:
        """Everything that has been booked, under whomever."""
        return {read for reads in self._reads.values() for read in reads}

    def known(self, owner: str) -> bool:
        """Whether anything has been booked under `owner`."""
        return owner in self._reads

    def of(self, owner: str) -> list[Read]:
        """Everything that `owner` needs, directly or through others."""
        reached, waiting = {owner, ANYBODY}, [owner, ANYBODY]
        while waiting:
            # Copied: a thread that a model left behind may be booking at this very moment.
            for other in tuple(self._edges.get(waiting.pop(), ())):
                if other not in reached:
                    reached.add(other)
                    waiting.append(other)
        # One file read at two moments may have been two different files: both reads are told. A digest says
        # more than any stat.
        booked = {read for name in reached for read in tuple(self._reads.get(name, ()))}
        hashed = {(read.kind, read.name) for read in booked if read.digest is not None}
        booked = {read for read in booked if read.digest is not None or (read.kind, read.name) not in hashed}
        told = booked - _implied(booked)
        return sorted(told, key=lambda read: (read.kind, read.name, read.digest or "", read.stat or ()))

    # -- what is booked ----------------------------------------------------------------------------

    def source(self, owner: str, path: str, data: bytes) -> None:
        """A module's source was read: these very bytes are what was compiled."""
        self._book(owner, Read("file", path, hashlib.sha256(data).hexdigest()))

    def opened(self, owner: str, path: str, flags: int) -> None:
        """The file at `path` was opened, with the flags of `os.open`, or could not be."""
        if path.startswith(self._ignored) or path.endswith(".pyc"):
            return
        if (flags & os.O_ACCMODE) == os.O_WRONLY or flags & (os.O_TRUNC | os.O_EXCL):
            return
        read = _as_found(path, read_name=looks.text(path))
        if read is None or (flags & os.O_CREAT and read.kind == "absent"):
            return  # a folder; or what a build makes itself, which it does not depend on
        self._note(owner, read)

    def looked(self, owner: str, path: str, *, closely: bool = False) -> None:
        """Somebody asked whether there is something at `path`, and what kind of thing; `closely`: also of
        what size or from when.
        """
        if not self.within(path) or path.endswith(".pyc"):
            return
        read = _as_found(path, read_name=looks.text(path) if closely else path)
        if read is None and os.path.isdir(path):
            read = Read("file", looks.presence(path), looks.place_digest(os.path.realpath(path)))
        if read is not None:
            self._note(owner, read)

    def listed(self, owner: str, path: str) -> None:
        """The names in the folder `path` were asked for."""
        if not self.within(path):
            return
        try:
            with os.scandir(path) as entries:
                digest = looks.listing_digest((entry.name, entry.is_dir()) for entry in entries)
        except OSError:
            self.looked(owner, path)
        else:
            self._note(owner, Read("file", path, digest))

    def missed(self, owner: str, path: str) -> None:
        """A file at `path` would have been taken instead of what was found; there is none."""
        if self.within(path):
            self._book(owner, Read("absent", path))

    def variable(self, owner: str, name: str) -> None:
        """An environment variable was looked up; only the digest of its value is kept. That is the one which
        this process was given: what JAX or the model itself has set since is nothing that may change outside.
        """
        if name not in _OWN_VARIABLES:
            data = given.VARIABLES.get(os.fsencode(name))
            self._note(owner, Read("env", name, None if data is None else hashlib.sha256(data).hexdigest()))

    def ran(self, owner: str, program: str) -> None:
        """Another program ran, of whose reads nothing is known: every file of the project may be among
        them.
        """
        self._note(owner, Read("program", program))
        for folder in self.project:
            self._note(owner, Read("file", looks.tree(folder)))

    def within(self, path: str) -> bool:
        """Whether `path` is the project's own, and worth a look."""
        if path.startswith(self._ignored):
            return False
        for folder in self.project:
            if path == folder:
                return True
            if path.startswith(folder.rstrip("/") + "/"):
                return looks.UNLISTED.isdisjoint(path[len(folder) :].split("/"))
        return False

    def _note(self, owner: str, read: Read) -> None:
        """Book what was asked for while the code of project modules ran, under these modules as well.

        Any of their functions may keep what it has read (`functools.cache`, a global that is filled once): it
        is then read for the first target that asks, and nothing is heard of it when the next one does.
        """
        self._book(owner, read)
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # the one way to know whose code runs
        while frame is not None:
            module = module_owner(str(frame.f_globals.get("__name__")))
            if module in self._reads:
                self._book(module, read)
            frame = frame.f_back

    def _book(self, owner: str, read: Read) -> None:
        self._reads.setdefault(owner, {})[read] = None


def is_installed(path: str) -> bool:
    """Whether a file belongs to the interpreter or to an installed package, and so to the environment."""
    return path.startswith(_installed_prefixes())


def module_owner(name: str) -> str:
    """The owner under which a project module's reads are booked."""
    return f"module {name}"


def _as_found(path: str, read_name: str) -> Read | None:
    """The read of the file at `path`, by the name `read_name`, or that there is nothing; None for a folder, a
    pipe, a device.

    What changes when a file does (mtime_ns, ctime_ns, size, inode) stands for its contents, which the daemon
    hashes.
    """
    try:
        info = _stat(path)
    except (OSError, ValueError):
        return Read("absent", path)
    if not stat.S_ISREG(info.st_mode):
        return None
    return Read("file", read_name, None, (info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino))


def _implied(reads: Iterable[Read]) -> set[Read]:
    """Those of `reads` that say only that a folder is there, which was listed or of which a file was read.

    Asking a path for its real name looks at every folder on the way to it.
    """
    holding: set[str] = set()
    for read in reads:
        if read.kind == "file" and not read.name.endswith(("/", looks.TREE)):
            folder = read.name
            while folder not in holding and folder != os.path.dirname(folder):
                holding.add(folder)
                folder = os.path.dirname(folder)
    return {
        read
        for read in reads
        if read.name.endswith("/")
        and (folder := looks.path_of(read.name)) in holding
        and read.digest == looks.place_digest(folder)
    }


@functools.cache
def _installed_prefixes() -> tuple[str, ...]:
    """Where the interpreter and installed packages live: those are part of the environment, not of a
    target's reads.
    """
    paths = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib", "scripts", "include")
    folders = {os.path.abspath(paths[name]) for name in names if name in paths}
    own = {os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(pcv.__file__)}
    real = {os.path.realpath(folder) for folder in folders}
    everything = folders | real | own | {"/proc", "/sys", "/dev", "/etc"}
    return tuple(os.path.join(folder, "") for folder in sorted(everything))
