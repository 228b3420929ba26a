"""From paths to changes: a watcher's event is a hint, the digest is the proof."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcvd.core import events, looks
from pcvd.watch import may_declare

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcvd.core.plan import Plan
    from pcvd.files import Files
    from pcvd.watch import Watch


@dataclass(frozen=True, slots=True)
class Changed:
    """Something happened to these paths; what, is still to be found out."""

    paths: frozenset[str]


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody wants to be sure: look at every file that was read, whether the watcher has spoken or not."""


class Changes:
    """Remembers what the plan last heard of each file, and tells what is news."""

    def __init__(self, root: str, files: Files) -> None:
        self._root, self._files = root, files
        self._told: dict[str, str | None] = {}

    def know(self, reads: Mapping[str, str | None]) -> None:
        """The plan knows these digests; what it was told since stays."""
        for path, digest in reads.items():
            self._told.setdefault(path, digest)

    async def looked(self, plan: Plan) -> list[events.Event]:
        """What became of the files that were read, whether anybody told of it or not."""
        digests = await self._files.digests(plan.paths)
        changes = {path: digest for path, digest in digests.items() if self._told.get(path, digest) != digest}
        self._told |= digests
        return [events.Saved(changes)] if changes else []

    async def saved(self, paths: frozenset[str], plan: Plan, watch: Watch) -> events.Saved | None:
        """What is news about `paths`; None where nothing is that concerns any target."""
        concerned = _concerned(paths, plan)
        digests = await self._files.digests(concerned)
        changes = {path: digest for path, digest in digests.items() if self._told.get(path, "") != digest}
        self._told |= digests
        declaring = await asyncio.to_thread(watch.declaring_among, paths)
        gone = {
            file
            for file in plan.sources - declaring
            if (path := os.path.join(self._root, file)) in concerned | paths and not may_declare(path)
        }
        if not changes and not declaring and not gone:
            return None
        return events.Saved(changes, declaring, frozenset(gone))


def _concerned(paths: frozenset[str], plan: Plan) -> set[str]:
    """What may be other than it was, after something happened to `paths`: of all that was read, they
    themselves, what lies below them, and what was seen of the folders they are in.
    """
    known = plan.paths
    trees = [name for name in known if name.endswith(looks.TREE)]
    found: set[str] = set()
    for path in paths:
        found |= plan.concerned(path)
        folder = os.path.dirname(path)
        if folder in known or not plan.idle:  # what an order under way lists is not known yet
            found.add(folder)
        if path in known and not os.path.isfile(path):  # listed, and perhaps gone with all that was in it
            found.update(name for name in known if name.startswith(f"{path}/"))
        found.update(name for name in trees if path.startswith(f"{looks.folder_of(name)}/"))
    return found
