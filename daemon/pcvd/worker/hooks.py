"""Hearing of what a build asks the system for: audit events where Python raises them, wrapped functions where
it does not (`os.stat`, and so `os.path.exists` and `Path.exists`; `os.environ`; descriptors of folders).

It costs next to nothing while nobody is on the ledger for the thread that asks. Nothing here may raise:
an exception in an audit hook would make the user's own call fail.
"""

from __future__ import annotations

import _posixsubprocess
import fcntl
import functools
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from pcvd.worker.reads import Ledger

_PASSING_ON = frozenset({"genericpath", "posixpath", "os", "subprocess"})
"""Modules that ask for others."""

_IMPORTING = frozenset(
    {"_frozen_importlib_external", "importlib", "importlib_metadata", "pkg_resources", "zipimport"}
)
"""Who looks for modules and for installed packages' metadata lists every folder on `sys.path`: no file that
comes to be in the project's root would leave any target fresh. What they look for is booked elsewhere.
"""

_SHOWING_SOURCE = frozenset({"inspect", "linecache"})
"""Who looks for source text, to show it, asks about every module there is."""

_ASKING_FOR_PATHS = frozenset({"genericpath", "os", "pathlib", "posixpath"})
_ASKING_FOR_STATS = frozenset(
    {"getatime", "getctime", "getmtime", "getsize", "lstat", "samefile", "samestat", "stat"}
)
"""Functions of these modules that hand on more of what `os.stat` tells than what kind of thing there is."""

_PROBING = frozenset({"platform", "ctypes", "uuid"})
"""Whose programs ask about the machine (`uname -p`, `ldconfig -p`), not about the project."""

_readlink = os.readlink


def install(ledger: Ledger) -> None:
    """Book everything that is asked for from now on in `ledger`."""
    heard = Hooks(ledger)
    sys.addaudithook(heard.on_audit)
    heard.wrap_os()
    heard.wrap_environment()


class Hooks:
    """From what is heard to what is booked."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._events: dict[str, Callable[[str, tuple[Any, ...], FrameType], None]] = {
            "open": self._open,
            "os.listdir": self._list,
            "os.scandir": self._list,
            "sqlite3.connect": self._database,
            "ctypes.dlopen": self._library,
            "subprocess.Popen": self._program,
            "os.posix_spawn": self._program,
            "os.system": self._program,
            "os.fork": self._program,
            "os.forkpty": self._program,
        }

    def on_audit(self, event: str, args: tuple[Any, ...]) -> None:
        """The audit hook; hears of everything the interpreter does, of which little concerns us."""
        book = self._events.get(event)
        if book is None or (owner := self._ledger.current) is None:
            return
        with self._ledger.owner(None):  # what booking itself asks for is nobody's
            book(owner, args, sys._getframe(1))  # noqa: SLF001  # the one way to know who asks

    def _open(self, owner: str, args: tuple[Any, ...], _frame: FrameType) -> None:
        path = _path(args[0])
        if path is not None:  # else a descriptor: whoever opened it was booked
            self._ledger.opened(owner, path, args[2] if isinstance(args[2], int) else 0)

    def _list(self, owner: str, args: tuple[Any, ...], frame: FrameType) -> None:
        path = _path("." if args[0] is None else args[0]) or _path_of(args[0])
        if path is not None and _asker(frame) not in _IMPORTING:
            self._ledger.listed(owner, path)

    def _database(self, owner: str, args: tuple[Any, ...], _frame: FrameType) -> None:
        name = os.fsdecode(args[0]) if isinstance(args[0], str | bytes | os.PathLike) else ""
        if name.startswith("file:"):  # or a file of this very name: then the read is of no use, and no harm
            name = unquote(name.removeprefix("file:").partition("?")[0])
        path = _path(name) if name and name != ":memory:" else None
        if path is not None:
            self._ledger.opened(owner, path, os.O_CREAT)
            self._ledger.opened(owner, f"{path}-wal", os.O_CREAT)  # where the latest writes may still be

    def _library(self, owner: str, args: tuple[Any, ...], _frame: FrameType) -> None:
        # A name without a folder is looked for where the system keeps its libraries.
        if isinstance(args[0], str | bytes) and os.sep in os.fsdecode(args[0]):
            path = _path(args[0])
            if path is not None:
                self._ledger.opened(owner, path, 0)

    def _program(self, owner: str, args: tuple[Any, ...], frame: FrameType) -> None:
        if _asker(frame) not in _PROBING:
            self._ledger.ran(owner, _program_name(args))

    # -- where Python raises no event --------------------------------------------------------------

    def wrap_os(self) -> None:
        """Wrap the functions of `os` that tell something of a path, those that take a folder's descriptor,
        and what `multiprocessing` starts processes with.
        """
        for name in ("stat", "lstat", "access", "readlink"):
            _replace(name, self._looking(getattr(os, name)))
        _replace("open", self._opening(os.open))
        _posixsubprocess.fork_exec = self._starting(_posixsubprocess.fork_exec)

    def _looking(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def look(path: Any, *args: Any, **options: Any) -> Any:
            owner = self._ledger.current
            if owner is not None and not isinstance(path, int):
                found = _path(path, options.get("dir_fd"))
                if found is not None and self._ledger.within(found):
                    with self._ledger.owner(None):
                        frame = sys._getframe(1)  # noqa: SLF001  # the one way to know who asks
                        asker = _asker(frame)
                        if asker not in _IMPORTING and asker not in _SHOWING_SOURCE:
                            self._ledger.looked(owner, found, closely=_sees_stat(real.__name__, frame))
            return real(path, *args, **options)

        return look

    def _opening(self, real: Callable[..., int]) -> Callable[..., int]:
        def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            owner = self._ledger.current
            if owner is None or dir_fd is None:
                return real(path, flags, mode, dir_fd=dir_fd)
            # The audit event does not tell of which folder the path is.
            with self._ledger.owner(None):
                found = _path(path, dir_fd)
                if found is not None and isinstance(flags, int):
                    self._ledger.opened(owner, found, flags)
                return real(path, flags, mode, dir_fd=dir_fd)

        return open_

    def _starting(self, real: Callable[..., int]) -> Callable[..., int]:
        def fork_exec(*args: Any) -> int:
            owner = self._ledger.current
            if owner is not None:
                self._ledger.ran(owner, _program_name(args))
            return real(*args)

        return fork_exec

    def wrap_environment(self) -> None:
        """Hear of every variable looked up in `os.environ` or `os.environb`.

        The mappings keep their identity (`from os import environ` may have happened long ago); they only get
        a class whose look-up tells.
        """
        plain, ledger = type(os.environ), self._ledger

        class NotingEnviron(plain):  # type: ignore[misc, valid-type]
            def __getitem__(self, key: Any) -> Any:
                owner = ledger.current
                if owner is not None and isinstance(key, str | bytes):
                    ledger.variable(owner, os.fsdecode(key))
                return plain.__getitem__(self, key)

        os.environ.__class__ = os.environb.__class__ = NotingEnviron


def _replace(name: str, noting: Callable[..., Any]) -> None:
    """Put `noting` into the place of the function `name` of `os`."""
    real = getattr(os, name)
    functools.update_wrapper(noting, real)
    # Who wants to know what a function can do asks whether it is in these sets.
    abilities = (
        os.supports_dir_fd,
        os.supports_effective_ids,
        os.supports_fd,
        os.supports_follow_symlinks,
    )
    for able in abilities:
        if real in able:
            able.add(noting)
    setattr(os, name, noting)


def _path(given: Any, dir_fd: int | None = None) -> str | None:
    """The absolute path that `given` is, seen from the folder `dir_fd`; None where it is none."""
    try:
        path = os.fsdecode(given)
        if "\0" in path:
            return None
        if dir_fd is not None and not os.path.isabs(path):
            folder = _path_of(dir_fd)
            return None if folder is None else _plain(os.path.join(folder, path))
        return _plain(path)
    except (TypeError, ValueError, OSError):  # OSError: the working directory is gone
        return None


def _plain(path: str) -> str:
    """`path` from the root, without detours. Behind a link, `..` leads somewhere else than the text says."""
    return os.path.realpath(path) if os.pardir in path.split(os.sep) else os.path.abspath(path)


def _path_of(descriptor: Any) -> str | None:
    """The path under which a descriptor was opened, where the system tells."""
    if not isinstance(descriptor, int):
        return None
    try:
        if hasattr(fcntl, "F_GETPATH"):  # macOS
            return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
        return _readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None


def _asker(frame: FrameType | None) -> str:
    """The package that asks: of the first module that does not merely pass the question on."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if name not in _PASSING_ON:
            return name.partition(".")[0]
        frame = frame.f_back
    return ""


def _sees_stat(asked: str, frame: FrameType | None) -> bool:
    """Whether who called `os`'s function `asked` from `frame` came to know times or sizes, and not only what
    there is: `os.path.realpath(__file__)` does not.
    """
    if asked not in {"stat", "lstat"}:
        return False
    passed = [asked]
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _ASKING_FOR_PATHS:
        passed.append(frame.f_code.co_name)
        frame = frame.f_back
    # `Path.exists` asks `Path.stat`: the outermost counts.
    return passed[-1] in _ASKING_FOR_STATS


def _program_name(args: tuple[Any, ...]) -> str:
    """What a started program is called, from whatever the event tells of it."""
    for arg in args:
        first = arg[0] if isinstance(arg, list | tuple) and arg else arg
        if isinstance(first, str | bytes | os.PathLike):
            return os.fsdecode(first)
    return "fork"
