"""The daemon's end of zygotes: one process each for the reference and the challengers, which fork workers on
request.

The two differ in PYTHONHASHSEED and, being two executions, in memory layout: what depends on either cannot
look stable.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import structlog

import pcv
from pcv_config import places
from pcvd.builders.arrivals import Arrivals, hang_up
from pcvd.builders.background import Background
from pcvd.builders.worker import Worker
from pcvd.core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

log = structlog.get_logger()

USUAL = ("reference", "challenger")
"""The zygotes of a round's schedules."""
_CHALLENGER_SEED, _USUAL_SEED = 2, 1
_IMPORT_S, _FORK_S, _LEAVE_S = 180, 120, 5
_BOOT = Path(__file__).resolve().parent.parent / "worker" / "boot.py"
_PCV = str(Path(pcv.__file__).resolve().parent)


@dataclass(slots=True)
class _Zygote:
    process: asyncio.subprocess.Process
    line: asyncio.StreamWriter | None = None
    children: dict[str, asyncio.Future[int]] = field(default_factory=dict)


class Zygotes:
    """Starts zygotes when they are needed and hands out workers. Use under `async with`."""

    def __init__(
        self,
        python: str,
        env: Mapping[str, str],
        scratch: Path,
        root: str,
        paths: Sequence[str] = (".",),
        preload: Sequence[str] = (),
        *,
        fork: bool,
    ) -> None:
        """`root`: the working directory of all workers, wherever the daemon was started; `paths`: the folders
        in it that modules are imported from; `preload`: modules that all workers have imported.

        `fork`: False where forking is not safe (macOS); then every worker is an interpreter of its own.
        """
        self._python, self._env, self._scratch, self._root = python, dict(env), scratch, root
        self._paths = list(paths)
        self._preload = list(preload)
        self._fork = fork
        self._zygotes: dict[str, _Zygote] = {}
        self._arrivals = Arrivals(scratch / "workers.sock")
        self._numbers = itertools.count()
        self._starting: dict[str, asyncio.Lock] = {}
        self._coming: dict[str, asyncio.Task[_Zygote]] = {}
        """Zygotes that are being started though nobody needs them yet."""
        self._listening = Background()
        self._leaving = Background()
        """Who sees processes out that were told to end, whatever happens to those who told them."""

    async def __aenter__(self) -> Self:
        await self._arrivals.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self._arrivals.close()
        await self._listening.cancel()
        await self._leaving.done()

    async def worker(self, zygote: str, affinity: tuple[int, ...] | None = None) -> Worker:
        """A fresh worker of `zygote`, warmed up, on the CPUs of `affinity` (None: all of the daemon's).

        Raises SetupError where the interpreter cannot do the work, or where CPUs cannot be chosen.
        """
        if affinity is not None and not self._fork:
            raise SetupError("the CPUs of a worker cannot be chosen on this system")
        name = f"{zygote}-{next(self._numbers)}"
        log = self._scratch / f"{name}.log"
        arrival = self._arrivals.expect(name)
        if self._fork:
            self._bring_along(zygote)
            parent = await self._zygote(zygote)
            ended = parent.children[name] = asyncio.get_running_loop().create_future()
            await self._tell(parent, do="fork", name=name, log=str(log), affinity=affinity)

            async def kill() -> None:
                await self._tell(parent, do="kill", name=name)
        else:
            process = await self._spawn("worker", name, hash_seed(zygote), log)
            ended = asyncio.get_running_loop().create_future()
            self._listening.begin(_pass_on(process, ended))

            async def kill() -> None:
                if process.returncode is None:  # it leads a group of its own, with what it has started
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    self._leaving.begin(_see_out(process))

        try:
            await asyncio.wait({arrival, ended}, timeout=_FORK_S, return_when=asyncio.FIRST_COMPLETED)
            if not arrival.done():
                words = (log.read_text(errors="replace") if log.exists() else "").strip().splitlines()[-1:]
                raise SetupError(
                    f"a worker of {self._python} did not start: {' '.join(words) or 'no word from it'}"
                )
            hello, reader, writer = arrival.result()
            _require_preload(hello)
            worker = Worker(name, hello["pid"], (reader, writer), ended, kill, log)
            if "failure" in hello:
                await worker.dismiss()
                raise SetupError(
                    f"{self._python}: {hello['failure']}", hint="`platform` and [env] in pcv.toml"
                )
        except BaseException:
            # Given up, or cancelled: neither the process nor its line may stay behind.
            await kill()
            hang_up(arrival)
            raise
        finally:
            self._arrivals.forget(name)
        return worker

    async def stop(self, *, but: Collection[str] = ()) -> None:
        """End all zygotes, and with them their workers; those named in `but` go on."""
        coming = [task for name, task in self._coming.items() if name not in but]
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
        zygotes = [zygote for name, zygote in self._zygotes.items() if name not in but]
        self._zygotes = {name: zygote for name, zygote in self._zygotes.items() if name in but}
        for zygote in zygotes:
            if zygote.line is not None:
                zygote.line.close()  # it ends its children, then itself
            self._leaving.begin(_see_out(zygote.process))
        await self._leaving.done()

    async def start(self, names: Collection[str], *, alone: Callable[[], bool]) -> None:
        """Have these zygotes ready, where they may be `alone` no others; their imports of JAX overlap."""
        if self._fork:
            if alone():
                await self.stop(but=names)
            # Not a bare gather: of one that fails, the others would go on by themselves.
            for outcome in await asyncio.gather(*map(self._zygote, names), return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome

    def pids(self) -> list[int]:
        """The zygotes' process ids."""
        return [zygote.process.pid for zygote in self._zygotes.values()]

    def _running(self, name: str) -> _Zygote | None:
        known = self._zygotes.get(name)
        if known is None or known.line is None or known.line.is_closing():
            return None
        return known if known.process.returncode is None else None

    def _bring_along(self, name: str) -> None:
        """Whoever builds on one of the usual zygotes will build on the other, and both imports of JAX take
        hardly longer than one. What keeps the other from starting is told when it is needed.
        """
        for other in USUAL if name in USUAL else ():
            if other != name and self._running(other) is None and other not in self._coming:
                task = self._coming[other] = asyncio.create_task(self._zygote(other))
                task.add_done_callback(functools.partial(self._came, other))

    def _came(self, name: str, task: asyncio.Task[_Zygote]) -> None:
        self._coming.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("zygote not brought along", zygote=name, error=str(error))

    async def _zygote(self, name: str) -> _Zygote:
        async with self._starting.setdefault(name, asyncio.Lock()):
            known = self._running(name)
            if known is not None:
                return known
            if (former := self._zygotes.pop(name, None)) is not None:
                self._leaving.begin(_see_out(former.process))
            zygote, reader = await self._start(name)
            self._zygotes[name] = zygote
            self._listening.begin(_listen(zygote, reader))
            return zygote

    async def _start(self, name: str) -> tuple[_Zygote, asyncio.StreamReader]:
        """A zygote that has imported JAX, and what it will say. Raises SetupError where it could not."""
        hello_name = f"zygote-{name}-{next(self._numbers)}"
        log = self._scratch / f"{hello_name}.log"
        arrival = self._arrivals.expect(hello_name)
        process = await self._spawn("zygote", hello_name, hash_seed(name), log)
        ended: asyncio.Future[Any] = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({arrival, ended}, timeout=_IMPORT_S, return_when=asyncio.FIRST_COMPLETED)
            if not arrival.done():
                words = " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
                raise SetupError(
                    f"{self._python} did not become a worker: {words or 'it said nothing'}",
                    hint="`python` in pcv.toml",
                )
            hello, reader, writer = arrival.result()
            _require_preload(hello)
            if "failure" in hello:
                raise SetupError(
                    f"{self._python} cannot import JAX: {hello['failure']}",
                    hint="install jax there, or name the interpreter that has it (`python` in pcv.toml)",
                )
        except BaseException:
            hang_up(arrival)
            with suppress(ProcessLookupError):
                process.kill()
            self._leaving.begin(_see_out(process))
            await self._leaving.done()
            raise
        finally:
            ended.cancel()
            self._arrivals.forget(hello_name)
        with suppress(OSError):
            log.unlink()
        return _Zygote(process, writer), reader

    async def _spawn(self, role: str, name: str, hash_seed: int, log: Path) -> asyncio.subprocess.Process:
        env = {**self._env, "PYTHONHASHSEED": str(hash_seed)}
        ignored = [places.state(self._root), str(self._scratch)]
        preload = {"root": self._root, "paths": self._paths, "ignored": ignored, "names": self._preload}
        ahead = json.dumps(preload if self._preload else None)
        with log.open("ab") as out:
            try:
                return await asyncio.create_subprocess_exec(
                    self._python, str(_BOOT), _PCV, role, str(self._arrivals.socket), name, ahead,
                    stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=self._root,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise SetupError(
                    f"cannot start {self._python}: {error.strerror}", hint="`python` in pcv.toml"
                ) from error

    async def _tell(self, zygote: _Zygote, **message: Any) -> None:
        if zygote.line is not None and not zygote.line.is_closing():
            zygote.line.write(msgspec.json.encode(message) + b"\n")
            with suppress(ConnectionError):
                await zygote.line.drain()


async def _listen(zygote: _Zygote, reader: asyncio.StreamReader) -> None:
    """Pass on how children ended; when the zygote itself goes, they have gone with it."""
    with suppress(ConnectionError):
        while (text := await reader.readline()).endswith(b"\n"):
            message = msgspec.json.decode(text)
            ended = zygote.children.pop(message["ended"], None)
            if ended is not None and not ended.done():
                ended.set_result(message["status"])
    if zygote.line is not None:
        zygote.line.close()
    await zygote.process.wait()
    for ended in zygote.children.values():
        if not ended.done():
            ended.set_result(-9)


async def _see_out(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of a process that was told to end; it is ended where it takes too long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LEAVE_S):
            await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _require_preload(hello: Mapping[str, Any]) -> None:
    """Raise SetupError where a process says that it could not import what it should have."""
    if "refused" in hello:
        raise SetupError(
            f"{hello['refused']} can't be imported ahead of the project: {hello['reason']}",
            hint='take it out of "preload" in pcv.toml',
        )


async def _pass_on(process: asyncio.subprocess.Process, ended: asyncio.Future[int]) -> None:
    ended.set_result(await process.wait())


def worker_environment(settings_env: Mapping[str, str], platform: str) -> dict[str, str]:
    """The environment of worker processes: the daemon's own, with what makes validation sound on top."""
    env = {**os.environ, **settings_env}
    env |= {
        # A cache would hand the second build the first one's executable.
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several workers share a GPU's memory
        "TF_CPP_MIN_LOG_LEVEL": env.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        "PYTHONUNBUFFERED": "1",
        "JAX_TRACEBACK_FILTERING": "off",  # the last line of what a dying worker prints must be the reason
    }
    if platform != "auto":
        env["JAX_PLATFORMS"] = platform
    return env


def hash_seed(zygote: str) -> int:
    """The PYTHONHASHSEED of a zygote. `reference` and `challenger` differ in it; `sibling` shares the
    reference's, and differs in its memory layout alone; `seed:17` has the one it says.
    """
    if zygote.startswith("seed:"):
        return int(zygote.removeprefix("seed:"))
    return _CHALLENGER_SEED if zygote == "challenger" else _USUAL_SEED


def can_fork() -> bool:
    """Whether a process that has imported JAX can be forked: not on macOS, whose system libraries forbid
    it.
    """
    return sys.platform == "linux"
