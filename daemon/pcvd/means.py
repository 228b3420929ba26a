"""The means that orders are carried out with: builders, opened when they are first needed and exchanged when
what they stand on changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import structlog

from pcv_config.settings import Settings
from pcvd.builders.protocol import Builders
from pcvd.core.errors import PcvError

if TYPE_CHECKING:
    from pcvd.blobs import Blobs
    from pcvd.core.model import Read
    from pcvd.files import Files
    from pcvd.premises import Premises
    from pcvd.store import Store

log = structlog.get_logger()

_BUILDERS = (
    "python",
    "preload",
    "platform",
    "env",
    "paths",
    "seed",
    "timeout_s",
    "memory_mb",
    "atol",
    "rtol",
)
"""The settings that builders are opened with."""

OpenBuilders = Callable[[Settings], AbstractAsyncContextManager[Builders]]


@dataclass(frozen=True, slots=True)
class Means:
    """What one order is carried out with. `premises` are what builds rest on beside the files they read."""

    builders: Builders
    settings: Settings
    premises: tuple[Read, ...]
    store: Store
    blobs: Blobs
    files: Files

    def path(self, file: str) -> str:
        """The absolute path of a model file."""
        return f"{self.settings.root.rstrip('/')}/{file}"


class Supply:
    """Hands out means. Use under `async with`."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        blobs: Blobs,
        files: Files,
        premises: Premises,
        open_builders: OpenBuilders,
    ) -> None:
        self._settings = self._next_settings = settings
        self._store, self._blobs, self._files = store, blobs, files
        self._premises, self._open_builders = premises, open_builders
        self._seen: frozenset[Read] = frozenset()
        self._builders: Builders | None = None
        self._open = AsyncExitStack()
        self._opening, self._preparing = asyncio.Lock(), asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def means(self) -> Means:
        """Those of the next order. Raises SetupError where the project's interpreter can't do the work."""
        async with self._opening:
            premises = await self._premises.present(self._next_settings)
            other = any(
                getattr(self._next_settings, name) != getattr(self._settings, name) for name in _BUILDERS
            )
            # Zygotes that were started before have imported what was installed then.
            if other or self._seen != frozenset(premises):
                async with self._preparing:
                    await self._open.aclose()
                self._builders = None
            self._settings, self._seen = self._next_settings, frozenset(premises)
            if self._builders is None:
                self._builders = await self._open.enter_async_context(self._open_builders(self._settings))
            return Means(self._builders, self._settings, premises, self._store, self._blobs, self._files)

    def reconfigure(self, settings: Settings) -> None:
        """Other settings hold from the next order on."""
        self._next_settings = settings

    async def prepare(self) -> None:
        """Have workers waiting for what comes next. One at a time, and not while builders are exchanged."""
        if self._preparing.locked():
            return
        try:
            means = await self.means()
            async with self._preparing:
                await means.builders.prepare()
        except (PcvError, OSError) as error:
            log.warning("no workers could be prepared", error=str(error))

    async def rest(self) -> None:
        """Give back waiting workers."""
        async with self._opening:
            if self._builders is not None:
                await self._builders.rest()
