"""Arrivals: the socket at which zygotes and workers report, and who is expected there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import structlog

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger()

_LINE_LIMIT = 1 << 28  # bytes; a build's report names every kernel
_SHOWN = 80  # bytes of what a stranger said

Arrival: TypeAlias = asyncio.Future[tuple[dict[str, Any], asyncio.StreamReader, asyncio.StreamWriter]]
"""What a process said first, and its line."""


class Arrivals:
    """Lets in who is expected, each by its name, and turns strangers away."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._expected: dict[str, Arrival] = {}
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_unix_server(self._greet, str(self.socket), limit=_LINE_LIMIT)

    def close(self) -> None:
        """Let nobody in any more."""
        if self._server is not None:
            self._server.close()

    def expect(self, name: str) -> Arrival:
        """The arrival of that name, when it comes."""
        arrival: Arrival = asyncio.get_running_loop().create_future()
        self._expected[name] = arrival
        return arrival

    def forget(self, name: str) -> None:
        """It has come, or is expected no longer."""
        self._expected.pop(name, None)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = b""
        try:
            text = await reader.readline()
            hello = msgspec.json.decode(text, type=dict[str, Any]) if text else {}
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors, as is a line without end
            words = text[:_SHOWN].decode(errors="replace")
            log.warning("a stranger at the workers' socket was turned away", said=words, error=str(error))
            hello = {}
        name = hello.get("name")
        arrival = self._expected.get(name) if isinstance(name, str) else None
        if hello.get("role") == "starting" or arrival is None or arrival.done():
            writer.close()  # a fresh interpreter's first word, or somebody who came too late
            return
        arrival.set_result((hello, reader, writer))


def hang_up(arrival: Arrival) -> None:
    """Close the line of who has come and is not wanted any more."""
    if arrival.done() and not arrival.cancelled():
        arrival.result()[2].close()
