"""Saves: which verdicts one outdates, which stand over it, what is to be built and asked anew, and which
orders under way it makes pointless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcvd.core.events import Declared
from pcvd.core.held import MOST_TRIES
from pcvd.core.wishes import Rank, Wish

if TYPE_CHECKING:
    from pcvd.core.events import Saved
    from pcvd.core.held import Held
    from pcvd.core.underway import Running


def take_in(held: Held, event: Saved) -> list[Running]:
    """The orders under way whose builds the save makes pointless."""
    for file in event.gone:
        held.declare(Declared((), file))
        held.census.drop(file)
        held.aside.gone(file)
    for running in held.under_way:
        running.gone |= event.gone
        running.meanwhile |= event.changes
    _ask_again(held, event)
    held.roster.unlearn(event.changes)
    believed = {entry for path in event.cosmetic for entry in _believed(held, path, event)}
    touched = {entry for path, digest in event.changes.items() for entry in _touched(held, path, digest)}
    touched |= _unread(held, event)
    pointless = [one for one in held.under_way if _is_pointless(held, one, touched, believed)]
    for running in pointless:
        for entry in believed.intersection(running.concerned if running.aside else ()):
            held.roster[entry].given_up += 1
    return pointless


def _ask_again(held: Held, event: Saved) -> None:
    """Which model files are to be asked for their targets: later, where only the lines of what they read are
    others.
    """
    edited = event.changes.keys() - event.cosmetic.keys()
    asking = {source for path in edited for source in held.census.read.readers(path)}
    same = {source for path in event.cosmetic for source in held.census.read.readers(path)} - asking
    held.census.ask(sorted(asking | (event.declaring - same)), held.number)
    held.aside.revisit(sorted(same), held.number)


def _believed(held: Held, path: str, event: Saved) -> list[str]:
    """The targets whose verdicts stand over `path` as it is now, since its code is the same."""
    roster = held.roster
    stand = [
        entry
        for entry in sorted(roster.read.readers(path))
        if roster[entry].fresh
        and roster.read.digest(entry, path) == event.cosmetic[path]
        and held.under_way.judging(entry) is None
    ]
    for entry in stand:
        roster.read.update(entry, path, event.changes[path])
    held.aside.believe(stand, held.number)
    held.news.update(stand)
    return stand


def _touched(held: Held, path: str, digest: str | None) -> list[str]:
    """The targets that read `path`, where it is news that it holds this; verdicts on it are stale now."""
    roster = held.roster
    readers = sorted(roster.read.readers(path))
    news = []
    for entry in readers:
        before = roster.read.digest(entry, path)
        if held.told.get(path, before) != digest:
            news.append(entry)
        if before != digest:
            roster.outdate(entry)
            # Where it is built already, whether the build has seen the save its end will tell.
            if held.eager and held.under_way.judging(entry) is None:
                # Once more, so that it goes first.
                held.wishes.put(entry, Wish(roster.saved(path), held.number, Rank.SAVED))
    if readers:
        held.told[path] = digest
    return news


def _unread(held: Held, event: Saved) -> set[str]:
    """The targets being built of which nobody knows yet what they read, but that they are in a file that was
    saved, and those that are no more.
    """
    roster = held.roster
    saved = {*event.declaring, *event.gone, *map(roster.shown, event.changes)}
    cohorts = {entry for running in held.under_way for entry in running.cohort}
    known = roster.read.who
    gone = {entry for entry in cohorts if entry not in roster}
    return gone | {
        entry for entry in cohorts - gone if entry not in known and roster[entry].spec.path in saved
    }


def _is_pointless(held: Held, running: Running, touched: set[str], believed: set[str]) -> bool:
    """Whether all that an order builds was saved since; or, of what is built aside, anything commented: its
    end would outdate verdicts that stand. What was given up too often is seen through.
    """
    if running.aside:
        concerned = believed.intersection(running.concerned)
    else:
        concerned = set(running.cohort) if touched.issuperset(running.cohort) else set()
    left = (target for entry in concerned if (target := held.roster.get(entry)) is not None)
    worth_it = all(target.given_up < MOST_TRIES for target in left)
    return bool(concerned) and worth_it and not running.abandoned
