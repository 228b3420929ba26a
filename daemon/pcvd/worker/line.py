"""The line between a worker and the daemon: one JSON object a line, over a Unix socket."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Line:
    """One connection. Any thread may send; one thread receives."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        self._buffer = bytearray()
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """The socket, for select."""
        return self._socket.fileno()

    def send(self, **message: Any) -> None:
        """Send one message; raises OSError when the daemon is gone."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._sending:
            self._socket.sendall(data)

    def receive(self) -> dict[str, Any] | None:
        """The next message, or None when the daemon hung up."""
        while not self.buffered:
            chunk = self._socket.recv(1 << 16)
            if not chunk:
                return None
            self._buffer += chunk
        text, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        message: dict[str, Any] = json.loads(text)
        return message

    @property
    def buffered(self) -> bool:
        """Whether a whole message has arrived already: select would wait for the next one."""
        return b"\n" in self._buffer

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All messages until the daemon hangs up."""
        while (message := self.receive()) is not None:
            yield message

    def close(self) -> None:
        """Hang up, on this side only (after a fork the parent keeps its own descriptor)."""
        self._socket.close()
