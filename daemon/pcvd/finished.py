"""What comes of an order, for the plan to hear and the board to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcvd.core import events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pcvd.core.builds import Run
    from pcvd.core.model import Judgement, Problem
    from pcvd.store import RoundRecord


@dataclass(frozen=True, slots=True)
class Finished:
    """An order has been carried out: what the plan must hear, in turn, and what the board must show.

    `problems` maps what they are about to what is wrong with it now (an empty tuple: nothing any more).
    """

    events: tuple[events.Event, ...]
    problems: dict[str, tuple[Problem, ...]]
    record: RoundRecord | None = None
    changed: tuple[Judgement, ...] = ()
    confirmed: tuple[Judgement, ...] = ()
    """Judgements that stand over other sources, since the programs are the same."""
    explanations: tuple[Explanation, ...] = ()
    afterwards: Callable[[], Awaitable[None]] | None = None
    """What is still to be written down when the plan has heard. Raises PcvError."""
    soaked_s: float | None = None
    """How long it took, where it was only to gather evidence."""

    @property
    def read(self) -> set[str]:
        """The names of everything that what was judged or confirmed rests on."""
        found: set[str] = set()
        for event in self.events:
            if isinstance(event, events.Ended):
                found.update(*(one.reads or () for one in event.judged))
                found.update(*(one.reads for one in event.confirmed))
        return found


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found out about judgements of a round after it: they themselves, and the runs that told."""

    round: int
    judgements: tuple[Judgement, ...]
    runs: tuple[Run, ...] = ()
