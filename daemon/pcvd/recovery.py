"""Recovery: what the daemon remembers, held against what is so now. Only what still holds is fresh."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from pcvd.core import looks
from pcvd.core.events import Declared, Investigate, Known
from pcvd.core.succession import is_partial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcvd.core.model import Read
    from pcvd.files import Files
    from pcvd.store import Discovered, Standing

_SETTINGS = {
    "settings": "the settings",
    "variables": "a variable that JAX or XLA reads",
    "affinity": "the set of processors",
}


async def known(
    standings: Sequence[Standing],
    premises: Sequence[Read],
    environment: Mapping[str, str],
    files: Files,
    root: str,
    schedules: Sequence[str] = (),
) -> tuple[tuple[Known, ...], dict[str, str | None]]:
    """The remembered verdicts for the plan, and the present digests of the files that they rest on.

    `premises` are the present ones (none where they can't be had: then all are stale); `environment` is
    that of worker processes; file names are told relative to `root`. A verdict that rests on fewer than
    `schedules` is a partial one.
    """
    present = {(read.kind, read.name): read.digest for read in premises}
    digests, broken = await _broken([one.reads for one in standings], present, environment, files)

    def stale(standing: Standing) -> str | None:
        """What no longer holds; None where everything does."""
        if not premises:
            return "it could not be found out what its builds rest on"
        other = next((read for read in standing.reads if id(read) in broken), None) if broken else None
        return None if other is None else _changed(other, present.get((other.kind, other.name)), root)

    remembered = tuple(
        Known(
            standing.target,
            standing.verdict,
            standing.differed,
            {read.name: read.digest for read in standing.reads if read.kind == "file"},
            stale(standing),
            grave=standing.grave,
            partial=is_partial(standing.verdict, standing.schedules, schedules),
            unexplained=_unexplained(standing),
            untraced=standing.untraced,
        )
        for standing in standings
    )
    return remembered, digests


def _unexplained(standing: Standing) -> Investigate | None:
    if standing.unexplained is None:
        return None
    return Investigate(standing.cohort, (standing.target.entry,), standing.unexplained)


async def declared(
    discoveries: Sequence[Discovered],
    premises: Sequence[Read],
    environment: Mapping[str, str],
    files: Files,
    root: str,
) -> tuple[tuple[Declared, ...], dict[str, str | None]]:
    """What model files declare, of those of which nothing has changed since they were asked; and the present
    digests of what that rests on. The parameters are those of `known`.
    """
    present = {(read.kind, read.name): read.digest for read in premises}
    digests, broken = await _broken([one.reads for one in discoveries], present, environment, files)
    # Without premises it can't be found out what holds.
    standing = [one for one in discoveries if broken.isdisjoint(map(id, one.reads))] if premises else []
    told = []
    for one in standing:
        held = {read.name: read.digest for read in one.reads if read.kind == "file"}
        seen = held.get(f"{root.rstrip('/')}/{one.file}")
        told.append(Declared(one.targets, one.file, frozenset(held), seen))
    return tuple(told), digests


async def _broken(
    lists: Sequence[Sequence[Read]],
    premises: Mapping[tuple[str, str], str | None],
    environment: Mapping[str, str],
    files: Files,
) -> tuple[dict[str, str | None], set[int]]:
    """The present digests of all files among lists of reads, and the reads (by `id`) that would give
    something else now.

    Thousands of lists hold much the same reads, each of which is one object: each is looked at once.
    """
    every = {id(read): read for reads in lists for read in reads}
    digests = await files.digests({read.name for read in every.values() if read.kind == "file"}, sparse=True)

    def holds(read: Read) -> bool:
        if read.kind == "file":
            return digests[read.name] == read.digest
        if read.kind == "env":
            value = environment.get(read.name)
            return read.digest == (None if value is None else digest_of(value))
        return premises.get((read.kind, read.name)) == read.digest

    return digests, {number for number, read in every.items() if not holds(read)}


def _changed(read: Read, now: str | None, root: str) -> str:
    """That `read` is another one than when the target was judged, whoever ran or did not run meanwhile."""
    match read.kind, read.name:
        case ("file", name):
            name = looks.path_of(name)
            what = os.path.relpath(name, root) if name.startswith(f"{root.rstrip('/')}/") else name
        case ("env", name):
            what = f"the variable {name}"
        case ("version", "packages"):  # a digest, which tells nobody anything
            what = "the installed packages"
        case ("version", name):
            return f"{name} was {read.digest}, and is {now}, since it was judged"
        case ("setting", name):
            what = _SETTINGS.get(name, name)
        case _:
            what = f"{read.kind} {read.name}"
    return f"{what} changed since it was judged"


def digest_of(value: str) -> str:
    """The digest of an environment variable's value; the value itself may be a secret."""
    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()
