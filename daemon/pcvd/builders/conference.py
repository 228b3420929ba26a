"""A conference: where runs that are made side by side meet when everything is lowered, before anything is
compiled, to be told what is worth compiling.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pcvd.core.programs import Program

    Lowered = Mapping[str, Sequence[Program]]
    """The programs of one run, by target; a target that could not be lowered has none."""


class Conference:
    """The runs of these names meet once. One that ends early leaves, and the others go on without it."""

    def __init__(
        self,
        parties: Collection[str],
        decide: Callable[[Mapping[str, Lowered]], Collection[str]],
        *,
        once: bool = False,
    ) -> None:
        """`decide` is asked once, with the programs by run and target; it names the targets to compile.
        `once`: each run compiles one build of them, and no copies.
        """
        self.once = once
        self._missing, self._decide = set(parties), decide
        self._lowered: dict[str, Lowered] = {}
        self._over = asyncio.Event()
        self._wanted: Collection[str] = ()

    async def meet(self, party: str, lowered: Lowered) -> Collection[str]:
        """What `party` has lowered, against the targets that are worth compiling. May be called by each
        worker of a run, with the same.
        """
        if party in self._missing:
            self._lowered[party] = lowered
            self.leave(party)
        await self._over.wait()
        return self._wanted

    def leave(self, party: str) -> None:
        """Nothing (more) is to come from `party`."""
        self._missing.discard(party)
        if not self._missing and not self._over.is_set():
            self._wanted = self._decide(self._lowered)
            self._over.set()
