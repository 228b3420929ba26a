"""Codes: what modules held, but for comments and layout, so that a save of nothing else is known as one."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from pcvd.core import looks
from pcvd.core.code import code_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 4096
"""So many contents are remembered; of what was seen before them a save is taken for an edit."""
_A_SAVE = 16
"""Who saves more modules than that at once has done more than comment them."""
_AT_A_TIME = 16
"""A thread can't be called off: the daemon's end waits for so many modules at most."""


class Codes:
    """Digests of code by digests of contents."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}
        self._looking = asyncio.Lock()

    async def learn(self, modules: Mapping[str, str]) -> None:
        """Remember these modules (name to digest), where they still hold that."""
        left = iter(modules.items())
        while some := list(itertools.islice(left, _AT_A_TIME)):
            async with self._looking:
                new = {path: held for path, held in some if held not in self._known}
                if new:
                    self._known |= await asyncio.to_thread(_look, new)
                for oldest in list(itertools.islice(self._known, max(0, len(self._known) - _MOST))):
                    del self._known[oldest]

    async def alike(self, changes: Mapping[str, tuple[str | None, str | None]]) -> dict[str, str]:
        """Of `changes` (name to the digests before and after), the modules whose code is what it was; each
        with the digest before.
        """
        candidates = {
            path: (before, after)
            for path, (before, after) in changes.items()
            # Who reads a module as text reads the comments as well.
            if looks.is_module(path) and before and after and self._known.get(before) is not None
        }
        if len(candidates) > _A_SAVE:
            return {}
        await self.learn({path: after for path, (_, after) in candidates.items()})
        return {
            path: before
            for path, (before, after) in candidates.items()
            if (code := self._known.get(after)) is not None and code == self._known.get(before)
        }


def _look(reads: Mapping[str, str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for path, held in reads.items():
        try:
            source = Path(path).read_bytes()
        except (OSError, ValueError):
            continue
        if hashlib.sha256(source).hexdigest() == held:
            found[held] = code_digest(source)
    return found
