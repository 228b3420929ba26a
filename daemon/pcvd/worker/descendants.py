"""Ending all that a worker has started, in whatever process group or session it hides.

A model may start processes with a session of their own; killing the worker's group leaves them running. On
Linux a process may ask that orphans among its descendants become its children, instead of init's: workers do,
so that what they start stays with them, and zygotes do, so that it comes to them when a worker has ended.
Only a process's own children are ever killed, which it has not reaped: their ids cannot have gone to others.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_PR_SET_CHILD_SUBREAPER = 36
_PARENT = 1  # the place of the parent's id in /proc/PID/stat, counted behind the name


def adopt() -> None:
    """Have orphaned descendants become this process's children, where the system can do that and tell which
    children there are.
    """
    if sys.platform == "linux" and Path("/proc/self/stat").exists():
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_all(*, but: Collection[int] = ()) -> None:
    """Kill the children of this process, those in `but` excepted.

    Their own children become this process's then, and SIGCHLD tells of each end: the next call gets them.
    """
    for pid in children():
        if pid not in but:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def end_all() -> None:
    """Kill and reap the children of this process, until there are none any more."""
    with suppress(ChildProcessError):
        while True:
            kill_all()
            os.waitpid(-1, 0)


def children() -> set[int]:
    """The children of this process, as far as the system tells."""
    lists = list(Path("/proc/self/task").glob("*/children"))  # an orphan goes to any of the threads
    if lists:
        return {int(pid) for one in lists for pid in _text(one).split()}
    # Not every kernel is built with that list; then each process has to be asked for its parent.
    me = str(os.getpid())
    return {
        int(one.parent.name)
        for one in Path("/proc").glob("[0-9]*/stat")
        if _text(one).rpartition(")")[2].split()[_PARENT : _PARENT + 1] == [me]
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # the process, or the thread, has ended meanwhile
        return ""
