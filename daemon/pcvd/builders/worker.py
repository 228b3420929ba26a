"""The daemon's end of one worker process: messages in order, its death as an exception, its killing
without a race.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

_STACK_TRIES, _STACK_PAUSE_S = 20, 0.05
_ANSWER_S = 5.0
_MOST_WORDS = 300
_MOST_OUTPUT = 20_000  # bytes of a dead worker's output that go into the failure


class WorkerDied(Exception):
    """The process ended before its job did. Its text says how, with the last lines it printed."""


class Overdue(Exception):
    """No message came before the deadline."""


class Worker:
    """One worker: `receive` its messages, `send` it orders. `kill` asks its parent, which alone can do so
    safely.
    """

    def __init__(
        self,
        name: str,
        pid: int,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        ended: asyncio.Future[int],
        kill: Callable[[], Awaitable[None]],
        log: Path,
    ) -> None:
        self.name, self.pid = name, pid
        self._reader, self._writer = streams
        self._ended, self._kill, self._log = ended, kill, log

    async def send(self, **message: Any) -> None:
        """Send one message. A worker that died meanwhile shows at the next `receive`."""
        self._writer.write(msgspec.json.encode(message) + b"\n")
        with suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self, timeout_s: float | None) -> dict[str, Any]:
        """The next message. Raises WorkerDied, or Overdue after `timeout_s` seconds without one."""
        try:
            async with asyncio.timeout(timeout_s):
                text = await self._reader.readline()
        except TimeoutError:
            raise Overdue from None
        except (ConnectionError, ValueError):
            text = b""
        if not text.endswith(b"\n"):
            raise WorkerDied(await self._obituary())
        # Not msgspec: a distance may be infinite, and Python's own JSON says so.
        try:
            message: dict[str, Any] = json.loads(text)
        except ValueError:  # a model wrote into a descriptor that was not its own
            await self._kill()
            raise WorkerDied("the worker process sent what is no message, and was ended") from None
        return message

    async def answers(self) -> bool:
        """Whether a process that has no job yet is still there. Asked just before it is given one: a death in
        between would be blamed on the model.
        """
        try:
            await self.send(do="answer")
            await self.receive(_ANSWER_S)
        except (WorkerDied, Overdue):
            return False
        return True

    async def dismiss(self) -> None:
        """End the process, whatever it is doing, and hang up."""
        if not self._ended.done():
            await self._kill()
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        with suppress(OSError):
            self._log.unlink()

    async def where(self) -> str:
        """The end of its output once asked where it is: faulthandler writes the stacks of its threads."""
        before = len(self.output())
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
        for _ in range(_STACK_TRIES):
            await asyncio.sleep(_STACK_PAUSE_S)
            if len(self.output()) > before:
                break
        return self.output()

    async def _obituary(self) -> str:
        # The line breaks a moment before the parent has reaped the process and can say how it ended.
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.shield(self._ended)
        status = self._ended.result() if self._ended.done() and not self._ended.cancelled() else None
        how = "hung up" if status is None else _status_text(status)
        words = _last_words(self.output())
        return f"the worker process {how}" + (f"; it last said: {words}" if words else "")

    def output(self) -> str:
        """The end of what the process printed."""
        try:
            return self._log.read_bytes()[-_MOST_OUTPUT:].decode(errors="replace")
        except OSError:
            return ""


def _last_words(output: str) -> str:
    """The last line that says why; what faulthandler adds after it says where, and is read elsewhere."""
    said, fatal, _ = output.partition("Fatal Python error")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][-_MOST_WORDS:] if lines and not (fatal and lines[-1].startswith("File")) else ""


def _status_text(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"was killed by signal {-status}"
