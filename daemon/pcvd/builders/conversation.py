"""One worker's part of an order: its messages, the deadline of what it is at, and whom to blame when it ends
early.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from pcvd.builders.worker import Overdue, Worker, WorkerDied
from pcvd.core.builds import LINKED, WHOLE, Build, Kernel
from pcvd.core.frames import reported
from pcvd.core.model import Failure, Read
from pcvd.core.programs import Program

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcv_config.settings import Settings
    from pcvd.builders.protocol import Order

    Numbered = tuple[int, int, int]
    """A build to make: its number within the order, the index of its target, which copy of it."""

_CRASH_HINT = (
    "native code, or the compiler, ended the process; failure.trace in the JSON has the end of its output"
)
_DEADLINE_HINT = "raise timeout_s in pcv.toml if it needs that long"


class Stopped(Exception):
    """An order cannot go on; its progress says why."""


@dataclass(frozen=True, slots=True)
class Barriers:
    """Where the workers of an order wait for each other: all loaded, all lowered, the first builds begun, all
    whole targets built.
    """

    loaded: asyncio.Barrier
    lowered: asyncio.Barrier
    begun: asyncio.Barrier
    built: asyncio.Barrier

    @staticmethod
    def among(workers: int) -> Barriers:
        """The barriers of so many workers."""
        return Barriers(*(asyncio.Barrier(workers) for _ in range(4)))


@dataclass(slots=True)
class Progress:
    """What is known of an order while its workers are at it."""

    order: Order
    reports: dict[int, Build] = field(default_factory=dict)
    reads: dict[str, dict[Read, None]] = field(default_factory=dict)
    """What each target read; two workers may read one file at different moments, and both reads count."""
    environments: list[dict[str, Any]] = field(default_factory=list)
    lowered: dict[str, list[Program]] = field(default_factory=dict)
    """Per target the programs that its builds have come to, where they meet before they are compiled."""
    cpu_s: float = 0.0
    """Processor time of the builds, of all workers together."""
    kernels: list[Build] = field(default_factory=list)
    """Builds of the kernels that targets are cut into."""
    kept: dict[str, list[str]] = field(default_factory=dict)
    """Per target, the keys under which compiled kernels wait for the verdict."""
    culprits: dict[int, Failure] = field(default_factory=dict)
    """Targets, by their index in the cohort, that a worker died or ran out of time over."""

    def note(self, message: dict[str, Any]) -> None:
        """Take in a worker's report of one build."""
        report = msgspec.convert(message["report"], Build)
        self.reports[message["build"]] = report
        self._book(report.target, message["reads"])

    def note_lowered(self, message: dict[str, Any]) -> None:
        """Take in what a worker has lowered. A target of which a build failed has no programs."""
        programs = msgspec.convert(message["programs"], list[Program])
        for program in programs:
            self.lowered.setdefault(program.target, []).append(program)
        for target in message["failed"]:
            self.lowered[target] = []
        for target, reads in message["reads"].items():
            self._book(target, reads)

    def _book(self, target: str, reads: list[dict[str, Any]]) -> None:
        booked = self.reads.setdefault(target, {})
        booked.update(dict.fromkeys(msgspec.convert(reads, tuple[Read, ...])))

    def mine(self, share: int) -> list[Numbered]:
        """The builds that are one worker's."""
        slots = enumerate(self.order.slots)
        return [(number, slot.target, slot.copy) for number, slot in slots if slot.share == share]

    def blame(
        self, suspects: Iterable[int], kind: str, message: str, hint: str, output: str, root: str
    ) -> None:
        """Whoever was under way when a worker ended; `output` tells the line, if anything does."""
        file, line = reported(output, root)
        for target in suspects:
            where = file or self.order.cohort[target].path
            self.culprits.setdefault(target, Failure(kind, message, where, line, hint, output))

    def failed(self) -> list[Build]:
        """The culprits' builds: failures, without times."""
        return [
            Build(self.order.cohort[target].entry, 0, 0, "", 0, 0, 0, failure=failure)
            for target, failure in sorted(self.culprits.items())
        ]


class Conversation:
    """One worker's part of an order: its messages, the deadline of what it is at, and whom to blame when
    it ends early.
    """

    def __init__(
        self,
        worker: Worker,
        progress: Progress,
        share: int,
        barriers: Barriers,
        settings: Settings,
        *,
        together: bool,
    ) -> None:
        self._worker, self._progress, self._share = worker, progress, share
        self._barriers = barriers
        self._timeout_s, self._root, self._together = settings.timeout_s, settings.root, together
        self._busy: dict[str, tuple[int, float]] = {}
        """What the worker is at: the target's index, and since when."""
        self._cutting = False
        """All whole targets are built, and their kernels come."""
        self._at: dict[str, Kernel] = {}
        """The kernel behind each key of what it is at."""

    async def hold(self) -> None:
        """Until the last report. Raises Stopped where the worker died or ran past a deadline."""
        over = False
        while not over:
            try:
                message = await self._worker.receive(self._remaining())
            except WorkerDied as death:
                self._end(self._suspects(), "crash", str(death), _CRASH_HINT, self._worker.output())
                return
            except Overdue:
                stacks = await self._worker.where()
                text = f"ran past its deadline of {self._timeout_s:g} s"
                self._end(self._late(), "deadline", text, _DEADLINE_HINT, stacks)
                return
            over = self._take_kernel(message) if self._cutting else await self._take(message)

    async def _take(self, message: dict[str, Any]) -> bool:
        """Take in one message; whether it was the last."""
        match message["did"]:
            case "loading":
                self._busy = {"load": (message["target"], time.monotonic())}
            case "loaded":
                self._busy.clear()
                await self._barriers.loaded.wait()
                await self._worker.send(do="go")
            case "lowered":
                self._busy.clear()
                await self._confer(message)
            case "began" | "compiling" | "collecting" | "running":
                target = self._progress.order.slots[message["build"]].target
                self._busy[f"build {message['build']}"] = (target, time.monotonic())
            case "waiting" | "ended":
                self._busy.pop(f"build {message['build']}", None)
                if self._together:
                    self._together = False
                    await self._barriers.begun.wait()
                    await self._worker.send(do="open")
            case "lowering done" | "collected":
                self._busy.pop(f"build {message['build']}", None)
            case "report":
                self._busy.pop(f"build {message['build']}", None)
                self._progress.note(message)
            case "built":
                self._progress.environments.append(message["environment"])
                self._progress.cpu_s += message["cpu_s"]
                return not await self._cuts()
        return False

    def _take_kernel(self, message: dict[str, Any]) -> bool:
        """Take in one message on the kernels of targets; whether it was the last."""
        match message["did"]:
            case "kernel":
                target = self._progress.order.slots[message["build"]].target
                self._busy[message["key"]] = (target, time.monotonic())
                self._at[message["key"]] = msgspec.convert(message["kernel"], Kernel)
            case "kernel done":
                self._busy.pop(message["key"], None)
            case "kept":
                target = self._progress.order.slots[message["build"]].target
                entry = self._progress.order.cohort[target].entry
                self._progress.kept.setdefault(entry, []).extend(message["keys"])
            case "kernel report":
                self._progress.kernels.append(msgspec.convert(message["report"], Build))
        return bool(message["did"] == "linked")

    async def _cuts(self) -> bool:
        """Whether kernels are to be built as well; then all workers begin together."""
        if self._progress.order.partition == WHOLE:
            return False
        await self._barriers.built.wait()
        self._cutting = True
        await self._worker.send(do="cut")
        return True

    async def _confer(self, message: dict[str, Any]) -> None:
        """Everything is lowered: find out what is worth compiling, and have that built."""
        progress, conference = self._progress, self._progress.order.conference
        assert conference is not None
        progress.note_lowered(message)
        await self._barriers.lowered.wait()
        wanted = await conference.meet(progress.order.name, progress.lowered)
        order = progress.order.only(wanted)
        progress.order = order.once() if conference.once else order
        mine = progress.mine(self._share)
        self._together = self._together and bool(mine)
        await self._worker.send(do="build", slots=mine)

    def _remaining(self) -> float:
        """Seconds until the first thing this worker is at runs past its deadline."""
        since = min((since for _, since in self._busy.values()), default=time.monotonic())
        return max(0.0, since + self._timeout_s - time.monotonic())

    def _suspects(self) -> set[int]:
        """What the worker was at; all it was given, where that is not known."""
        return {target for target, _ in self._busy.values()} or {
            target for _, target, _ in self._progress.mine(self._share)
        }

    def _late(self) -> set[int]:
        now = time.monotonic()
        return {
            target for target, since in self._busy.values() if now - since >= self._timeout_s
        } or self._suspects()

    def _end(self, suspects: set[int], kind: str, message: str, hint: str, output: str) -> None:
        """The worker has ended early. Raises Stopped, unless all whole targets were built: then what it came
        to in their kernels is all that is lost.
        """
        if not self._cutting:
            self._progress.blame(suspects, kind, message, hint, output, self._root)
            raise Stopped from None
        for target in suspects:
            entry = self._progress.order.cohort[target].entry
            at = [self._at[key] for key, (index, _) in self._busy.items() if index == target]
            kernel = at[0] if len(at) == 1 else Kernel(LINKED)
            text = f"{', '.join(one.name for one in at) or 'its kernels'}: {message}"
            failure = Failure(kind, text, kernel.file, kernel.line, hint, output)
            self._progress.kernels.append(
                Build(entry, 0, self._worker.pid, "", 0, 0, 0, failure=failure, kernel=kernel)
            )
