"""Installed modules that the settings name (`preload`), imported by the zygote, once for all workers that it
forks: importing Flax or Equinox takes half a second that no save should wait for.

Whoever imports such a module afterwards finds it as it would have come out for itself. So one that does more
than define things (starts a backend or a thread, configures JAX, sets a variable, changes where modules are
found, reads files that may be edited) is refused, with the reason; none of the project's own code is run; and
which variables the import asked for, and where it looked in vain, is booked for whoever imports it.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from dataclasses import dataclass
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

import jax

from pcvd import jaxnames
from pcvd.worker import imports
from pcvd.worker.modules import Modules
from pcvd.worker.reads import Ledger, module_owner

if TYPE_CHECKING:
    from collections.abc import Sequence


_UNFIT = ("program", "file")
"""What a program reads is not known, so the files that stand for it are told after it."""


class Refused(Exception):
    """A module can't be imported ahead, for a reason. The process that tried is of no use any more."""

    def __init__(self, module: str, reason: str) -> None:
        super().__init__(f"{module}: {reason}")
        self.module, self.reason = module, reason


@dataclass(frozen=True, slots=True)
class Ahead:
    """What was imported ahead for the project in `root`, and the ledger that its reads are booked in."""

    root: str
    names: tuple[str, ...]
    ledger: Ledger

    def require(self) -> None:
        """End this process, with a word on why, where an import would find something else by now."""
        late = [
            read.name for read in self.ledger.booked() if read.kind == "absent" and os.path.lexists(read.name)
        ]
        if late:
            sys.exit(
                f"{min(late)} would be found before what `preload` has imported; `pcvctl restart` begins anew"
            )


def bring(root: str, paths: Sequence[str], ignored: Sequence[str], names: Sequence[str]) -> Ahead:
    """Import these modules ahead for the project in `root`.

    Raises:
        Refused: one of them is not fit for it.
    """
    ledger = Ledger(tuple(ignored))
    modules = Modules(root, paths, ledger)
    ledger.install()
    guard = _Guard(ledger)
    sys.meta_path.insert(0, guard)
    for name in names:
        before = _surroundings()
        with ledger.owner(module_owner(name.partition(".")[0])):
            try:
                importlib.import_module(name)
            except BaseException as error:  # a package may raise anything
                raise Refused(name, f"{type(error).__name__}: {error}") from None
        after = _surroundings()
        if changed := [what for what in after if before[what] != after[what]]:
            raise Refused(name, f"its import changes {', '.join(changed)}")
        told = {kind: sorted(one.name for one in ledger.booked() if one.kind == kind) for kind in _UNFIT}
        if read := next((names[0] for names in told.values() if names), None):
            raise Refused(name, f"its import depends on {read}")
    sys.meta_path.remove(guard)
    modules.leave()
    return Ahead(root, tuple(names), ledger)


class _OwnCode(BaseException):
    """A package imports something of the project's. No Exception: packages catch those, of what they try."""


class _Guard:
    """A finder (`sys.meta_path`) that finds nothing, and raises where the project's own code would run."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def find_spec(self, name: str, path: Sequence[str] | None = None, _target: object = None) -> None:
        """None. Raises _OwnCode."""
        spec = PathFinder.find_spec(name, path)
        origin = spec.origin if spec is not None and spec.has_location else None
        if origin is not None and imports.is_project(self._ledger, os.path.abspath(origin)):
            raise _OwnCode(f"{origin} is not installed")


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
