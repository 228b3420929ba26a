"""The daemon's lock: whoever holds it is the only daemon of its project, and has written its pid into it.

A lock, not a pid file alone: the system lets go of it however its holder ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pcv_config import places

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRIES, _PAUSE_S = 5, 0.05


class Held(Exception):  # a fact about the lock, to be told in the words of whoever wanted it
    """Another process holds the lock; `pid` is what it wrote there."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(pid)
        self.pid = pid


@contextmanager
def holding(root: str) -> Iterator[None]:
    """Hold the lock of `root` and have this process's pid in it.

    Raises:
        Held: another process does.
        OSError: its folder or its file can't be made.
    """
    places.make_private(places.runtime_folder())
    lock = os.open(places.lock_path(root), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _taken(lock):
            raise Held(_pid(lock))
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


def held(root: str) -> bool:
    """Whether a process holds the lock of `root`."""
    return _look(root)[0]


def holder(root: str) -> int | None:
    """The pid of the process that holds the lock of `root`; None where none does, or it has not said yet."""
    return _look(root)[1]


def _look(root: str) -> tuple[bool, int | None]:
    try:
        lock = os.open(places.lock_path(root), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False, None
    try:
        # Shared, so that two who look at once do not take each other for the daemon.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True, _pid(lock)
    else:
        return False, None
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    # Who looks whether the lock is free takes it for a moment: that is no other daemon.
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False


def _pid(lock: int) -> int | None:
    said = os.pread(lock, 20, 0)
    return int(said) if said.isdigit() else None
