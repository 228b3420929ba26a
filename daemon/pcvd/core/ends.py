"""Ends: what follows from an order that has ended, or was given up. Which verdicts stand, who is built again,
what is left to be looked into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcvd.core.compare import INCONCLUSIVE
from pcvd.core.events import Discover, Investigate, Retrace, Validate
from pcvd.core.held import MOST_TRIES
from pcvd.core.wishes import Rank, Wish

if TYPE_CHECKING:
    from collections.abc import Collection

    from pcvd.core.events import Ended, Work
    from pcvd.core.held import Held
    from pcvd.core.underway import Running


def take_in(held: Held, running: Running, event: Ended) -> None:
    """The order `running` has ended like this."""
    if running.abandoned and event.failed:
        _resume(held, running)
    elif running.aside:
        _doubt(held, running, event)
    else:
        held.aside.judged()
    if not event.failed:
        postponed, held.postponed = held.postponed, []
        for order in postponed:
            _wait_again(held, order)
    if isinstance(running.order, Discover) and event.failed and not running.abandoned:
        held.census.postpone(running.order.files)
    if isinstance(running.order, Validate):
        _judged(held, running.order, event)
    _confirmed(held, running, event)
    _build_again(held, running, event)
    told = {one.entry for one in event.judged} | {one.entry for one in event.confirmed}
    _catch_up(held, running, told.union(running.cohort))
    for entry in running.cohort:
        if entry not in held.wishes and not (entry in held.roster and held.roster[entry].fresh):
            held.unfinished.pop(entry, None)  # there is no verdict that could be strengthened


def _resume(held: Held, running: Running) -> None:
    """What was given up waits again."""
    if running.aside:
        _wait_again(held, running.order, running.gone)
    for entry, wish in running.wishes.items():
        if entry in held.roster:
            held.roster[entry].given_up += 1
            held.wishes.add(entry, wish)


def _wait_again(held: Held, order: Work, gone: Collection[str] = ()) -> None:
    """What nobody waits for is to be carried out once more; `gone` are model files that are no more."""
    if isinstance(order, Validate) and order.whole and order.soak is None:
        waiting = (entry for entry in order.cohort if entry in held.roster)
        held.unfinished = dict.fromkeys(waiting, order.by) | held.unfinished
    else:
        held.aside.resume(order, gone)


def _doubt(held: Held, running: Running, event: Ended) -> None:
    """Where verdicts could not be confirmed, nobody knows whether they still stand. What was only to be known
    better is still to be.
    """
    if not event.failed:
        return
    order = running.order
    if isinstance(order, Retrace) or running.strengthens:
        held.postponed.append(order)
    elif isinstance(order, Validate) and not order.whole:
        for entry in running.built:
            if entry in held.roster:
                held.roster.outdate(entry)


def _judged(held: Held, order: Validate, event: Ended) -> None:
    roster = held.roster
    for judged in event.judged:
        entry = judged.entry
        if entry not in roster:  # its declaration may have gone while it was built
            continue
        roster.judged(entry, judged.verdict, order.cohort, judged.reads, provisional=judged.provisional)
        held.aside.settled(entry)
        held.recalled.pop(entry, None)
        if order.soak is None:
            held.unfinished.pop(entry, None)
        missing = roster.missing(entry, set(order.cohort))
        if judged.provisional and not order.whole and held.eager:
            held.wishes.add(entry, Wish("it had differed beside others", order.by, whole=True))
        elif judged.verdict != INCONCLUSIVE and (judged.partial or (missing and not order.whole)):
            held.unfinished[entry] = order.by
    puzzling = tuple(judged.entry for judged in event.judged if judged.puzzling)
    if puzzling:
        held.aside.puzzle(Investigate(order.cohort, puzzling, event.round, by=order.by))


def _confirmed(held: Held, running: Running, event: Ended) -> None:
    """Whose verdict stands, and of whom nobody knows: a whole round is to judge."""
    for confirmed in event.confirmed:
        held.aside.confirmed(confirmed.entry)
        if confirmed.entry not in held.roster:
            continue
        held.roster.confirm(confirmed.entry, confirmed.reads)
        held.stands(confirmed.entry)
        if confirmed.partial and confirmed.entry not in held.unfinished:
            held.aside.retrace(confirmed.entry, running.order.by)
    for entry in event.doubted:
        if entry in held.roster:
            held.roster.outdate(entry)
            why = "other schedules did not make the program of it that was confirmed"
            held.wishes.add(entry, Wish(why, running.order.by, whole=True))


def _build_again(held: Held, running: Running, event: Ended) -> None:
    """Who could not be judged, through a neighbour or because its files were edited meanwhile."""
    for entry in event.again:
        if entry not in held.roster:
            continue
        if running.strengthens:
            # Its verdict stands. Only in a smaller company, or whoever breaks the round would do so for ever.
            if set(held.roster.neighbours(entry)) < set(running.built):
                held.unfinished[entry] = running.order.by
        else:
            held.wishes.add(entry, running.wish_again(entry, "its round could not be finished"))
    for entry in event.changed:
        target = held.roster.get(entry)
        if target is None:
            continue
        held.roster.outdate(entry)
        if target.tries < MOST_TRIES:
            target.tries += 1
            held.wishes.add(entry, running.wish_again(entry, "its files changed while it was built"))


def _catch_up(held: Held, running: Running, concerned: set[str]) -> None:
    """What happened to those `concerned` while they were built: only now is it known what they read. Of what
    was built aside that is who has a verdict from it; the others did not wait for its end.
    """
    roster = held.roster
    touched = {entry: wish for entry, wish in running.touched.items() if entry in concerned}
    for path, digest in running.meanwhile.items():
        for entry in sorted(roster.read.readers(path).intersection(concerned)):
            if roster.read.digest(entry, path) != digest:
                touched.setdefault(entry, Wish(roster.saved(path), held.number, Rank.SAVED))
    for entry, wish in touched.items():
        if entry in roster:
            roster.outdate(entry)
            if held.eager:
                held.wishes.add(entry, wish)
