"""Carrying out a schedule's builds within one process: on the main thread one by one, or in a pool of
threads.

What makes a concurrent schedule concurrent is measured, but it is also helped along: lowering holds the
interpreter's lock, so builds would reach the compiler one by one, and small ones would be gone before
the next came. Builds of the first wave wait at a gate until all of them have been lowered.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pcvd.worker.line import Line

Made = TypeVar("Made")


class Gate(Protocol):
    """Where the builds of the first wave wait for each other, between lowering and compiling."""

    def wait(self) -> None:
        """Arrive, and return once all builds of the first wave have arrived or left."""

    def leave(self) -> None:
        """A build that failed will not arrive."""


class OpenGate:
    """No wave: for schedules that build one at a time."""

    def wait(self) -> None:
        """Nobody to wait for."""

    def leave(self) -> None:
        """Nobody waits."""


class Wave:
    """A gate for threads of one process: opens when `size` builds have arrived or left."""

    def __init__(self, size: int) -> None:
        self._missing = size
        self._condition = threading.Condition()

    def wait(self) -> None:
        """Arrive, and return once all builds of the first wave have: pool threads all come, or leave."""
        self.leave()
        with self._condition:
            self._condition.wait_for(lambda: self._missing <= 0)

    def leave(self) -> None:
        """One build less to wait for."""
        with self._condition:
            self._missing -= 1
            self._condition.notify_all()


class DaemonGate:
    """A gate across processes: the daemon opens it when every worker's first build waits or has ended."""

    def __init__(self, line: Line) -> None:
        self._line: Line | None = line

    def wait(self) -> None:
        """Wait for the daemon's word before the first build goes on; later ones pass."""
        if self._line is not None:
            line, self._line = self._line, None
            line.receive()

    def leave(self) -> None:
        """The daemon hears of the build's end, and this worker waits for nobody any more."""
        self._line = None


class Turnstile:
    """Lets builds begin in the order of their submission.

    Threads that are started together run in whatever order they wake up: half of the time, what depends on
    the order of two builds would be built in the reference's order after all.
    """

    def __init__(self) -> None:
        self._next = 0
        self._condition = threading.Condition()

    def enter(self, place: int) -> None:
        """Return once all builds before `place` have begun. Every place enters once."""
        with self._condition:
            self._condition.wait_for(lambda: self._next == place)
            self._next += 1
            self._condition.notify_all()


def carry_out(count: int, threads: int, make: Callable[[int], Made]) -> Sequence[Made]:
    """`make(0)` to `make(count - 1)`, in the order of their submission: on this thread, or in a pool of
    `threads`.
    """
    if not threads:
        return [make(place) for place in range(count)]
    turnstile = Turnstile()

    def begin(place: int) -> Made:
        turnstile.enter(place)
        return make(place)

    with ThreadPoolExecutor(threads, thread_name_prefix="pcv-build") as pool:
        return list(pool.map(begin, range(count)))
