"""What a build read: files opened, files looked for in vain, environment variables, and which module imported
which.

That is the dependency graph; nothing is declared by hand. An audit hook sees every `open` of the interpreter,
but not who needed it: two targets may share a module that only the first of them caused to be imported. So
every read is booked under its *owner*, the module being executed or the target being worked on, imports are
booked as edges between owners, and what a target read is what can be reached from it.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import importlib
import os
import sys
import sysconfig
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pcv
from pcvd.core.model import Read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Stat = tuple[int, int, int, int]

_OWN_VARIABLES = frozenset({"PYTHONHASHSEED", "PYTHONUNBUFFERED"})
"""Variables that pcv itself sets, one way or another per worker."""


class Ledger:
    """Books reads under their owners. One per process; `install` puts its hooks in place, for good."""

    def __init__(self, ignored: tuple[str, ...]) -> None:
        """`ignored`: folders whose files are nobody's dependency (pcv's own store and scratch folder)."""
        self._ignored = tuple(os.path.join(folder, "") for folder in (*ignored, *_installed_folders()))
        self._owner = threading.local()
        self._reads: dict[str, dict[Read, None]] = {}
        self._edges: dict[str, set[str]] = {}
        self.import_roots: tuple[str, ...] = ()
        """Where the project's own modules are looked for."""

    def install(self) -> None:
        """Start to listen."""
        sys.addaudithook(self._on_audit)
        _watch_environment(self._on_variable)
        self._watch_imports()

    @contextmanager
    def owner(self, name: str | None) -> Iterator[None]:
        """Within, this thread's reads are booked under `name` (None: not at all), and `name` under the
        owner outside.
        """
        outside = self._current()
        if outside is not None and name is not None:
            self.depends(outside, name)
        self._owner.name = name
        try:
            yield
        finally:
            self._owner.name = outside

    def depends(self, owner: str, on: str) -> None:
        """Whatever `on` reads, `owner` needs as well."""
        self._edges.setdefault(owner, set()).add(on)

    def source(self, owner: str, path: str, data: bytes) -> None:
        """A module's source was read: these very bytes are what was compiled."""
        self._book(owner, Read("file", path, hashlib.sha256(data).hexdigest()))

    def of(self, owner: str) -> list[Read]:
        """Everything that `owner` needs, directly or through others."""
        reached, waiting = {owner}, [owner]
        while waiting:
            for other in self._edges.get(waiting.pop(), ()):
                if other not in reached:
                    reached.add(other)
                    waiting.append(other)
        # One file read at two moments may have been two different files: both reads are told. A digest says
        # more than any stat.
        booked = {read for name in reached for read in self._reads.get(name, ())}
        hashed = {(read.kind, read.name) for read in booked if read.digest is not None}
        booked = {read for read in booked if read.digest is not None or (read.kind, read.name) not in hashed}
        return sorted(booked, key=lambda read: (read.kind, read.name, read.digest or "", read.stat or ()))

    def _current(self) -> str | None:
        return getattr(self._owner, "name", None)

    def _book(self, owner: str, read: Read) -> None:
        self._reads.setdefault(owner, {})[read] = None

    def _on_audit(self, event: str, args: tuple[Any, ...]) -> None:
        owner = self._current() if event == "open" else None
        if owner is None or not isinstance(args[0], str | bytes):
            return
        path = os.path.abspath(os.fsdecode(args[0]))
        if path.startswith(self._ignored) or path.endswith(".pyc") or os.path.isdir(path):
            return
        stat = stat_of(path)
        flags = args[2] if isinstance(args[2], int) else 0
        if (flags & os.O_ACCMODE) == os.O_WRONLY or flags & (os.O_TRUNC | os.O_EXCL):
            return
        if flags & os.O_CREAT and stat is None:
            return  # what a build makes itself, it does not depend on
        self._book(owner, Read("absent", path) if stat is None else Read("file", path, None, stat))

    def _on_variable(self, name: str, value: str | None) -> None:
        owner = self._current()
        if owner is not None and name not in _OWN_VARIABLES:
            digest = (
                None if value is None else hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()
            )
            self._book(owner, Read("env", name, digest))

    def _watch_imports(self) -> None:
        # Only a module's first import executes it; that a second target needs it too shows in the import
        # statement alone.
        real_import, real_import_module = builtins.__import__, importlib.import_module

        # `__import__(name, globals=…)` is called by name too, so these names are not ours to choose.
        def noting_import(
            name: str,
            globals: Any = None,  # noqa: A002
            locals: Any = None,  # noqa: A002
            fromlist: Any = (),
            level: int = 0,
        ) -> Any:
            owner = self._current()
            try:
                module = real_import(name, globals, locals, fromlist, level)
            except ModuleNotFoundError as error:
                self._missed(owner, error.name)
                raise
            if owner is not None:
                package = (globals or {}).get("__package__") or ""
                base = _absolute(name, package, level)
                importer = (globals or {}).get("__name__")
                for imported in (base, *(f"{base}.{item}" for item in fromlist or ())):
                    self._imported(owner, importer, imported)
            return module

        def noting_import_module(name: str, package: str | None = None) -> Any:
            owner = self._current()
            try:
                module = real_import_module(name, package)
            except ModuleNotFoundError as error:
                self._missed(owner, error.name)
                raise
            if owner is not None:
                self._imported(owner, None, module.__name__)
            return module

        builtins.__import__ = noting_import
        importlib.import_module = noting_import_module

    def _missed(self, owner: str | None, name: str | None) -> None:
        # When such a file comes to be, whoever looked for it has to be built again.
        if owner is not None and name:
            for root in self.import_roots:
                path = os.path.join(root, *name.split("."))
                for file in (f"{path}.py", os.path.join(path, "__init__.py")):
                    if not os.path.exists(file):
                        self._book(owner, Read("absent", file))

    def _imported(self, owner: str, importer: str | None, imported: str) -> None:
        parts = imported.split(".")
        for count in range(1, len(parts) + 1):  # `import a.b.c` executes a, a.b and a.b.c
            name = module_owner(".".join(parts[:count]))
            if name in self._reads:
                self.depends(owner, name)
                if importer is not None and module_owner(importer) in self._reads:
                    self.depends(module_owner(importer), name)


def is_installed(path: str) -> bool:
    """Whether a file belongs to the interpreter or to an installed package, and so to the environment."""
    return path.startswith(tuple(os.path.join(folder, "") for folder in _installed_folders()))


def module_owner(name: str) -> str:
    """The owner under which a project module's reads are booked."""
    return f"module {name}"


def stat_of(path: str) -> Stat | None:
    """What changes when a file does (mtime_ns, ctime_ns, size, inode), or None where there is none."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return (info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino)


def _absolute(name: str, package: str, level: int) -> str:
    if not level:
        return name
    base = package.rsplit(".", level - 1)[0] if level > 1 else package
    return f"{base}.{name}" if name else base


@functools.cache
def _installed_folders() -> set[str]:
    """Where the interpreter and installed packages live: those are part of the environment, not of a
    target's reads.
    """
    paths = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib", "scripts", "include")
    folders = {os.path.abspath(paths[name]) for name in names if name in paths}
    own = {os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(pcv.__file__)}
    real = {os.path.realpath(folder) for folder in folders}
    return folders | real | own | {"/proc", "/sys", "/dev", "/etc"}


def _watch_environment(note: Callable[[str, str | None], None]) -> None:
    """Call `note` with the name and value of every variable looked up in `os.environ` from now on.

    Audit events do not tell of them. The mapping keeps its identity (`from os import environ` may have
    happened long ago); it only gets a class whose look-up tells.
    """
    plain = type(os.environ)

    class NotingEnviron(plain):  # type: ignore[misc, valid-type]
        def __getitem__(self, key: str) -> str:
            try:
                value: str = plain.__getitem__(self, key)
            except KeyError:
                if isinstance(key, str):
                    note(key, None)
                raise
            note(key, value)
            return value

    os.environ.__class__ = NotingEnviron
