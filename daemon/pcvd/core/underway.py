"""What is under way: orders that were given and have not ended, and what has happened to each meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pcvd.core.events import Discover, Investigate, Retrace, Validate
from pcvd.core.wishes import Wish

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcvd.core.events import Work
    from pcvd.core.wishes import Rank

MOST_LONG = 2
"""How many orders may drag on beside the one that others wait for."""


@dataclass(slots=True)
class Running:
    """An order under way. `wishes` are those that it grants, by target."""

    order: Work
    wishes: dict[str, Wish] = field(default_factory=dict)
    touched: dict[str, Wish] = field(default_factory=dict)
    """Targets that it builds and that are to be built again, and through what."""
    meanwhile: dict[str, str | None] = field(default_factory=dict)
    """What was saved since it began: what it reads is known only when it ends."""
    gone: set[str] = field(default_factory=set)
    """Model files that went since then: what they declared is no more, whatever the order found."""
    abandoned: bool = False
    long: bool = False

    @property
    def aside(self) -> bool:
        """Whether nobody waits for it."""
        order = self.order
        return isinstance(order, Investigate | Retrace) or (
            order.aside or (isinstance(order, Validate) and order.soak is not None)
        )

    @property
    def built(self) -> tuple[str, ...]:
        """The targets that it builds, whether anybody waits for their verdicts or not."""
        return self.order.cohort if isinstance(self.order, Validate) else ()

    @property
    def strengthens(self) -> bool:
        """Whether it is a whole round over verdicts that stand, which nobody waits for."""
        return isinstance(self.order, Validate) and self.order.aside and self.order.whole

    @property
    def concerned(self) -> tuple[str, ...]:
        """The targets that it builds or looks into."""
        return () if isinstance(self.order, Discover) else self.order.cohort

    @property
    def rank(self) -> Rank | None:
        """How pressing it is; None where it grants nobody's wish."""
        return min((wish.rank for wish in self.wishes.values()), default=None)

    @property
    def cohort(self) -> tuple[str, ...]:
        """The targets that it judges; none where it judges nothing, or only gathers evidence."""
        return () if self.aside else self.built

    def wish_again(self, entry: str, why: str) -> Wish:
        """The wish for a target that has to be built once more."""
        earlier = self.wishes.get(entry)
        return Wish(why, self.order.by) if earlier is None else replace(earlier, why=why)


class UnderWay:
    """Orders by their number: one that others wait for, and a few that drag on."""

    def __init__(self, news: set[str]) -> None:
        """`news` is told of every target that begins or ceases to be built."""
        self._running: dict[int, Running] = {}
        self._news = news

    def __bool__(self) -> bool:
        return bool(self._running)

    def __iter__(self) -> Iterator[Running]:
        return iter(tuple(self._running.values()))

    @property
    def asked(self) -> frozenset[str]:
        """The model files that are being asked for their targets, but for those that went meanwhile."""
        return self._asked(aside=True) | self.awaited

    @property
    def awaited(self) -> frozenset[str]:
        """Those of them of which it is not known what they will tell."""
        return self._asked(aside=False)

    def _asked(self, *, aside: bool) -> frozenset[str]:
        asked: set[str] = set()
        for one in self:
            if isinstance(one.order, Discover) and one.order.aside is aside:
                asked.update(set(one.order.files) - one.gone)
        return frozenset(asked)

    def discoveries(self, number: int | None) -> list[Running]:
        """The discovery of that number; without a number, all of them."""
        return [one for one in self if isinstance(one.order, Discover) and number in {None, one.order.number}]

    @property
    def first(self) -> Running | None:
        """The one that others wait for."""
        return next((one for one in self._running.values() if not one.long), None)

    def begin(self, running: Running) -> None:
        """One more is under way."""
        self._news.update(running.cohort)
        self._running[running.order.number] = running

    def end(self, number: int | None) -> Running | None:
        """Take the one of that number off; without a number, the one that others wait for."""
        if number is None:
            first = self.first
            number = first.order.number if first is not None else None
        running = None if number is None else self._running.pop(number, None)
        self._news.update(running.cohort if running is not None else ())
        return running

    def drags(self, number: int) -> None:
        """The order of that number need not be waited for, unless too many drag on already."""
        running = self._running.get(number)
        if running is not None and sum(one.long for one in self._running.values()) < MOST_LONG:
            running.long = True

    @property
    def judged(self) -> set[str]:
        """The targets that orders under way will judge."""
        return {entry for one in self._running.values() for entry in one.cohort}

    @property
    def strengthened(self) -> set[str]:
        """The targets of a whole round that nobody waits for."""
        return self._aside(whole=True)

    @property
    def confirmed(self) -> set[str]:
        """The targets whose verdicts are being confirmed."""
        return self._aside(whole=False)

    def _aside(self, *, whole: bool) -> set[str]:
        orders = [one.order for one in self._running.values() if isinstance(one.order, Validate)]
        return {entry for one in orders if one.aside and one.whole is whole for entry in one.cohort}

    @property
    def retraced(self) -> set[str]:
        """The targets that are being traced under further schedules."""
        return {entry for one in self for entry in one.concerned if isinstance(one.order, Retrace)}

    def whole(self, entry: str) -> bool:
        """Whether the target is being built under every schedule, for somebody who waits."""
        running = self.judging(entry)
        return running is not None and isinstance(running.order, Validate) and running.order.whole

    def judging(self, entry: str) -> Running | None:
        """The order that will judge the target, or None."""
        return next((one for one in self._running.values() if entry in one.cohort), None)
