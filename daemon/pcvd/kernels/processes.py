"""Processes that compile kernels: started when needed, one kernel at a time each, gone at the end.

Each is a new interpreter that runs `child.py` and starts JAX for itself. A process in which JAX has a
backend must not be forked, and `multiprocessing` would import the caller's main module again; so it is
started by hand, and speaks frames of a length and a pickle over its pipes.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from pcvd.kernels.errors import CompilerDied, KernelFailed

if TYPE_CHECKING:
    from types import TracebackType

    from pcvd.kernels.graph import Kernel
    from pcvd.kernels.portable import Parcel

CHILD = Path(__file__).with_name("child.py")
_HEAD = b"pcv-kernel:"
_LENGTH = 8
_TAIL = 2000


class Compilers:
    """The processes of one compilation; as many as threads ask at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Compiler] = []
        self._all: list[_Compiler] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for one in self._all:
            one.end()

    def kill(self) -> None:
        """End every process, whatever it is doing: who waits for it gets its `CompilerDied`."""
        with self._lock:
            self._closed = True
            every = list(self._all)
        for one in every:
            one.kill()

    def compile(self, kernel: Kernel, parcel: Parcel) -> bytes:
        """The serialized executable of a kernel; called from several threads.

        Raises:
            CompilerDied: the process ended before it answered; others are not affected.
            KernelFailed: it does not compile.
        """
        compiler = self._take()
        answer = compiler.ask(kernel, parcel)
        with self._lock:
            self._idle.append(compiler)
        if isinstance(answer, str):
            raise KernelFailed(kernel.name, f"does not compile: {answer}", file=kernel.file, line=kernel.line)
        return answer

    def _take(self) -> _Compiler:
        with self._lock:
            if self._closed:
                raise RuntimeError("these compilers have ended")
            if self._idle:
                return self._idle.pop()
            self._all.append(_Compiler())
            return self._all[-1]


class _Compiler:
    """One process."""

    def __init__(self) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
        # What this process can import, that one can; -P: but not what lies beside its script.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
        )

    def ask(self, kernel: Kernel, parcel: Parcel) -> bytes | str:
        """Its answer: an executable, or the reason why there is none."""
        given, got = self._process.stdin, self._process.stdout
        if given is None or got is None:
            raise AssertionError("started with pipes")
        try:
            send(given, parcel)
            answer: bytes | str = receive(got)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            self._process.kill()  # alive or not, it no longer speaks
            code = self._process.wait()
            reason = f"its compiler {_ending(code)}{self._last_words()}"
            raise CompilerDied(kernel.name, reason, file=kernel.file, line=kernel.line) from error
        return answer

    def kill(self) -> None:
        """End it; it may be in the middle of something."""
        self._process.kill()

    def end(self) -> None:
        """End it, and close what belongs to it: nobody may be waiting for it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was still to be flushed has no reader any more
                    continue
        self._said.close()

    def _last_words(self) -> str:
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - _TAIL))
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""


def send(pipe: IO[bytes], message: Any) -> None:
    """Write one frame: what all begin with, a length, a pickle."""
    data = pickle.dumps(message)
    pipe.write(_HEAD + len(data).to_bytes(_LENGTH, "big") + data)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """Read one frame.

    Raises:
        EOFError: there is none, or not all of it, or it is something else.
    """
    head = pipe.read(len(_HEAD) + _LENGTH)
    size = int.from_bytes(head[len(_HEAD) :], "big")
    data = pipe.read(size) if head.startswith(_HEAD) and len(head) == len(_HEAD) + _LENGTH else b""
    if not data or len(data) < size:
        raise EOFError
    return pickle.loads(data)  # noqa: S301  # from a process that this one started


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
