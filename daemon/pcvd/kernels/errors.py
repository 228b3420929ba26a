"""What can go wrong between a function and its linked kernels, each with the reason and the place."""

from __future__ import annotations

from pcvd.core.errors import PcvError


class CutRefused(PcvError):
    """The program can't be cut soundly, or not as asked. It can still be built whole."""


class NoSuchCut(CutRefused):
    """There is no such policy or place: the caller's mistake, and no reason to build the program whole."""


class KernelFailed(PcvError):
    """A kernel could not be compiled. `kernel` is its name, `file` and `line` where it comes from."""

    def __init__(self, kernel: str, reason: str, *, file: str | None = None, line: int | None = None) -> None:
        self.kernel, self.reason = kernel, reason
        super().__init__(f"{kernel}: {reason}", file=file, line=line)


class CompilerDied(KernelFailed):
    """The process that compiled a kernel ended before it answered."""


class NotTraceable(PcvError, TypeError):
    """A linked program was called under a JAX transformation, which it does not support."""


class WrongArguments(PcvError, TypeError):
    """A linked program was called with other arguments than those it was compiled for."""
