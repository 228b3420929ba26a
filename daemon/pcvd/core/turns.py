"""Turns: what comes next. One order at a time is what others wait for; one that drags on stands aside for the
next, and what nobody waits for gives way.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pcvd.core.compare import INCONCLUSIVE
from pcvd.core.events import Abandon, Retrace, Validate
from pcvd.core.held import MOST_TRIES
from pcvd.core.underway import Running
from pcvd.core.wishes import Rank, Wish

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pcvd.core.events import Order, Work
    from pcvd.core.held import Held

MOST_TOGETHER = 32
"""How many targets one round builds at most: a process keeps all executables of its cohort until they have
been run.
"""

_PRESSING = (Rank.ASKED, Rank.SAVED)


class Turns:
    """Gives orders, numbered, one after the other."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._yielded = 0
        """How often in a row the backlog has given way."""
        self._orders = 0

    def next(self, *, surveyed: bool) -> list[Order]:
        """What is to be done now. Before it has been `surveyed` which targets there are, nothing presses."""
        first = self._held.under_way.first
        if first is not None:
            return [self.abandon(first)] if self._gives_way(first) else []
        order = self._work(surveyed=surveyed)
        return [] if order is None else [order]

    def soak(self) -> list[Order]:
        """One more round over what is fresh, in another order and under another hash seed."""
        held = self._held
        targets = ((entry, held.roster[entry]) for entry in held.roster)
        fit = [entry for entry, one in targets if one.fresh and one.verdict != INCONCLUSIVE]
        order = held.aside.soak(fit, MOST_TOGETHER) if fit else None
        return [] if order is None else [self._begin(replace(order, by=held.number))]

    def abandon(self, running: Running) -> Abandon:
        """Give an order up."""
        running.abandoned = True
        return Abandon(running.order.number)

    def ended(self, running: Running, *, failed: bool) -> None:
        """An order has ended, unless it was given up: some of the backlog was got done at last."""
        if running.rank is Rank.BACKLOG and not (running.abandoned and failed):
            self._yielded = 0

    def _work(self, *, surveyed: bool) -> Work | None:
        held = self._held
        pressing = held.wishes.pressing(but=held.under_way.judged)  # one target is built once at a time
        if pressing and pressing[0][1].rank in _PRESSING and surveyed:
            return self._round(pressing)
        # Before all that is new: what is to be built depends on what there is.
        discover = held.census.next()
        if discover is not None:
            return self._begin(discover)
        if pressing:
            return self._round(pressing)
        discovering = bool(held.under_way.awaited)
        aside = held.aside.next(
            self._standing, held.roster.__contains__, MOST_TOGETHER, discovering=discovering
        )
        order = aside or self._whole()
        if isinstance(order, Validate):
            order = self._over(order.cohort, order)
        if isinstance(order, Retrace):
            order = replace(order, cohort=self._in_turn(order.cohort))
        return None if order is None else self._begin(order)

    def _standing(self, entry: str) -> bool | None:
        """Whether the target's verdict is fresh; None while another one is on its way."""
        held = self._held
        return None if held.under_way.judging(entry) is not None else held.roster[entry].fresh

    def _begin(self, order: Work, wishes: Mapping[str, Wish] | None = None) -> Work:
        self._orders += 1
        order = replace(order, number=self._orders)
        self._held.under_way.begin(Running(order, dict(wishes or {})))
        return order

    def _gives_way(self, running: Running) -> bool:
        """What nobody waits for makes room for what somebody does, and the backlog for what presses more."""
        held = self._held
        if running.abandoned:
            return False
        if running.aside:
            return bool(held.wishes or held.census)
        if running.rank is not Rank.BACKLOG or held.wishes.rank not in _PRESSING:
            return False
        self._yielded += 1
        return self._yielded <= MOST_TRIES

    def _round(self, pressing: Sequence[tuple[str, Wish]]) -> Work:
        """The next cohort: of what waits, the most `pressing`. A whole round brings along whoever one of them
        was built with when a difference was found.
        """
        head = pressing[0][1]
        alike = [entry for entry, wish in pressing if wish.whole == head.whole]
        neighbours = self._held.roster.neighbours
        chosen = _together(neighbours(entry) if head.whole else (entry,) for entry in alike)
        granted = {entry: self._held.wishes.pop(entry) or head for entry in chosen}
        return self._begin(self._over(chosen, Validate((), head.why, whole=head.whole, by=head.by)), granted)

    def _whole(self) -> Validate | None:
        """A whole round to strengthen verdicts of the first tier."""
        unfinished = self._held.unfinished
        chosen = _together(self._held.roster.neighbours(entry) for entry in unfinished)
        numbers = [unfinished.pop(entry) for entry in chosen if entry in unfinished]
        if not chosen:
            return None
        return Validate(tuple(chosen), "whole", whole=True, aside=True, by=min(numbers))

    def _over(self, chosen: Iterable[str], order: Validate) -> Validate:
        """`order` over the targets that were chosen, in the order of their declaration."""
        roster, cohort = self._held.roster, self._in_turn(chosen)
        grave = (entry for entry in cohort if roster[entry].grave)
        owed = {entry: roster.missing(entry, set(cohort)) for entry in grave}
        return replace(
            order, cohort=cohort, owed=tuple((entry, owed[entry]) for entry in owed if owed[entry])
        )

    def _in_turn(self, chosen: Iterable[str]) -> tuple[str, ...]:
        """Targets in the order of their declaration, in which every process builds them."""
        return tuple(sorted(chosen, key=lambda entry: self._held.roster[entry].place))


def _together(groups: Iterable[Iterable[str]]) -> list[str]:
    """The first of `groups` of targets, and as many of the next ones as fit into one round with it."""
    chosen: dict[str, None] = {}
    for group in groups:
        together = chosen | dict.fromkeys(group)
        if chosen and len(together) > MOST_TOGETHER:
            break
        chosen = together
    return list(chosen)
