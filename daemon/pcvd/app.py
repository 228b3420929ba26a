"""The composition root: builds everything, joins it, and takes it down in order. `serve` is the daemon,
`check` one round without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import structlog

from pcv_config import lock, places
from pcv_config import settings as pcv_settings
from pcv_config.settings import Settings, SettingsError
from pcvctl import Trouble
from pcvctl.daemon import Daemon
from pcvctl.exits import exit_code
from pcvd import __version__, logs
from pcvd.blobs import Blobs
from pcvd.builders.pool import LocalPool
from pcvd.core.errors import SetupError, UsageError
from pcvd.core.variation import named
from pcvd.desk import MOST_LISTED
from pcvd.inquiry import Inquiry
from pcvd.listening import listening_at, serve
from pcvd.published import Published
from pcvd.server import Door
from pcvd.service import Service
from pcvd.store import Store, StoreGone

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from pcvd.status import Status

log = structlog.get_logger()

_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def daemon(root: str) -> int:
    """Serve the project in `root` until told to stop; the exit code. Raises PcvError where it cannot
    begin, or cannot go on.
    """
    settings = load(root)  # what is wrong with the settings is said before anything is made
    with holding_lock(root), contextlib.ExitStack() as door:
        stopping = asyncio.Event()
        received = interruptions(stopping.set)
        tickets = itertools.count(1)
        listening: socket.socket | None = None
        again = False
        while not stopping.is_set():
            if again:
                settings = load(root)
            prepare_state(root)
            _log_to(root)
            if again:
                log.warning("the records were removed: beginning anew", folder=places.state(root))
            try:
                async with Store.open(places.state(root, "pcv.sqlite")) as store:
                    # Once for all lives: whoever asks between two of them is answered by the next.
                    listening = listening or door.enter_context(listening_at(places.socket_path(root)))
                    await _live(settings, store, listening, door.close, stopping, tickets)
            except* StoreGone:
                again = True
        log.info("stopped")
    return 128 + received[0] if received else 0


async def _live(
    settings: Settings,
    store: Store,
    listening: socket.socket,
    hang_up: Callable[[], None],
    stopping: asyncio.Event,
    tickets: Iterator[int],
) -> None:
    """One life of the daemon: until told to stop. Raises StoreGone where its records are removed under it."""
    published = Published(settings.root)
    service = _service(settings, store, published.write)
    log.info("started", version=__version__, root=settings.root, pid=os.getpid())
    try:
        async with asyncio.TaskGroup() as group:
            working = group.create_task(service.run(watching=True))
            door = Door(service.desk, stopping.set, tickets, _inquiry(settings.root, store))
            await serve(door.application(), listening.dup(), stopping)
            working.cancel()
    finally:
        if store.stands:
            # Gone before the last words, so that nobody finds a door with nobody behind it.
            hang_up()
            if service.desk.surveyed:  # else the last verdicts of an earlier life would be overwritten
                published.write_down(service.desk.status(), MOST_LISTED)


def _inquiry(root: str, store: Store | None) -> Inquiry:
    return Inquiry(root, store, Blobs(places.state(root, "objects")))


async def ask(root: str, question: str, write: Callable[[dict[str, Any]], None]) -> int:
    """Answer one `question`, spelt as at the daemon's door (`explain?target=…`), from the records alone, and
    hand the document to `write`; the exit code. Nothing is written.
    """
    name, _, parameters = question.partition("?")
    asked = dict(parse_qsl(parameters, errors="surrogateescape"))
    records = places.state(root, "pcv.sqlite")
    async with contextlib.AsyncExitStack() as opened:
        recorded = await asyncio.to_thread(os.path.exists, records)
        store = await opened.enter_async_context(Store.reading(records)) if recorded else None
        write(await _inquiry(root, store).answer(name, asked))
    return 0


def _log_to(root: str) -> None:
    terminal = logs.Terminal.LINES if sys.stderr.isatty() else logs.Terminal.NOTHING
    logs.configure(Path(places.state(root, "pcvd.log")), terminal=terminal)


async def check(
    root: str,
    entries: Sequence[str],
    write: Callable[[dict[str, Any]], None],
    *,
    quiet: bool = False,
    vary: Sequence[str] = (),
) -> int:
    """One round over `entries` (none: all targets) without a daemon; hands the status document to `write`;
    the exit code. `quiet`: no word on standard error about how far it is. `vary`: variations to try on the
    targets as well.
    """
    task = asyncio.current_task()
    received = interruptions(task.cancel if task else lambda: None)
    try:
        document = await _round(root, entries, quiet=quiet, vary=vary)
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
    write(document)
    return exit_code(document)


async def kernels(root: str, entry: str, policy: str | None, write: Callable[[dict[str, Any]], None]) -> int:
    """Hand the document of how a target is cut into kernels to `write`, without a daemon; the exit code."""
    task = asyncio.current_task()
    received = interruptions(task.cancel if task else lambda: None)
    settings = load(root)
    prepare_state(root)
    logs.configure(Path(places.state(root, "check.log")), terminal=logs.Terminal.NOTHING)
    try:
        async with Store.open(places.state(root, "pcv.sqlite")) as store:
            service = _service(settings, store, _unpublished, eager=False)
            async with asyncio.TaskGroup() as group:
                working = group.create_task(service.run(watching=False))
                document = await service.desk.cut(entry, policy)
                working.cancel()
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
    write(document)
    return 0


async def _round(root: str, entries: Sequence[str], *, quiet: bool, vary: Sequence[str]) -> dict[str, Any]:
    named(vary)  # before anything is built
    settings = load(root)
    prepare_state(root)
    terminal = logs.Terminal.NOTHING if quiet else logs.Terminal.PROGRESS
    logs.configure(Path(places.state(root, "check.log")), terminal=terminal)
    # The status files are a daemon's own, where one runs.
    published = None if lock.held(root) else Published(root)
    async with Store.open(places.state(root, "pcv.sqlite")) as store:
        service = _service(settings, store, _unpublished, eager=False)
        async with asyncio.TaskGroup() as group:
            working = group.create_task(service.run(watching=False))
            judged = await service.desk.recheck(list(entries) or None)
            await service.desk.settled(judged, explained=True)
            if vary:
                await service.desk.vary(judged, vary)
            await service.tidy()
            working.cancel()
        if published is not None:
            published.write_down(service.desk.status(), MOST_LISTED)
        document = service.desk.status(entries).plain()
    # This process is no daemon: nobody keeps these verdicts fresh once it has ended.
    return {**document, "daemon": await asyncio.to_thread(_daemon_beside, root), "judged_by": "check"}


def _daemon_beside(root: str) -> dict[str, Any]:
    """The daemon that runs for `root`, as it describes itself; where none does, that none does."""
    try:
        return Daemon(root).itself()
    except Trouble:
        pid = lock.holder(root)  # it may be starting, ending, or hanging
    return {"pid": pid, "state": "down" if pid is None else "busy", "version": __version__, "uptime_s": 0.0}


def _unpublished(_status: Status, _brief: Status) -> None:
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
            f"cannot write {state}: {error.strerror}",
            hint="pcv keeps its records there: it must be a folder that can be written to",
        ) from error


@contextlib.contextmanager
def holding_lock(root: str) -> Iterator[None]:
    """Be the only daemon of `root`. Raises SetupError, with the other one's pid, where there is one."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(lock.holding(root))
        except lock.Held as other:
            raise SetupError(
                f"a daemon already runs for {root} (pid {other.pid or 'unknown'})", hint="pcvctl stop ends it"
            ) from None
        except OSError as error:
            raise SetupError(str(error)) from error
        yield


def _service(
    settings: Settings, store: Store, publish: Callable[[Status, Status], None], *, eager: bool = True
) -> Service:
    objects = places.state(settings.root, "objects")

    def open_builders(current: Settings) -> AbstractAsyncContextManager[LocalPool]:
        return LocalPool.open(current, objects)

    return Service(settings, store, Blobs(objects), open_builders, publish, eager=eager)
