"""From paths to changes: a watcher's event is a hint, the digest is the proof."""

from __future__ import annotations

import asyncio
import itertools
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcvd.codes import Codes
from pcvd.core import events, looks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcvd.core.plan import Plan
    from pcvd.files import Files
    from pcvd.watch import Watch


_MOST_LEARNED = 1000
"""Modules that are looked into before anybody saves one; of ten thousand it would take a minute."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Something happened to these paths; what, is still to be found out."""

    paths: frozenset[str]


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody wants to be sure: look at the files that were read, whether the watcher has spoken or not.

    `covered`: it has spoken, of all that it sees; what it does not see is to be looked at.
    """

    covered: bool = False


class Changes:
    """Remembers what the plan last heard of each file, and tells what is news."""

    def __init__(self, root: str, files: Files) -> None:
        self._root, self._files = root, files
        self._codes = Codes()
        self._told: dict[str, str | None] = {}
        self._unseen: list[str] = []
        self._hidden: dict[str, bool] = {}
        """Of every path that was read, whether the watcher does not see it."""
        self._unseen_of: tuple[object, ...] = ()

    def may_declare(self, file: str) -> bool:
        """Whether a file, named relative to the root, is worth asking for targets."""
        return self._files.may_declare(self._path(file))

    async def declaring(self, watch: Watch, declared: Iterable[str]) -> frozenset[str]:
        """The model files (relative to the root) that are to be asked for their targets: those that may
        declare some, and of those that have `declared` some before, the ones that are still there. Such a
        one is just being written, or can't be read, or says itself that it has none any more.
        """
        mentioning = frozenset(await asyncio.to_thread(watch.declaring))
        silent = set(declared) - mentioning
        return mentioning | await self._there(file for file in silent if watch.covers(self._path(file)))

    async def _there(self, files: Iterable[str]) -> set[str]:
        """Those of `files` that exist, whether they can be read or not."""
        paths = {self._path(file): file for file in files}
        stats = await self._files.stats(paths) if paths else {}
        return {paths[path] for path, stat in stats.items() if stat is not None}

    def know(self, reads: Mapping[str, str | None]) -> None:
        """The plan knows these digests; what it was told since stays."""
        for path, digest in reads.items():
            self._told.setdefault(path, digest)

    async def learn(self, names: Iterable[str] | None = None) -> None:
        """Have a look at modules that were read (None: at some of all), to know later whether a save of one
        is a new comment.
        """
        told = ((name, self._told.get(name)) for name in (self._told if names is None else names))
        held = {name: digest for name, digest in told if digest and looks.is_module(name)}
        await self._codes.learn(dict(itertools.islice(held.items(), _MOST_LEARNED)))

    async def unseen(self, plan: Plan, watch: Watch) -> list[str]:
        """The files that were read and that the watcher does not see."""
        about = (plan.paths_version, watch)
        if self._unseen_of != about:
            if self._unseen_of[1:] != about[1:]:
                self._hidden = {}
            paths = plan.paths
            new = [path for path in paths if path not in self._hidden]
            # Where each name leads: of ten thousand files that takes a while.
            self._hidden |= await asyncio.to_thread(_unseen_among, new, watch)
            self._unseen_of, self._unseen = about, [path for path in paths if self._hidden[path]]
        return self._unseen

    async def differing(self, paths: Iterable[str]) -> set[str]:
        """Those of `paths` that do not hold what the plan last heard."""
        digests = await self._files.digests(paths)
        return {path for path, digest in digests.items() if self._told.get(path, digest) != digest}

    async def looked(self, plan: Plan, paths: Iterable[str] | None = None) -> list[events.Event]:
        """What became of `paths` (None: of all that was read), whether anybody told of it or not."""
        digests = await self._files.digests(plan.paths if paths is None else paths)
        changes = {path: digest for path, digest in digests.items() if self._told.get(path, digest) != digest}
        self._told |= digests
        return [events.Saved(changes)] if changes else []

    async def caught_up(self, plan: Plan, watch: Watch) -> list[events.Event]:
        """What happened while nobody watched: to what was read, and to which model files there are."""
        looked = await self.looked(plan)
        there = await self.survey(plan, watch)
        come = plan.unasked(there.declaring)
        return [*looked, events.Saved({}, come, there.gone)] if come or there.gone else looked

    async def survey(self, plan: Plan, watch: Watch) -> events.Saved:
        """Which model files there are, and which of those that were asked are no more."""
        there = await self.declaring(
            watch, {file for file in plan.sources if plan.declares(file)} | plan.asking
        )
        return events.Saved({}, there, plan.sources - there)

    def _path(self, file: str) -> str:
        return os.path.join(self._root, file)

    async def saved(self, paths: frozenset[str], plan: Plan, watch: Watch) -> events.Saved | None:
        """What is news about `paths`; None where nothing is that concerns any target."""
        concerned = _concerned(paths, plan)
        digests = await self._files.digests(concerned)
        changes = {path: digest for path, digest in digests.items() if self._told.get(path, "") != digest}
        cosmetic = await self._codes.alike(
            {path: (self._told.get(path), digest) for path, digest in changes.items()}
        )
        for name in {name for path in paths for name in (path, looks.text(path))} - concerned:
            self._told.pop(name, None)  # whoever reads it next reads something else than what was told
        self._told |= digests
        declaring = await asyncio.to_thread(watch.declaring_among, paths)
        # The watcher may speak of what a glimpse has seen already.
        # But what a build has seen before the watcher spoke, the file was not asked about yet.
        same = {
            file
            for file in plan.sound
            if (path := self._path(file)) in digests
            and path not in changes
            and plan.seen(file) in {None, digests[path]}
        }
        declaring -= same
        silent = {
            file
            for file in plan.sources - declaring - same
            if (path := self._path(file)) in concerned | paths and not self._files.may_declare(path)
        }
        # Many an editor empties a file to write it anew: who declared targets is asked whether it still does.
        # Or it cannot be read, and nobody knows.
        emptied = await self._there(file for file in silent if plan.declares(file))
        declaring |= emptied
        gone = silent - emptied
        if not changes and not declaring and not gone:
            return None
        return events.Saved(changes, frozenset(declaring), frozenset(gone), cosmetic)


def _unseen_among(names: Iterable[str], watch: Watch) -> dict[str, bool]:
    """Of each name that was read, whether the watcher does not see it, or not under that name."""
    real: dict[str, bool] = {}
    hidden = {}
    for name in names:
        path = looks.file_of(name)
        folder = os.path.dirname(path)
        if folder not in real:
            real[folder] = _is_real(folder)
        hidden[name] = not real[folder] or not watch.covers(path) or _is_linked(path)
    return hidden


def _is_real(folder: str) -> bool:
    try:
        return os.path.realpath(folder) == folder
    except (OSError, ValueError):  # a name that no file can have
        return False


def _is_linked(path: str) -> bool:
    """Whether what stands at `path` may be written under another name, of which the watcher tells."""
    try:
        info = os.lstat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISLNK(info.st_mode) or (stat.S_ISREG(info.st_mode) and info.st_nlink > 1)


def _concerned(paths: frozenset[str], plan: Plan) -> set[str]:
    """What may be other than it was, after something happened to `paths`: of all that was read, they
    themselves, what lies below them, and what was seen of the folders they are in.
    """
    found: set[str] = set()
    for path in paths:
        found |= plan.concerned(path)
        folder = os.path.dirname(path)
        if plan.reads(folder) or plan.working:  # what an order under way lists is not known yet
            found.add(folder)
        if plan.reads(path) and not os.path.isfile(path):  # listed, and perhaps gone with all that was in it
            found |= plan.below(path)
        found |= plan.above(path)
    return found
