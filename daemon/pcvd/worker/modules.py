"""Importing a project's modules: always from source, never from a `.pyc`, and with their reads booked.

Python trusts a `.pyc` whose source has the same size and the same second of modification: an edit such as
`0.1` to `0.2` right after a build would be answered with the old code. So project modules are compiled from
the bytes that were read, and those bytes are what the ledger records.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

from pcvd.core.model import Failure
from pcvd.worker.blame import Rejected
from pcvd.worker.reads import Ledger, is_installed, module_owner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType


class SourceLoader(SourceFileLoader):
    """Compiles from source only; books what it read under the module's name."""

    def __init__(self, name: str, path: str, ledger: Ledger) -> None:
        super().__init__(name, path)
        self._ledger = ledger

    def get_code(self, fullname: str) -> CodeType:
        """The module's code, compiled from the bytes on disk this very moment."""
        path = self.get_filename(fullname)
        with self._ledger.owner(None):
            source = Path(path).read_bytes()
        self._ledger.source(module_owner(fullname), path, source)
        code: CodeType = self.source_to_code(source, path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module as the owner of what it reads meanwhile."""
        with self._ledger.owner(module_owner(module.__name__)):
            super().exec_module(module)


class ProjectFinder:
    """A finder (`sys.meta_path`) that gives a project's own modules a `SourceLoader`, and leaves all
    others alone.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a project module, or None."""
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or not spec.origin:
            return None
        if is_installed(spec.origin) or is_installed(os.path.realpath(spec.origin)):
            return None
        spec.loader = SourceLoader(name, spec.origin, self._ledger)
        spec.cached = None
        return spec


class Modules:
    """The project's modules as a worker sees them: files by their path relative to the root."""

    def __init__(self, root: str, import_roots: Sequence[str], ledger: Ledger) -> None:
        """`import_roots`: folders relative to `root` from which modules are imported, in order."""
        self._root = root
        self._roots = [os.path.normpath(os.path.join(root, folder)) for folder in import_roots]
        sys.path[:0] = self._roots
        ledger.import_roots = tuple(self._roots)
        # Behind the finder of pcv's own packages.
        sys.meta_path.insert(1, ProjectFinder(ledger))
        importlib.invalidate_caches()

    def load(self, file: str) -> ModuleType:
        """The module in `file` (relative to the root), imported if it was not. Raises whatever its code
        raises, or Rejected.
        """
        path = os.path.join(self._root, file)
        if not os.path.isfile(path):
            raise Rejected(
                Failure("missing", f"there is no file {file}", hint="mend the entry, or remove it")
            )
        name = self.name_of(path)
        module = importlib.import_module(name)
        found = getattr(module, "__file__", None)
        if found is None or os.path.realpath(found) != os.path.realpath(path):
            raise Rejected(
                Failure(
                    "import",
                    f"importing {name} for {file} gave {found or 'a namespace package'} instead",
                    file,
                    hint="rename the file, or set `paths` in pcv.toml so that its name is not taken",
                )
            )
        return module

    def name_of(self, path: str) -> str:
        """The dotted name under which the file is imported: from the innermost import root that holds it."""
        holding = [root for root in self._roots if path.startswith(os.path.join(root, ""))]
        base = max(holding, key=len, default=os.path.dirname(path))
        if not holding:
            sys.path.append(base)
        parts = os.path.relpath(path, base).removesuffix(".py").split(os.sep)
        if parts[-1] == "__init__" and len(parts) > 1:
            parts.pop()
        bad = next((part for part in parts if not part.isidentifier()), None)
        if bad is not None:
            raise Rejected(
                Failure(
                    "import",
                    f'"{bad}" is no name Python can import',
                    os.path.relpath(path, self._root),
                    hint="rename it",
                )
            )
        return ".".join(parts)
