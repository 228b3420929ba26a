"""Installed packages that the project imports, imported ahead of its workers, once for all of them: by the
zygote that forks them. Importing Flax or Equinox takes half a second that no save should wait for.

Nothing may be otherwise for it. A package that does more than define things (starts a backend or a thread,
configures JAX, sets a variable, hooks into imports) is refused: it would do that to targets which never
import it, or make forking unsafe. Nor is a line of the project's own code run. And what the import reads is
booked as if the target had caused it.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jax

from pcvd import jaxnames
from pcvd.worker import imports
from pcvd.worker.modules import Modules
from pcvd.worker.reads import Ledger, is_installed, module_owner

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from importlib.machinery import ModuleSpec

_THERE_ANYWAY = frozenset({"jax", "jaxlib", "numpy", "pcv", "pcvd"})
_MOST = 2000
"""So many modules are told of at the most: they come back as an argument of the zygote."""


class Refused(Exception):
    """Packages that can't be imported ahead, each with the reason."""

    def __init__(self, packages: dict[str, str]) -> None:
        super().__init__(str(packages))
        self.packages = packages


@dataclass(frozen=True, slots=True)
class Ahead:
    """What has been imported ahead, and the ledger that what it read is booked in."""

    root: str
    paths: tuple[str, ...]
    packages: tuple[str, ...]
    ledger: Ledger

    def serves(self, root: str, paths: Sequence[str]) -> bool:
        """Whether a job over the project in `root` can go on from here. Where one of the project's own
        modules has come to stand before a package, what was imported is forgotten, so that it is found.
        """
        if (root, tuple(paths)) != (self.root, self.paths):
            return False
        roots = [os.path.normpath(os.path.join(root, path)) for path in paths]
        if not any(_stands(package, roots) for package in self.packages):
            return True
        for name in [name for name in sys.modules if name.partition(".")[0] in self.packages]:
            del sys.modules[name]
        return False


def bring(root: str, paths: Sequence[str], ignored: Sequence[str], names: Sequence[str]) -> Ahead:
    """Import these modules ahead for the project in `root`. Raises Refused, after which the process is of no
    use.
    """
    ledger = Ledger(tuple(ignored))
    modules = Modules(root, paths, ledger)
    ledger.install()
    sys.meta_path.insert(0, _Guard(ledger))
    packages: dict[str, None] = {}
    refused: dict[str, str] = {}
    for name in names:
        package = name.partition(".")[0]
        packages[package] = None
        before = _surroundings()
        with ledger.owner(module_owner(package)):
            try:
                importlib.import_module(name)
            except BaseException as error:  # a package may raise anything
                refused[package] = f"{type(error).__name__}: {error}"
        after = _surroundings()
        if changed := [what for what in after if before[what] != after[what]]:
            refused.setdefault(package, f"changes {', '.join(changed)}")
    if refused:
        raise Refused(refused)
    del sys.meta_path[0]
    modules.leave()
    return Ahead(root, tuple(paths), tuple(packages), ledger)


def brought(before: Collection[str]) -> list[str]:
    """The installed modules that have been imported since `sys.modules` was `before`, in order."""
    found = [
        name for name, module in tuple(sys.modules.items()) if name not in before and _fits(name, module)
    ]
    return found[:_MOST]


class _OwnCode(BaseException):
    """A package imports something of the project's."""


class _Guard:
    """A finder (`sys.meta_path`) that finds nothing, and raises where the project's own code would run."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def find_spec(self, name: str, path: Sequence[str] | None = None, _target: object = None) -> None:
        """None. Raises _OwnCode, which is no Exception: packages catch those, of what they try to import."""
        origin = _file_of(PathFinder.find_spec(name, path))
        if origin is not None and imports.is_project(self._ledger, origin):
            raise _OwnCode(f"{name} is not installed")


def _stands(package: str, roots: list[str]) -> bool:
    """Whether one of the project's modules is found before the installed package."""
    return _file_of(PathFinder.find_spec(package, roots)) is not None


def _file_of(spec: ModuleSpec | None) -> str | None:
    """The file a module is in; None where there is none, as of a folder without `__init__.py`."""
    return os.path.abspath(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _surroundings() -> dict[str, Any]:
    """What an import may change for whoever does not import the same."""
    tasks = "/proc/self/task"
    return {
        "which backends of JAX have started": jaxnames.backend_started(),
        "how many threads there are": (
            len(os.listdir(tasks)) if os.path.isdir(tasks) else 0,
            threading.active_count(),
        ),
        "JAX's configuration": dict(jax.config.values),
        "the environment": dict(os.environ),
        # What is appended to `sys.meta_path` finds only what nobody else does (`six` does that).
        "where modules are found": (list(sys.path), _before_others(), list(sys.path_hooks)),
    }


def _before_others() -> list[object]:
    place = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
    return list(sys.meta_path[: place + 1])


def _fits(name: str, module: ModuleType | None) -> bool:
    if not isinstance(module, ModuleType):
        return False
    spec = vars(module).get("__spec__")  # by `vars`: a lazy module would import all sorts of things
    package = name.partition(".")[0]
    if package in _THERE_ANYWAY or package in sys.stdlib_module_names or getattr(spec, "name", None) != name:
        return False
    origin = getattr(spec, "origin", None)
    return isinstance(origin, str) and origin.endswith((".py", *EXTENSION_SUFFIXES)) and is_installed(origin)
