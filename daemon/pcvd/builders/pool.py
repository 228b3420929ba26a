"""The local pool: carries out orders in worker processes on this machine, with deadlines, and keeps a few
workers waiting.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from pcv_config import places
from pcv_config.settings import POLICIES
from pcvd.builders.background import Background
from pcvd.builders.conversation import Barriers, Conversation, Progress, Stopped
from pcvd.builders.protocol import Carried, Discovery, Order, Pair
from pcvd.builders.worker import Overdue, Worker, WorkerDied
from pcvd.builders.zygotes import Zygotes, can_fork, hash_seed, worker_environment
from pcvd.core.builds import Run
from pcvd.core.errors import SetupError, TargetError, UsageError
from pcvd.core.model import Failure, OutputDelta, Problem, Read, TargetSpec
from pcvd.core.schedule import SERIAL
from pcvd.core.variation import USUAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pcv_config.settings import Settings

log = structlog.get_logger()

_SCRATCH = "pcv-work-"
_WAITING = {"reference": 1, "challenger": 2}


class LocalPool:
    """Worker processes of this machine. Use under `async with`."""

    def __init__(self, settings: Settings, objects: str, scratch: Path) -> None:
        self._settings, self._objects, self._scratch = settings, objects, scratch
        self._zygotes = Zygotes(
            settings.python,
            worker_environment(settings.env, settings.platform),
            scratch,
            settings.root,
            settings.paths,
            settings.preload,
            fork=can_fork(),
        )
        self._waiting: dict[str, list[Worker]] = {name: [] for name in _WAITING}
        self._orders = self._at_work = 0
        self._removing = Background()

    @staticmethod
    @asynccontextmanager
    async def open(settings: Settings, objects: str) -> AsyncIterator[LocalPool]:
        """A pool with a scratch folder of its own, which is gone afterwards, as are all its processes."""
        await asyncio.to_thread(_remove_orphans)
        scratch = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-", dir=_temporary()))
        pool = LocalPool(settings, objects, scratch)
        try:
            async with pool._zygotes:
                yield pool
                await pool.rest()
                await pool._removing.done()
        finally:
            # Not in a thread: a second interruption would cancel the waiting for it.
            shutil.rmtree(scratch, ignore_errors=True)

    async def prepare(self) -> None:
        """Have both zygotes and a few warmed workers waiting, and no other zygote that nobody uses."""
        await self._zygotes.start(_WAITING, alone=lambda: not self._at_work)
        for name, count in _WAITING.items():
            while len(self._waiting[name]) < count:
                self._waiting[name].append(await self._zygotes.worker(name))

    async def rest(self) -> None:
        """Give back waiting workers and zygotes; the next order starts them again."""
        for workers in self._waiting.values():
            while workers:
                await workers.pop().dismiss()
        await self._zygotes.stop()

    async def discover(self, files: Sequence[str]) -> Discovery:
        """Import `files` in a fresh worker and tell what they declare."""
        try:
            return await self._ask(files)
        except (WorkerDied, Overdue) as error:
            if len(files) > 1:  # one of them is to blame: ask each by itself
                return _together([await self.discover([file]) for file in files])
            limit = f"its import ran past {self._settings.timeout_s:g} s"
            message = limit if isinstance(error, Overdue) else f"while it was imported, {error}"
            hint = "timeout_s in pcv.toml" if isinstance(error, Overdue) else None
            return Discovery((), {files[0]: Problem(message, files[0], hint=hint)}, {})

    async def _ask(self, files: Sequence[str]) -> Discovery:
        async with self._worker("reference") as worker:
            await worker.send(do="discover", files=list(files), **self._surroundings(self._scratch))
            answer = await worker.receive(self._settings.timeout_s)
        return Discovery(
            msgspec.convert(answer["targets"], tuple[TargetSpec, ...]),
            msgspec.convert(answer["problems"], dict[str, Problem]),
            msgspec.convert(answer["reads"], dict[str, tuple[Read, ...]]),
        )

    async def cut(self, spec: TargetSpec, policy: str) -> dict[str, Any]:
        """How a policy cuts a target into kernels. Raises UsageError and TargetError."""
        if policy not in POLICIES:
            raise UsageError(f'there is no policy "{policy}"', hint=f"there are {', '.join(POLICIES)}")
        job = {"do": "cut", "target": asdict(spec), "policy": policy, "seed": self._settings.seed}
        try:
            async with self._worker("reference") as worker:
                await worker.send(**job, **self._surroundings(self._scratch))
                answer = await worker.receive(self._settings.timeout_s)
        except WorkerDied as death:
            raise TargetError(f"while it was cut, {death}", file=spec.path) from None
        except Overdue:
            limit = f"cutting it ran past {self._settings.timeout_s:g} s"
            raise TargetError(limit, file=spec.path, hint="timeout_s in pcv.toml") from None
        if "failure" in answer:
            failure = msgspec.convert(answer["failure"], Failure)
            raise TargetError(failure.message, file=failure.file, line=failure.line, hint=failure.hint)
        document: dict[str, Any] = answer["document"]
        return document

    async def measure(self, pairs: Sequence[Pair], *, rtol: float = 0.0) -> list[OutputDelta | None]:
        """How far the leaves of each pair are apart: arithmetic on arrays, which only workers can do. What is
        known of the others stands where one cannot be read, or takes too long.
        """
        deltas: list[OutputDelta | None] = []
        if not pairs:
            return deltas
        async with self._worker("challenger") as worker:
            await worker.send(
                do="measure",
                objects=self._objects,
                atol=self._settings.atol,
                rtol=max(rtol, self._settings.rtol),
                pairs=[(pair.schedule, asdict(pair.reference), asdict(pair.other)) for pair in pairs],
            )
            try:
                for _ in pairs:
                    answer = await worker.receive(self._settings.timeout_s)
                    deltas.append(msgspec.convert(answer["delta"], OutputDelta | None))
            except (WorkerDied, Overdue, ValueError) as error:
                log.warning("outputs could not be measured", error=str(error), measured=len(deltas))
        return [*deltas, *[None] * (len(pairs) - len(deltas))]

    async def carry_out(self, order: Order) -> Carried:
        """Build the order's cohort under its schedule."""
        shares = sorted({slot.share for slot in order.slots})
        progress = Progress(order)
        scratch = self._scratch / f"order-{self._orders:06d}"
        self._orders += 1
        barriers = Barriers.among(len(shares))
        try:
            async with asyncio.TaskGroup() as group:
                for share in shares:
                    group.create_task(self._share(order, share, progress, scratch, barriers))
        except* Stopped:
            pass  # one worker's end is the order's; whom to blame is in `progress`
        except* SetupError as errors:
            raise errors.exceptions[0] from None
        finally:
            if order.conference is not None:
                order.conference.leave(order.name)
            # What the compiler has dumped: nobody waits for its removal.
            self._removing.begin(asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True))
        return _carried(progress)

    async def _share(
        self,
        order: Order,
        share: int,
        progress: Progress,
        scratch: Path,
        barriers: Barriers,
    ) -> None:
        """One worker's part of an order, from its job to its last report. Raises Stopped where it could
        not finish.
        """
        together = len({slot.share for slot in order.slots}) > 1
        manner = order.manner
        async with self._worker(order.zygote, manner.affinity) as worker:
            await worker.send(
                do="build",
                cohort=[asdict(spec) for spec in order.cohort],
                slots=progress.mine(share),
                confers=order.conference is not None,
                threads=order.schedule.workers if order.schedule.kind == "threads" else 0,
                together=together,
                objects=self._objects,
                seed=self._settings.seed,
                until=manner.until,
                detail=manner.detail,
                without=manner.without,
                partition=order.partition,
                keeps=order.schedule == SERIAL and manner == USUAL,
                turn=None if order.schedule.serial else order.challenger + share,
                idle=manner.idle,
                **self._surroundings(scratch / str(share), elsewhere=manner.elsewhere),
            )
            await Conversation(worker, progress, share, barriers, self._settings, together=together).hold()

    def _surroundings(self, scratch: Path, *, elsewhere: bool = False) -> dict[str, Any]:
        settings = self._settings
        root = settings.root
        if elsewhere:
            scratch.mkdir(parents=True, exist_ok=True)
            root = str(scratch / "elsewhere")
            Path(root).symlink_to(settings.root)
        size = settings.memory_mb << 20 or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4
        return {
            "root": root,
            "paths": list(settings.paths),
            "scratch": str(scratch),
            "memory_bytes": size,
        }

    @asynccontextmanager
    async def _worker(self, zygote: str, affinity: tuple[int, ...] | None = None) -> AsyncIterator[Worker]:
        self._at_work += 1  # before it is there: its zygote must not be ended meanwhile
        try:
            # One that waits has started its backend, with as many threads as there are CPUs for it.
            waiting = self._waiting.get(zygote, []) if affinity is None else []
            worker = await _first(waiting) or await self._zygotes.worker(zygote, affinity)
            try:
                yield worker
            finally:
                await asyncio.shield(worker.dismiss())
        finally:
            self._at_work -= 1


async def _first(waiting: list[Worker]) -> Worker | None:
    """The first of the workers that is still there; all before it are given up."""
    while waiting:
        worker = waiting.pop(0)
        try:
            answers = await worker.answers()
        except BaseException:
            await asyncio.shield(worker.dismiss())
            raise
        if answers:
            return worker
        await worker.dismiss()
    return None


def _together(found: Sequence[Discovery]) -> Discovery:
    return Discovery(
        tuple(target for one in found for target in one.targets),
        {file: problem for one in found for file, problem in one.problems.items()},
        {file: reads for one in found for file, reads in one.reads.items()},
    )


def _temporary() -> str:
    # The system's folder for such things, unless it is too deep for the workers' socket to be bound in it.
    usual = tempfile.gettempdir()
    longest = f"{usual}/{_SCRATCH}{1 << 22}-{'x' * 8}/workers.sock"
    return usual if places.bindable(longest) else "/tmp"  # noqa: S108  # a private folder is made in it


def _remove_orphans() -> None:
    """Scratch folders of daemons that were killed and could not remove them."""
    for folder in Path(_temporary()).glob(f"{_SCRATCH}*"):
        pid = folder.name.removeprefix(_SCRATCH).partition("-")[0]
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid() and pid.isdigit() and not _alive(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _carried(progress: Progress) -> Carried:
    order, failed = progress.order, progress.failed()
    environments = tuple(progress.environments)
    run = Run(
        schedule=order.name,
        order=tuple(order.cohort[slot.target].entry for slot in order.slots),
        builds=(*(progress.reports[number] for number in sorted(progress.reports)), *failed),
        zygote=order.zygote,
        hash_seed=hash_seed(order.zygote),
        affinity=tuple(environments[0]["affinity"]) if environments else (),
        environments=environments,
        culprits=tuple(build.target for build in failed),
        kernels=tuple(progress.kernels),
    )
    reads = {target: tuple(found) for target, found in progress.reads.items()}
    kept = {target: tuple(keys) for target, keys in progress.kept.items()}
    return Carried(run, reads, progress.cpu_s, kept)
