"""Zygotes: processes that have imported JAX and what else the project needs, and fork workers.

Importing JAX costs 1 to 3 s; forking a process that has done so costs milliseconds. A process that has
*started* a JAX backend hangs when it forks, so a zygote never does anything beyond the import. Its children
live in process groups of their own and die with it (PR_SET_PDEATHSIG on Linux), as it dies when the daemon
hangs up: nothing is left behind even when the daemon is killed. What a model starts ends with its worker,
in whatever session it hides: see `descendants`.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pcvd.worker import (
    descendants,
    given,  # noqa: F401 - before JAX sets variables
)
from pcvd.worker.line import Line

if TYPE_CHECKING:
    from pcvd.worker.preload import Ahead

_PR_SET_PDEATHSIG = 1


def main(role: str, socket_path: str, name: str, wanted: str) -> None:
    """Become a zygote (role `zygote`), or one worker in this very interpreter (role `worker`), where
    forking is not safe. `wanted` is JSON of what to import ahead.
    """
    line = Line(socket_path)
    try:
        import jax  # the point of a zygote: everything below is shared by all its children
        import jax.experimental.serialize_executable
        import jax.numpy
    except Exception as error:  # a broken installation raises anything; the daemon says which interpreter
        line.send(role=role, name=name, pid=os.getpid(), failure=f"{type(error).__name__}: {error}")
        return
    ahead, asked = None, json.loads(wanted)
    if asked is not None:
        from pcvd.worker import preload

        try:
            ahead = preload.bring(**asked)
        except preload.Refused as refused:
            line.send(role=role, name=name, pid=os.getpid(), refused=refused.module, reason=refused.reason)
            return
    line.send(
        role="zygote" if role == "zygote" else "starting", name=name, pid=os.getpid(), jax=jax.__version__
    )
    if role == "zygote":
        _serve(line, socket_path, ahead)
    else:
        line.close()
        _live(socket_path, name, ahead)


def _serve(line: Line, socket_path: str, ahead: Ahead | None) -> None:
    children: dict[int, str] = {}
    descendants.adopt()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler must exist for the wake-up byte to be written
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C in a terminal reaches the whole group; the daemon decides
    try:
        while True:
            ready, _, _ = select.select([line.fileno(), wake_read], [], [])
            if wake_read in ready:
                os.read(wake_read, 4096)
                _reap(line, children)
                descendants.kill_all(but=children)
            if line.fileno() in ready and not _obey_all(line, children, socket_path, ahead):
                return
    except OSError:
        return  # the daemon is gone
    finally:
        for pid in children:
            _kill(pid)
        descendants.end_all()


def _obey_all(line: Line, children: dict[int, str], socket_path: str, ahead: Ahead | None) -> bool:
    while True:
        order = line.receive()
        if order is None:
            return False
        _obey(order, line, children, socket_path, ahead)
        if not line.buffered:
            return True


def _obey(
    order: dict[str, Any], line: Line, children: dict[int, str], socket_path: str, ahead: Ahead | None
) -> None:
    if order["do"] == "kill":
        # Only this process can kill without a race: a child it has not reaped cannot have lost its process id
        # to another.
        for pid, name in children.items():
            if name == order["name"]:
                _kill(pid)
        return
    with warnings.catch_warnings():
        # Python warns of forking with threads. JAX's import leaves one idle thread; the children never touch
        # it.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        children[pid] = order["name"]
        return
    try:
        _become_child(line, order["log"], order["affinity"])
        _live(socket_path, order["name"], ahead)
    except BaseException:  # nothing may return into the zygote's loop
        traceback.print_exc()
        os._exit(70)
    os._exit(0)


def _become_child(line: Line, log: str, affinity: list[int] | None) -> None:
    parent = os.getppid()
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(71)  # the zygote died before the line above could take effect
    if affinity is not None:  # before JAX starts: it makes as many threads as there are CPUs for it
        os.sched_setaffinity(0, affinity)
    descendants.adopt()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    line.close()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _live(socket_path: str, name: str, ahead: Ahead | None) -> None:
    from pcvd.worker.session import Session

    Session(Line(socket_path), name, ahead).serve()
    sys.stdout.flush()
    sys.stderr.flush()


def _reap(line: Line, children: dict[int, str]) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            name = children.pop(pid, None)
            if name is not None:
                line.send(ended=name, status=os.waitstatus_to_exitcode(status))


def _kill(pid: int) -> None:
    # Until the child has made its own group, the group does not exist: then only the child itself is there to
    # be killed.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
