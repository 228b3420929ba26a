"""A project's modules, by the files they are in: under which name each is imported, and from where."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from pcvd.core.model import Failure
from pcvd.worker import imports
from pcvd.worker.blame import Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from pcvd.worker.reads import Ledger


class Modules:
    """The project's modules as a worker sees them: files by their path relative to the root."""

    def __init__(self, root: str, import_roots: Sequence[str], ledger: Ledger) -> None:
        """`import_roots`: folders relative to `root` from which modules are imported, in order."""
        self._root = root
        self._roots = [os.path.normpath(os.path.join(root, folder)) for folder in import_roots]
        sys.path[:0] = self._roots
        inside = os.path.join(root, "")
        ledger.project = (root, *(folder for folder in self._roots if not f"{folder}/".startswith(inside)))
        imports.install(ledger)
        importlib.invalidate_caches()

    def leave(self) -> None:
        """Find no more modules of the project."""
        del sys.path[: len(self._roots)]
        importlib.invalidate_caches()

    def load(self, file: str) -> ModuleType:
        """The module in `file` (relative to the root), imported if it was not. Raises whatever its code
        raises, or Rejected.
        """
        path = os.path.join(self._root, file)
        if not os.path.isfile(path):
            raise Rejected(
                Failure(
                    "missing",
                    f"there is no file {file}",
                    hint="create it, or name another one",
                )
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
