"""Which stack frames are the project's own: in a traceback, and in what faulthandler wrote as a process died.

Both ends need the same answer: a worker for an exception, the daemon for a worker that said no more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_INSTALLED = ("/site-packages/", "/dist-packages/", "/.pcv/")
_REPORTED = re.compile(r'^  File "([^"]+)", line (\d+) in', re.MULTILINE)


def relative(path: str, root: str) -> str:
    """`path` relative to `root` where it lies under it."""
    return path.removeprefix(root.rstrip("/") + "/")


def is_own(path: str, root: str) -> bool:
    """Whether `path` is the project's own, not of a package installed into a folder under the root (a
    `.venv`).
    """
    own = relative(path, root)
    return own != path and not any(folder in f"/{own}" for folder in _INSTALLED)


def innermost(frames: Iterable[tuple[str, int | None]], root: str) -> tuple[str | None, int | None]:
    """File (relative to the root) and line of the last of `frames` that is the project's own; Nones without.

    `frames` are (path, line), the outermost first.
    """
    found: tuple[str | None, int | None] = (None, None)
    for path, line in frames:
        if is_own(path, root):
            found = (relative(path, root), line)
    return found


def reported(output: str, root: str) -> tuple[str | None, int | None]:
    """The same of a report of faulthandler's, which has the most recent call first."""
    calls = [(path, int(line)) for path, line in _REPORTED.findall(output)]
    return innermost(reversed(calls), root)
