"""Schedules: how a set of builds is run, and in which order and copies its targets are submitted.

A challenger submits the targets in another order than the reference, so that what depends on order shows at
every round and not only when a race is lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pcvd.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

Item = TypeVar("Item")

_NUMBER = re.compile("[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """`serial`, `control`, `threads:N` or `processes:N`; `workers` is N, and 1 for the serial kinds."""

    kind: str
    workers: int = 1

    @property
    def name(self) -> str:
        """The name that settings, status and the store use."""
        return f"{self.kind}:{self.workers}" if self.kind in {"threads", "processes"} else self.kind

    @property
    def serial(self) -> bool:
        """One build at a time, on the thread that imported the model."""
        return self.kind in {"serial", "control"}

    @property
    def zygote(self) -> str:
        """Which zygote its workers come from: the control shares the challengers' hash seed and memory
        layout.
        """
        return "reference" if self.kind == "serial" else "challenger"

    @property
    def overlap(self) -> int:
        """How many builds must have been in flight at one moment for this schedule to be evidence."""
        return 1 if self.serial else self.workers


SERIAL = Schedule("serial")
CONTROL = Schedule("control")
PAIR = Schedule("processes", 2)


def parse(text: str) -> Schedule:
    """The schedule of that name. Raises UsageError for anything else."""
    if text in {"serial", "control"}:
        return Schedule(text)
    kind, colon, count = text.partition(":")
    if colon and kind in {"threads", "processes"} and _NUMBER.fullmatch(count):
        return Schedule(kind, int(count))
    raise UsageError(f'unknown schedule "{text}"', hint="serial, control, threads:N or processes:N")


def is_schedule(text: str) -> bool:
    """Whether `text` names a schedule."""
    try:
        parse(text)
    except UsageError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Slot:
    """One build to make: the target's index in the cohort, which copy of it, and the process that makes
    it.
    """

    target: int
    copy: int
    share: int


def rotated(cohort: Sequence[Item], by: int) -> tuple[Item, ...]:
    """`cohort`, begun at another place."""
    start = by % len(cohort) if cohort else 0
    return (*cohort[start:], *cohort[:start])


def reordered(count: int, number: int) -> tuple[int, ...]:
    """The numbers below `count` in another order, by turns a backward and a forward one; `number` says which.

    Nobody keeps its place (XLA's result may depend on how much was compiled before), and going backwards
    turns round every pair (of two targets that share a counter, only their order to each other counts).
    Reversing alone would leave the middle one of an odd number in its place, and rotating alone nearly all
    pairs as they are.
    """
    straight = tuple(range(count))
    backward = list(reversed(straight))
    middle = count // 2
    if count % 2 and count > 1:
        backward[middle], backward[middle + 1] = backward[middle + 1], backward[middle]
    # Begun at the middle, since the pair there is the one that still stands as it did.
    turns = (one for by in range(count) for one in (rotated(backward, by), rotated(straight, middle + by)))
    orders = dict.fromkeys(one for one in turns if all(held != place for place, held in enumerate(one)))
    return list(orders)[number % len(orders)] if orders else straight


def arrange(schedule: Schedule, targets: int, challenger: int) -> list[Slot]:
    """The builds of `schedule` over a cohort of that many `targets`, in the order of their submission.

    `challenger` counts the challengers of the round from zero; it chooses the order. Where the last wave of
    builds is short the first targets are built again as copies, until every worker has one: what is built
    last would else be built alone, and would be no evidence of concurrency.
    """
    if schedule.serial:
        return [Slot(index, 0, 0) for index in range(targets)]
    order = reordered(targets, challenger)
    waves = -(-targets // schedule.workers)
    submitted = [order[place % targets] for place in range(waves * schedule.workers)]
    seen: dict[int, int] = {}
    slots = []
    for place, target in enumerate(submitted):
        copy = seen.get(target, 0)
        seen[target] = copy + 1
        slots.append(Slot(target, copy, place % schedule.workers if schedule.kind == "processes" else 0))
    return slots
