"""Compiling kernels: each distinct one once, the largest first, several at a time, and none that is cached.

Tracing and lowering hold Python's lock, so they are done one after another in the caller's thread; XLA
compiles in threads beside it, or in processes of their own. JAX keeps configuration per thread: what the
caller lowers is lowered under the caller's.
"""

from __future__ import annotations

import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import jax

from pcvd.kernels import portable
from pcvd.kernels.errors import KernelFailed
from pcvd.kernels.processes import Compilers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from pcvd.kernels.graph import Kernel

How: TypeAlias = Literal["threads", "processes"]


class Cache(Protocol):
    """Compiled kernels by their content. Both may be called from several threads."""

    def get(self, key: str) -> bytes | None:
        """What was put under this key, if it is still there. What it raises is a note, and no more."""

    def put(self, key: str, executable: bytes) -> None:
        """Keep a serialized executable. It is code: only what this user put there may come back."""


class MemoryCache:
    """A cache for as long as the process lives."""

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str) -> bytes | None:
        """What was put under this key."""
        return self._held.get(key)

    def put(self, key: str, executable: bytes) -> None:
        """Keep it."""
        self._held[key] = executable


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """A compiled kernel, how long that took, and where it comes from: "threads", "processes" or "cache".

    `note` says what went otherwise than asked for, and why.
    """

    kernel: Kernel
    compiled: Any
    seconds: float
    origin: str
    note: str = ""


def compile_kernels(
    kernels: Sequence[Kernel],
    workers: int = 1,
    *,
    how: How = "threads",
    cache: Cache | None = None,
    compiler_options: Mapping[str, Any] | None = None,
    device: Any = None,
) -> list[Built]:
    """Compile every kernel, `workers` at a time. What comes back is in the order of `kernels`.

    Args:
        kernels: distinct kernels.
        workers: how many compile at the same time, at least one.
        how: in "threads" of this process, or in "processes": new interpreters that start JAX for themselves,
            which takes seconds, and never forks of this one. What can't be sent to a process (callbacks) is
            compiled here, and its note says so.
        cache: where to look first, and to keep what was compiled. A program with callbacks is not kept.
        compiler_options: as for `jax.stages.Lowered.compile`.
        device: for which device; else for JAX's default one.

    Raises:
        KernelFailed: a kernel could not be lowered or compiled; the kernels that were not begun are left.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}: at least one has to compile")
    options = dict(compiler_options or {})
    largest_first = sorted(range(len(kernels)), key=lambda place: -kernels[place].weight)
    with Compilers() as compilers, ThreadPoolExecutor(workers) as pool:
        futures: dict[int, Future[Built]] = {}
        try:
            for place in largest_first:
                task = _task(kernels[place], how, cache, options, device)
                futures[place] = pool.submit(task.run, compilers)
            # The first that fails ends it, though another one that is asked before it may never answer.
            ended, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
            for future in ended:
                future.result()
            return [futures[place].result() for place in range(len(kernels))]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            compilers.kill()  # leaving the pool waits for what runs, which may take long, or never end
            raise


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """A lowered kernel, and what it needs to be compiled elsewhere, or why it can't be."""

    kernel: Kernel
    lowered: Any
    options: dict[str, Any]
    device: Any
    cache: Cache | None
    key: str
    parcel: portable.Parcel | None
    note: str

    def run(self, compilers: Compilers) -> Built:
        """Take it from the cache, or else compile it and put it there."""
        began = time.perf_counter()
        note = self.note
        if self.cache is not None:
            try:
                held = self.cache.get(self.key)
                if held is not None:
                    compiled = portable.load(held, self.kernel, self.device)
                    return Built(self.kernel, compiled, time.perf_counter() - began, "cache")
            except Exception as error:  # noqa: BLE001  # whatever a foreign or damaged one raises
                note = f"could not be loaded from the cache, and was built anew: {portable.reason(error)}"
        compiled, origin = self._compiled(compilers)
        if self.cache is not None:
            try:
                self.cache.put(self.key, portable.dump(compiled))
            except Exception as error:  # noqa: BLE001  # what can't be serialized or kept is still built
                note = note or f"not cached: {portable.reason(error)}"
        return Built(self.kernel, compiled, time.perf_counter() - began, origin, note)

    def _compiled(self, compilers: Compilers) -> tuple[Any, str]:
        try:
            if self.parcel is None:
                return self.lowered.compile(compiler_options=self.options or None), "threads"
            held = compilers.compile(self.kernel, self.parcel)
        except KernelFailed:
            raise
        except Exception as error:
            raise _failed(self.kernel, "does not compile", error) from error
        try:
            return portable.load(held, self.kernel, self.device), "processes"
        except Exception as error:
            raise _failed(self.kernel, "what was compiled can't be loaded", error) from error


def _task(kernel: Kernel, how: How, cache: Cache | None, options: dict[str, Any], device: Any) -> _Task:
    """Lower a kernel, in the caller's thread."""
    parcel, note = None, ""
    with jax.default_device(device) if device is not None else nullcontext():
        jitted = kernel.jitted()
        try:
            lowered = jitted.lower(*kernel.arguments)
        except Exception as error:
            raise _failed(kernel, "can't be lowered", error) from error
        if how == "processes":
            try:
                parcel = portable.pack(jitted, kernel, options)
            except Exception as error:  # noqa: BLE001  # JAX raises what it likes where it can't export
                note = f"compiled in this process: {portable.reason(error)}"
        key = portable.key(lowered, options, device) if cache is not None else ""
    return _Task(kernel, lowered, options, device, cache, key, parcel, note)


def _failed(kernel: Kernel, what: str, error: Exception) -> KernelFailed:
    return KernelFailed(kernel.name, f"{what}: {portable.reason(error)}", file=kernel.file, line=kernel.line)
