"""The composition root: builds everything, joins it, and takes it down in order. `serve` is the daemon,
`check` one round without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import structlog

from pcv_config import places
from pcv_config import settings as pcv_settings
from pcv_config.settings import Settings, SettingsError
from pcvctl import lifecycle
from pcvctl.exits import exit_code
from pcvd import __version__, logs
from pcvd.blobs import Blobs
from pcvd.builders.pool import LocalPool
from pcvd.core.errors import SetupError, UsageError
from pcvd.published import Published
from pcvd.server import Door, bind, serve
from pcvd.service import Service
from pcvd.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

log = structlog.get_logger()

_LOCK_TRIES, _LOCK_PAUSE_S = 5, 0.05
_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def daemon(root: str) -> int:
    """Serve the project in `root` until told to stop; the exit code. Raises PcvError where it cannot
    begin.
    """
    settings = load(root)
    prepare_state(root)
    logs.configure(
        Path(places.state(root, "pcvd.log")),
        terminal=logs.Terminal.LINES if sys.stderr.isatty() else logs.Terminal.NOTHING,
    )
    with holding_lock(root):
        published = Published(root)
        socket_path = places.socket_path(root)
        stopping = asyncio.Event()
        received = interruptions(stopping.set)
        async with Store.open(places.state(root, "pcv.sqlite")) as store:
            service = _service(settings, store, published.write)
            listening = bind(socket_path)
            log.info("started", version=__version__, root=root, pid=os.getpid())
            try:
                async with asyncio.TaskGroup() as group:
                    working = group.create_task(service.run(watching=True))
                    await serve(Door(service, stopping.set), listening, stopping)
                    working.cancel()
            finally:
                # Gone before the last words, so that nobody finds a door with nobody behind it.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(socket_path)
                listening.close()
                if service.surveyed:  # else the last verdicts of an earlier life would be overwritten
                    published.write_down(service.status())
        log.info("stopped")
    return 128 + received[0] if received else 0


async def check(root: str, entries: Sequence[str], write: Callable[[dict[str, Any]], None]) -> int:
    """One round over `entries` (none: all targets) without a daemon; hands the status document to `write`;
    the exit code.
    """
    task = asyncio.current_task()
    received = interruptions(task.cancel if task else lambda: None)
    try:
        document = await _round(root, entries)
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
    write(document)
    return exit_code(document)


async def _round(root: str, entries: Sequence[str]) -> dict[str, Any]:
    settings = load(root)
    prepare_state(root)
    logs.configure(Path(places.state(root, "check.log")), terminal=logs.Terminal.PROGRESS)
    # The status files are a daemon's own, where one runs.
    publish = _unpublished if lifecycle.locked(root) else Published(root).write_down
    async with Store.open(places.state(root, "pcv.sqlite")) as store:
        service = _service(settings, store, _unpublished, eager=False)
        async with asyncio.TaskGroup() as group:
            working = group.create_task(service.run(watching=False))
            await service.settled(await service.recheck(list(entries) or None))
            await service.tidy()
            working.cancel()
        publish(service.status())
        document = service.status(entries)
    # This process is no daemon: nobody keeps these verdicts fresh once it has ended.
    return {**document, "daemon": {**document["daemon"], "state": "down"}}


def _unpublished(_document: dict[str, Any]) -> None:
    """For a service whose verdicts go elsewhere."""


def interruptions(stop: Callable[[], object]) -> list[int]:
    """Have signals that ask for an end call `stop`; the list of those that came, as they come."""
    received: list[int] = []

    def interrupted(number: int) -> None:
        received.append(number)
        stop()

    for number in _INTERRUPTIONS:
        asyncio.get_running_loop().add_signal_handler(number, interrupted, number)
    return received


def load(root: str) -> Settings:
    """The project's settings, their faults as PcvError."""
    try:
        return pcv_settings.load(root)
    except SettingsError as error:
        raise UsageError(error.message, file=error.file, line=error.line, hint=error.hint) from error


def prepare_state(root: str) -> None:
    """Create `.pcv/` and what must stand in it. Raises SetupError where the folder cannot be written."""
    state = Path(places.state(root))
    try:
        state.mkdir(mode=0o700, exist_ok=True)
        state.chmod(
            0o700
        )  # somebody else may have made it; what models read and compute is nobody's business
        (state / "objects").mkdir(mode=0o700, exist_ok=True)
        ignore = state / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        if not os.access(state, os.W_OK):
            raise PermissionError(13, "Permission denied", str(state))
    except OSError as error:
        raise SetupError(
            f"cannot write {state}: {error.strerror}", hint="pcv keeps what it finds there"
        ) from error


@contextlib.contextmanager
def holding_lock(root: str) -> Iterator[None]:
    """Be the only daemon of `root`. Raises SetupError, with the other one's pid, where there is one."""
    try:
        places.make_private(places.runtime_folder())
        handle = os.open(places.lock_path(root), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except (OSError, ValueError) as error:
        raise SetupError(str(error)) from error
    with os.fdopen(handle, "r+") as file:
        if not _locked(file):
            raise SetupError(
                f"a daemon already runs for {root} (pid {file.read().strip() or 'unknown'})",
                hint="pcvctl stop ends it",
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _locked(file: IO[str]) -> bool:
    # `pcvctl stop` looks whether the lock is free by taking it for a moment: that is no other daemon.
    for attempt in range(_LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < _LOCK_TRIES:
                time.sleep(_LOCK_PAUSE_S)
        else:
            return True
    return False


def _service(
    settings: Settings, store: Store, publish: Callable[[dict[str, Any]], None], *, eager: bool = True
) -> Service:
    objects = places.state(settings.root, "objects")

    def open_builders(current: Settings) -> AbstractAsyncContextManager[LocalPool]:
        return LocalPool.open(current, objects)

    return Service(settings, store, Blobs(objects), open_builders, publish, eager=eager)
