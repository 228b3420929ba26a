"""A round: one validation of a cohort. Builds it under every schedule in turn, compares, and controls
where something differs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from pcvd.builders.protocol import Builders, Order, Pair
from pcvd.core.compare import differing_outputs, judge, lacking_overlap, wants_control
from pcvd.core.evidence import Facts
from pcvd.core.model import Judgement, OutputDelta, Read, Run, TargetSpec, source_key
from pcvd.core.schedule import CONTROL, Schedule, parse, rotated
from pcvd.core.variation import USUAL, soaking
from pcvd.store import RoundRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pcv_config.settings import Settings
    from pcvd.blobs import Blobs
    from pcvd.files import Files

log = structlog.get_logger()

_MORE_TRIES = 2
"""How often targets are built again that nothing overlapped."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round came to.

    `record` holds what stands. `again`: targets that fell victim to another's failure and are built once more
    without it. `changed`: targets whose files were edited meanwhile; their judgements say so and are not
    recorded.
    """

    record: RoundRecord
    again: tuple[str, ...]
    changed: tuple[Judgement, ...]


class Rounds:
    """Holds rounds, one at a time."""

    def __init__(
        self,
        builders: Builders,
        settings: Settings,
        files: Files,
        blobs: Blobs,
        now: Callable[[], str],
        *,
        soak: int | None = None,
    ) -> None:
        """`soak`: the round only gathers evidence; this number chooses order and hash seed."""
        self._builders, self._settings, self._now = builders, settings, now
        self._files, self._blobs, self._soak = files, blobs, soak

    async def hold(self, cohort: Sequence[TargetSpec], why: str, premises: Sequence[Read]) -> Outcome:
        """Validate `cohort`. `premises` are what its builds rest on beside the files they read (versions,
        settings).

        Raises SetupError where no worker can be had.
        """
        started_at = self._now()
        if self._soak is not None:
            cohort = rotated(cohort, self._soak)
        gathered = _Gathered(tuple(cohort))
        await self._build(gathered)
        deltas, unmeasured = await self._distances(gathered)
        digests, changed = await self._resolve(gathered)
        unreadable = await asyncio.to_thread(self._unreadable, gathered.runs)
        facts = Facts(self._settings.tolerate, deltas, changed, unreadable, unmeasured)
        judgements = [
            judge(spec.entry, gathered.runs, facts) for spec in cohort if spec.entry not in gathered.victims
        ]
        judgements = [
            replace(
                one, evidence=one.evidence | {"source_key": source_key((*digests[one.target], *premises))}
            )
            for one in judgements
        ]
        judged = {one.target for one in judgements} - set(changed)
        return Outcome(
            record=RoundRecord(
                started_at=started_at,
                finished_at=self._now(),
                why=why,
                cohort=tuple(spec.entry for spec in cohort),
                environment=gathered.environment,
                runs=tuple(gathered.runs),
                judgements=tuple(one for one in judgements if one.target in judged),
                reads={entry: (*reads, *premises) for entry, reads in digests.items() if entry in judged},
            ),
            again=tuple(spec.entry for spec in cohort if spec.entry in gathered.victims),
            changed=tuple(one for one in judgements if one.target in changed),
        )

    async def _build(self, gathered: _Gathered) -> None:
        """All schedules in turn, each in fresh processes; a control where something differs."""
        schedules = sorted(
            (parse(name) for name in self._settings.schedules), key=lambda one: one.kind != "serial"
        )
        challengers = 0
        for schedule in schedules:
            if not await self._carry_out(schedule, challengers, gathered):
                return
            challengers += not schedule.serial
        if CONTROL not in schedules and self._differs(gathered):
            await self._carry_out(CONTROL, 0, gathered)

    async def _carry_out(self, schedule: Schedule, challenger: int, gathered: _Gathered) -> bool:
        """One schedule; whether the round can go on."""
        manner = USUAL if self._soak is None else soaking(schedule, self._soak)
        order = Order.of(gathered.cohort, schedule, challenger, manner)
        carried = await self._builders.carry_out(order)
        for _ in range(_MORE_TRIES):
            lonely = _lonely(carried.run, order)
            if not lonely:
                break
            carried = carried.joined(await self._builders.carry_out(order.only(lonely, challenger)))
        gathered.runs.append(carried.run)
        log.info(
            "built",
            schedule=schedule.name,
            builds=len(carried.run.builds),
            wall_s=carried.run.wall_ns / 1e9,
            peak=carried.run.peak_in_flight,
            failed=sum(build.failure is not None for build in carried.run.builds) or None,
        )
        for entry, reads in carried.reads.items():
            gathered.reads.setdefault(entry, []).extend(reads)
        failed = {build.target for build in carried.run.builds if build.failure is not None}
        if failed:
            # Whoever fails changes what its neighbours' process has done before them, so they are built again
            # without it.
            gathered.victims = {spec.entry for spec in gathered.cohort} - failed
            return False
        return True

    def _differs(self, gathered: _Gathered) -> bool:
        facts = Facts(self._settings.tolerate, {}, {})
        return wants_control([judge(spec.entry, gathered.runs, facts) for spec in gathered.cohort])

    async def _distances(
        self, gathered: _Gathered
    ) -> tuple[dict[str, list[OutputDelta]], dict[str, set[tuple[str, str]]]]:
        """Per target, how far leaves are apart that differ, and those (schedule, path) of which nobody could
        find that out.
        """
        pairs = [
            (spec.entry, Pair(*found))
            for spec in gathered.cohort
            if spec.entry not in gathered.victims
            for found in differing_outputs(spec.entry, gathered.runs)
        ]
        measured = await self._builders.measure([pair for _, pair in pairs])
        deltas: dict[str, list[OutputDelta]] = {}
        unmeasured: dict[str, set[tuple[str, str]]] = {}
        for (entry, pair), delta in zip(pairs, measured, strict=True):
            if delta is not None:
                deltas.setdefault(entry, []).append(delta)
            else:
                unmeasured.setdefault(entry, set()).add((pair.schedule, pair.other.name))
        return deltas, unmeasured

    async def _resolve(self, gathered: _Gathered) -> tuple[dict[str, tuple[Read, ...]], dict[str, list[str]]]:
        """Every target's reads with digests, and the files that are not what some build of it read."""
        paths = {
            read.name
            for reads in gathered.reads.values()
            for read in reads
            if read.kind in {"file", "absent"}
        }
        paths |= {self._path(spec) for spec in gathered.cohort}
        now = await self._files.digests(paths)
        stats = await self._files.stats(paths)
        resolved: dict[str, tuple[Read, ...]] = {}
        changed: dict[str, list[str]] = {}
        for spec in gathered.cohort:
            own = self._path(spec)
            booked = {("file", own): Read("file", own, now[own])}
            for read in gathered.reads.get(spec.entry, ()):
                if read.kind not in {"file", "absent"}:
                    booked[read.kind, read.name] = read
                    continue
                seen = now[read.name] if read.digest is None and read.kind == "file" else read.digest
                if seen != now[read.name] or read.stat not in {None, stats[read.name]}:
                    changed.setdefault(spec.entry, []).append(self._relative(read.name))
                booked["file", read.name] = Read("file", read.name, now[read.name])
            resolved[spec.entry] = tuple(booked.values())
        return resolved, {entry: sorted(set(names)) for entry, names in changed.items()}

    def _unreadable(self, runs: Sequence[Run]) -> frozenset[str]:
        """The digests whose stored bytes can't be read back whole."""
        wanted = {
            digest
            for run in runs
            for build in run.builds
            for artifact in build.artifacts
            for part in artifact.parts
            for digest in (part.raw, part.canonical)
        }
        return frozenset(digest for digest in wanted if not self._blobs.verify(digest))

    def _path(self, spec: TargetSpec) -> str:
        return f"{self._settings.root.rstrip('/')}/{spec.path}"

    def _relative(self, path: str) -> str:
        return path.removeprefix(self._settings.root.rstrip("/") + "/")


def _lonely(run: Run, order: Order) -> list[int]:
    """The targets, by their index, that are to be built again since nothing overlapped them: on a busy
    machine short compilations may miss each other. None where something went wrong.
    """
    if any(build.failure is not None for build in run.builds):
        return []
    return [index for index, spec in enumerate(order.cohort) if lacking_overlap(run, spec.entry) is not None]


class _Gathered:
    """What a round has brought together so far."""

    def __init__(self, cohort: tuple[TargetSpec, ...]) -> None:
        self.cohort = cohort
        self.runs: list[Run] = []
        self.reads: dict[str, list[Read]] = {}
        self.victims: set[str] = set()

    @property
    def environment(self) -> dict[str, Any]:
        environments = self.runs[0].environments
        return environments[0] if environments else {}
