"""Carrying out a schedule's builds within one process: on the main thread one by one, or in a pool of
threads.

What makes a concurrent schedule concurrent is measured, but it is also made sure of: no build of the first
wave goes on from lowering to compiling before all of them have begun, so that N builds really are in flight
together.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Made = TypeVar("Made")


class Gate(Protocol):
    """Where the builds of the first wave wait for each other."""

    def begun(self) -> None:
        """One more build has begun."""

    def wait(self) -> None:
        """Return once all builds of the first wave have begun."""


class OpenGate:
    """No wave: for schedules that build one at a time."""

    def begun(self) -> None:
        """Nobody waits."""

    def wait(self) -> None:
        """Nobody to wait for."""


class Wave:
    """A gate for threads of one process: opens when `size` builds have begun."""

    def __init__(self, size: int) -> None:
        self._missing = size
        self._condition = threading.Condition()

    def begun(self) -> None:
        """One more build has begun."""
        with self._condition:
            self._missing -= 1
            self._condition.notify_all()

    def wait(self) -> None:
        """Return once all builds of the first wave have begun. Pool threads always come to begin, so this
        ends.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._missing <= 0)


def carry_out(count: int, threads: int, make: Callable[[int], Made]) -> Sequence[Made]:
    """`make(0)` to `make(count - 1)`, in the order of their submission: on this thread, or in a pool of
    `threads`.
    """
    if not threads:
        return [make(place) for place in range(count)]
    with ThreadPoolExecutor(threads, thread_name_prefix="pcv-build") as pool:
        return list(pool.map(make, range(count)))
