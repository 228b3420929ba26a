"""Listening: the socket that only one user can reach, and uvicorn behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pcvd.core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.applications import Starlette


class _OwnUserOnly(H11Protocol):
    """Hangs up on connections of other users: the socket's mode keeps them out already, where the system
    honours it.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        connection = transport.get_extra_info("socket")
        if hasattr(socket, "SO_PEERCRED"):
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            if struct.unpack("3i", credentials)[1] not in {os.getuid(), 0}:
                transport.abort()
                return
        super().connection_made(transport)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the composition root has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


@contextlib.contextmanager
def listening_at(path: str) -> Iterator[socket.socket]:
    """A listening socket at `path`, for this user alone, which goes with its file at the end. The caller
    holds the daemon's lock, so a file that is there already is a dead daemon's.

    uvicorn would make its socket 0666, so it is bound here.
    """
    Path(path).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        try:
            before = os.umask(0o177)
            try:
                listening.bind(path)
            finally:
                os.umask(before)
            listening.listen(128)
        except OSError as error:
            raise SetupError(f"cannot listen at {path}: {error.strerror}") from error
        try:
            yield listening
        finally:
            Path(path).unlink(missing_ok=True)


async def serve(application: Starlette, listening: socket.socket, stopping: asyncio.Event) -> None:
    """Answer requests that come in at `listening`, which is closed afterwards, until `stopping` is set; then
    finish those under way, briefly.
    """
    config = uvicorn.Config(
        application,
        http=_OwnUserOnly,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        server_header=False,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    waiting = asyncio.create_task(stopping.wait())
    try:
        # A daemon that nobody can talk to any more must end, not sit on its lock.
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        server.should_exit = True
        await serving
