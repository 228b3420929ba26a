"""How imports become reads: always from source, never from a `.pyc`; with what modules read while they are
executed; and with every place where another module would have been found first.

Python trusts a `.pyc` whose source has the same size and the same second of modification: an edit such as
`0.1` to `0.2` right after a build would be answered with the old code. So project modules are compiled from
the bytes that were read, and those bytes are what the ledger records.
"""

from __future__ import annotations

import builtins
import importlib
import os
import stat
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcvd.worker.reads import Ledger, is_installed, module_owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType, ModuleType

# In the order in which the import system tries them. A `.pyc` without its source is left out: nobody writes
# one by hand.
_SUFFIXES = (*EXTENSION_SUFFIXES, ".py")

_stat = os.stat


def install(ledger: Ledger) -> None:
    """Book all imports from now on in `ledger`, where they are not booked there already."""
    if any(isinstance(finder, NotingFinder) and finder.ledger is ledger for finder in sys.meta_path):
        return
    # Right before the finder it stands for: whoever comes before that one in the ordinary way still does.
    place = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
    sys.meta_path.insert(place, NotingFinder(ledger))
    _watch_loader(ledger)
    _watch_statement(ledger)


class NotingFinder:
    """A finder (`sys.meta_path`) that finds what PathFinder does, and books where that looked in vain: a file
    that comes to be there is imported instead.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec, or None."""
        spec = PathFinder.find_spec(name, path, target)
        asking = self.ledger.current
        if asking is not None:
            with self.ledger.owner(None):
                self._book(name, sys.path if path is None else path, spec)
            if self.ledger.known(module_owner(name)):
                self.ledger.depends(asking, module_owner(name))
        return spec

    def _book(self, name: str, entries: Sequence[str], spec: ModuleSpec | None) -> None:
        owner, origin, home = module_owner(name), None, None
        if spec is not None and spec.has_location and spec.origin:
            origin = os.path.abspath(spec.origin)
            home = os.path.dirname(origin)
            if spec.submodule_search_locations is not None:
                home = os.path.dirname(home)
            if not isinstance(spec.loader, SourceFileLoader) and is_project(self.ledger, origin):
                # Of a compiled module no event tells; one in an archive is read with the archive.
                self.ledger.opened(owner, getattr(spec.loader, "archive", origin), 0)
        for entry in entries:
            folder = os.path.abspath(entry)
            if self.ledger.within(folder) and not os.path.isfile(folder):
                for candidate in _candidates(os.path.join(folder, name.rpartition(".")[2])):
                    if candidate == origin:
                        return
                    self.ledger.missed(owner, candidate)
            if folder == home:
                return


def is_project(ledger: Ledger, path: str) -> bool:
    """Whether a module's file is the project's, and by no other name the interpreter's or an installed
    package's.
    """
    if is_installed(path):
        return False
    with ledger.owner(None):
        return not is_installed(os.path.realpath(path))


def _candidates(base: str) -> Iterator[str]:
    """The files that would be the module `base` (a path without ending), in the order of their rank. Those
    of a package are told by its folder, where there is none.
    """
    mode = _mode(base)
    if mode is not None and stat.S_ISDIR(mode):
        yield from (os.path.join(base, f"__init__{suffix}") for suffix in _SUFFIXES)
    elif mode is None:
        yield base
    for suffix in _SUFFIXES:
        mode = _mode(base + suffix)
        if mode is None or stat.S_ISREG(mode):
            yield base + suffix


def _mode(path: str) -> int | None:
    try:
        return _stat(path).st_mode
    except (OSError, ValueError):
        return None


def _watch_loader(ledger: Ledger) -> None:
    """Have every loader of source files, whoever made it, compile the project's own from source and book
    them.
    """
    # Of the class itself: `spec_from_file_location` makes its loaders past all finders, and import hooks
    # (jaxtyping's, an editable install's) derive theirs from it.
    real_get_code, real_exec_module = SourceFileLoader.get_code, SourceFileLoader.exec_module
    real_get_data, real_source_to_code = SourceFileLoader.get_data, SourceFileLoader.source_to_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        path = os.path.abspath(self.get_filename(fullname))
        owner, asking = module_owner(fullname), ledger.current
        if not is_project(ledger, path):
            return real_get_code(self, fullname)
        if asking is not None and asking != owner:
            ledger.depends(asking, owner)  # its code was asked for (`runpy`), it is not executed as a module
        if type(self).get_data is not real_get_data:
            # A loader that changes what it reads: what is compiled is not what is on disk.
            ledger.opened(owner, path, 0)
            return real_get_code(self, fullname)
        if type(self).source_to_code is not real_source_to_code:
            ledger.opened(owner, path, 0)  # to which comments may mean something
        with ledger.owner(None):
            source = Path(path).read_bytes()
        ledger.source(owner, path, source)
        code: CodeType = self.source_to_code(source, path)
        return code

    def exec_module(self: SourceFileLoader, module: ModuleType) -> None:
        if not is_project(ledger, self.path):
            real_exec_module(self, module)
            return
        owner, asking = module_owner(module.__name__), ledger.current
        if asking is not None:
            ledger.depends(asking, owner)
        with ledger.owner(owner):
            real_exec_module(self, module)

    for noting in (get_code, exec_module):
        setattr(SourceFileLoader, noting.__name__, noting)


def _watch_statement(ledger: Ledger) -> None:
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
        owner = ledger.current
        module = real_import(name, globals, locals, fromlist, level)
        if owner is not None:
            package = (globals or {}).get("__package__") or ""
            base = _absolute(name, package, level)
            importer = (globals or {}).get("__name__")
            for imported in (base, *(f"{base}.{item}" for item in fromlist or ())):
                _imported(ledger, owner, importer, imported)
        return module

    def noting_import_module(name: str, package: str | None = None) -> Any:
        owner = ledger.current
        module = real_import_module(name, package)
        if owner is not None:
            _imported(ledger, owner, None, module.__name__)
        return module

    builtins.__import__ = noting_import
    importlib.import_module = noting_import_module


def _imported(ledger: Ledger, owner: str, importer: str | None, imported: str) -> None:
    parts = imported.split(".")
    for count in range(1, len(parts) + 1):  # `import a.b.c` executes a, a.b and a.b.c
        name = module_owner(".".join(parts[:count]))
        if ledger.known(name):
            ledger.depends(owner, name)
            if importer is not None and ledger.known(module_owner(importer)):
                ledger.depends(module_owner(importer), name)


def _absolute(name: str, package: str, level: int) -> str:
    if not level:
        return name
    base = package.rsplit(".", level - 1)[0] if level > 1 else package
    return f"{base}.{name}" if name else base
