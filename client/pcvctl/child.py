"""One process of the daemon's package in the foreground: its answer, its end, and ours when interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass

_GRACE_S = 15.0  # a round that is told to end reaps its workers first


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: `code` (-n: by signal n; None: its time was over) and the output it printed."""

    code: int | None
    output: bytes


def pcvd(*arguments: str) -> list[str]:
    """The command line of pcvd's verb under the interpreter that runs this client."""
    # -P: without it `-m` puts the working directory first on sys.path, and a project's own queue.py or
    # logging.py would take the standard library's place.
    return [sys.executable, "-P", "-m", "pcvd", *arguments]


def run(command: list[str], timeout: float | None = None) -> Ended:
    """Run `command` to its end, at most `timeout` seconds; its standard error goes where ours goes.

    However this is left (Ctrl-C, a signal, the timeout), the process has ended before: it is asked once, and
    killed with its group only where it does not listen.
    """
    # A process group of its own: the terminal's Ctrl-C reaches only us, so the process is asked to end
    # exactly once; many take a second signal for "at once, and never mind the order".
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0)
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        return Ended(None, conclude(process))
    except BaseException:
        conclude(process)
        raise
    return Ended(process.returncode, output)


def conclude(process: subprocess.Popen[bytes], grace: float = _GRACE_S) -> bytes:
    """End `process` in order, by force after `grace` seconds; returns what it printed into a pipe."""
    process.terminate()
    try:
        return process.communicate(timeout=grace)[0] or b""
    except BaseException as error:
        # A second Ctrl-C while we wait lands here too: then it is to be over now.
        _kill_group(process)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return b""
        raise


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
