"""`start`, `stop`, `restart` and `daemon`: the daemon's life, from outside."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from pcv_config import lock, places
from pcvctl import Trouble, child, door, exits, project, terminal
from pcvctl.daemon import Daemon

if TYPE_CHECKING:
    import argparse

START_S = 60.0
"""How long a daemon may take until it answers. It answers before its workers are warm, so it is generous."""
STOP_S = 30.0
"""How long a daemon may take to end its workers and let go of its lock."""

_POLL_S = 0.02
_LAST_WORDS_S = 2.0
_KEEPS = "pcv keeps its records in the folder .pcv of the project, which must be one that it can write to"
_LAST_LINES = 20


def start(options: argparse.Namespace) -> int:
    """Start the daemon in the background, unless one runs."""
    pid, new = launch(project.root_of(options.root))
    _report(options, {"pid": pid, "started": new}, "started" if new else "already running", pid)
    return exits.AGREED


def stop(options: argparse.Namespace) -> int:
    """Stop the daemon and wait until it has let go of the project."""
    root = project.root_of(options.root, lived_in=True)
    try:
        pid = halt(root)
    except door.NoDaemon:
        raise door.NoDaemon(
            f"no daemon runs for {root}, so there is none to stop", "`pcvctl status` shows its last verdicts"
        ) from None
    _report(options, {"pid": pid, "stopped": True}, "stopped", pid)
    return exits.AGREED


def restart(options: argparse.Namespace) -> int:
    """Stop the daemon if one runs, then start one."""
    root = project.root_of(options.root)
    require_settings(root)  # before one that works is stopped for one that would not
    with contextlib.suppress(door.NoDaemon):
        halt(root)
    pid, _ = launch(root)
    _report(options, {"pid": pid, "started": True}, "started", pid)
    return exits.AGREED


def serve(options: argparse.Namespace) -> int:
    """Become the daemon, in the foreground: signals reach it as if this client had never been there."""
    root = project.root_of(options.root)
    require_settings(root)
    if lock.held(root):
        message = f"a daemon already runs for {root} (pid {lock.holder(root)})"
        raise Trouble(message, "`pcvctl stop` ends it")
    command = child.pcvd("serve", "--root", root)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os.execv(command[0], command)  # noqa: S606  # a list of arguments needs no shell


def require_settings(root: str) -> None:
    """Raise Trouble, with file and line, where the settings of `root` are such that no daemon would start."""
    from pcv_config import settings

    try:
        settings.load(root)
    except settings.SettingsError as error:
        raise Trouble(error.message, error.hint, file=error.file, line=error.line) from None


def launch(root: str, timeout: float = START_S) -> tuple[int | None, bool]:
    """Make sure a daemon answers for `root`: its process id, and whether it was started just now.

    Raises Trouble where its settings are wrong, and with its last words where it ends before it answers.
    """
    daemon = Daemon(root)
    try:
        return daemon.pid(timeout), False  # it may be recalling what it knows
    except door.NoDaemon:
        if not os.path.isdir(places.state(root)):
            require_settings(root)  # before anything is made
    log = places.state(root, "start.log")
    process = _spawn(root, log)
    try:
        pid = _answering(daemon, process, timeout)
    except BaseException:
        if process.poll() is None:
            child.conclude(process)
        raise
    if pid is not None:
        process.returncode = 0  # it lives on without us: keep Popen from warning that it was left running
        return pid, True
    try:
        # Somebody else's `pcvctl start` may have been quicker; then ours was refused, and all is well.
        return daemon.pid(timeout), False
    except door.NoDaemon:
        require_settings(root)  # with ten thousand targets that takes a while, so only now
        raise Trouble(f"the daemon {_how(process.returncode)} as it started:\n{_last(log)}") from None


def halt(root: str, timeout: float = STOP_S) -> int | None:
    """Stop the daemon of `root` and wait until its lock is free; returns its process id.

    Raises NoDaemon where none runs, Trouble where it does not end in time.
    """
    daemon = Daemon(root)
    try:
        pid = daemon.pid(timeout)
        daemon.stop()
    except door.NoDaemon:
        if lock.held(root):
            raise Trouble(
                f"a daemon (pid {lock.holder(root)}) holds this project's lock, but does not listen: "
                "it is starting, ending, or hangs",
                f"try again in a moment; {places.lock_path(root)} is the lock",
            ) from None
        raise
    deadline = time.monotonic() + timeout
    while lock.held(root):
        if time.monotonic() > deadline:
            raise Trouble(
                f"the daemon (pid {pid}) was told to stop, but still holds its lock after {timeout:g} s",
                "`pcvctl logs` shows what it is doing",
                exits.TIMED_OUT,
            )
        time.sleep(_POLL_S)
    return pid


def _spawn(root: str, log: str) -> subprocess.Popen[bytes]:
    try:
        os.makedirs(places.state(root), mode=0o700, exist_ok=True)
        with open(log, "wb") as out:
            # A session of its own: neither the terminal's Ctrl-C nor its closing reaches the daemon.
            return subprocess.Popen(
                child.pcvd("serve", "--root", root),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
    except OSError as error:
        raise Trouble(
            f"{error.filename or log}: {error.strerror}",
            _KEEPS,
        ) from None


def _answering(daemon: Daemon, process: subprocess.Popen[bytes], timeout: float) -> int | None:
    """The process id once the daemon answers; None where `process` has ended instead."""
    deadline = time.monotonic() + timeout
    while process.poll() is None:
        try:
            return daemon.pid(max(_POLL_S, deadline - time.monotonic())) or process.pid
        except door.NoDaemon:
            pass
        except door.DoorError:
            # One that ends as it starts has said why; what it breaks off says less.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LAST_WORDS_S)
            if process.poll() is None and time.monotonic() < deadline:
                raise
        if time.monotonic() > deadline:
            raise Trouble(
                f"the daemon did not answer within {timeout:g} s and was ended",
                "`pcvctl daemon` runs it in the foreground and shows what it does",
                exits.TIMED_OUT,
            )
        time.sleep(_POLL_S)
    return None


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"ended (exit code {returncode})"
    try:
        name = f" ({signal.Signals(-returncode).name})"
    except ValueError:
        name = ""
    return f"was ended by signal {-returncode}{name}"


def _last(log: str) -> str:
    try:
        with open(log, encoding="utf-8", errors="backslashreplace") as file:
            lines = file.read().splitlines()[-_LAST_LINES:]
    except OSError:
        lines = []
    return "\n".join(f"  {line}" for line in lines) or "  (it said nothing)"


def _report(options: argparse.Namespace, facts: dict[str, object], what: str, pid: int | None) -> None:
    terminal.put(json.dumps(facts) + "\n" if options.json else f"daemon {what} (pid {pid})\n")
