"""What the plan holds: targets and where they stand, model files, wishes, and what is under way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pcvd.core.aside import Aside
from pcvd.core.census import Census
from pcvd.core.roster import Roster
from pcvd.core.underway import UnderWay
from pcvd.core.wishes import Wish, Wishes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcvd.core.events import Declared, Known, Work

MOST_TRIES = 3
"""How often a target is built again because its files changed meanwhile, when no further save asks for it;
and how often in a row its build is given up for a newer save, or one of the backlog for what presses more.
After that it is seen through, so that a file which is saved all the time starves nobody.
"""


@dataclass(slots=True)
class Held:
    """Everything that a plan knows. `eager`: what is new or stale is built by itself, not only what is asked
    for. `root`: the folder that files are named relative to.
    """

    eager: bool = True
    root: str = ""
    number: int = 0
    """Of the event that is taken in."""
    news: set[str] = field(default_factory=set)
    """Targets that stand otherwise than when that was asked last."""
    unfinished: dict[str, int] = field(default_factory=dict)
    """Targets whose verdicts a whole round is to strengthen, and the number of the event behind that."""
    recalled: dict[str, Known] = field(default_factory=dict)
    """Targets about whose verdicts an earlier life had still something to do, until they are judged or those
    are confirmed.
    """
    postponed: list[Work] = field(default_factory=list)
    """What nobody waits for and could not be carried out at all: tried again when something else could."""
    told: dict[str, str | None] = field(default_factory=dict)
    """What a path that is read was last said to hold: the same once more is no news."""
    census: Census = field(default_factory=Census)
    aside: Aside = field(default_factory=Aside)
    roster: Roster = field(init=False)
    wishes: Wishes = field(init=False)
    under_way: UnderWay = field(init=False)

    def __post_init__(self) -> None:
        self.roster = Roster(self.news, self.root)
        self.wishes, self.under_way = Wishes(self.news), UnderWay(self.news)

    def declare(self, event: Declared) -> None:
        """Which targets there are now, by what a source declares."""
        for entry in self.roster.undeclared(event):
            self.roster.forget(entry)
            self.wishes.pop(entry)
            self.unfinished.pop(entry, None)
            self.aside.settled(entry)
            self.recalled.pop(entry, None)
        for entry, why, known in self.roster.declare(event):
            if known is not None and (known.partial or known.untraced or known.unexplained is not None):
                self.recalled[entry] = known
            if why:
                self.want((entry,), why)
            else:
                self.stands(entry)

    def stands(self, entry: str) -> None:
        """A verdict stands: what an earlier life had still to do about it is to be done."""
        known = self.recalled.pop(entry, None)
        if known is None:
            return
        if known.partial:
            self.unfinished[entry] = self.number
        elif self.eager:
            if known.untraced:
                self.aside.retrace(entry, self.number)
            if known.unexplained is not None:
                self.aside.puzzle(replace(known.unexplained, by=self.number))

    def want(self, entries: Iterable[str], why: str) -> None:
        """Have them built for a reason that no file tells, so whatever is under way was begun too early."""
        wish = Wish(why, self.number)
        for entry in entries:
            for running in self.under_way:
                if entry in running.concerned:
                    running.touched[entry] = wish
            if self.eager and self.under_way.judging(entry) is None:
                self.wishes.add(entry, wish)
