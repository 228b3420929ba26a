"""A round: one validation of a cohort. Builds it under schedules in turn, each in fresh processes, compares,
and controls where something differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from pcvd.builders.protocol import Order
from pcvd.core import partition
from pcvd.core.compare import judge, lacking_overlap, wants_control
from pcvd.core.evidence import Facts
from pcvd.core.schedule import CONTROL, Schedule, parse, rotated
from pcvd.core.variation import USUAL, soaking
from pcvd.jury import Gathered, Jury, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pcv_config.settings import Settings
    from pcvd.blobs import Blobs
    from pcvd.builders.protocol import Builders, Carried
    from pcvd.core.builds import Run
    from pcvd.core.model import Read, TargetSpec
    from pcvd.files import Files

log = structlog.get_logger()

_MORE_TRIES = 4
"""How often targets are built again that nothing overlapped: only what compiles in no time can miss others,
on a machine that has more to do, and that is soon built again.
"""


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
        alone: Callable[[], bool] = lambda: True,
    ) -> None:
        """`soak`: the round only gathers evidence; this number chooses order and hash seed. `alone`: whether
        nothing else was built meanwhile.
        """
        self._builders, self._settings, self._soak = builders, settings, soak
        self._alone = alone
        self._jury = Jury(builders, settings, files, blobs, now)

    async def hold(
        self,
        cohort: Sequence[TargetSpec],
        why: str,
        premises: Sequence[Read],
        schedules: Sequence[str] | None = None,
    ) -> Outcome:
        """Validate `cohort` under `schedules` (None: those of the settings). `premises` are what its builds
        rest on beside the files they read (versions, settings).

        Raises SetupError where no worker can be had.
        """
        started_at = self._jury.now()
        if self._soak is not None:
            cohort = rotated(cohort, self._soak)
        gathered = Gathered(tuple(cohort))
        await self._build(gathered, self._settings.schedules if schedules is None else schedules)
        gathered.alone = self._alone()
        return await self._jury.judge(gathered, why, premises, started_at)

    async def _build(self, gathered: Gathered, names: Sequence[str]) -> None:
        """All schedules in turn, each in fresh processes; a control where something differs."""
        schedules = sorted((parse(name) for name in names), key=lambda one: one.kind != "serial")
        challengers = 0
        for schedule in schedules:
            if not await self._carry_out(schedule, challengers, gathered):
                return
            challengers += not schedule.serial
        if CONTROL not in schedules and self._differs(gathered):
            await self._carry_out(CONTROL, 0, gathered)

    async def _carry_out(self, schedule: Schedule, challenger: int, gathered: Gathered) -> bool:
        """One schedule; whether the round can go on."""
        manner = USUAL if self._soak is None else soaking(schedule, self._soak)
        policy = self._settings.partition
        order = Order.of(gathered.cohort, schedule, challenger, manner, partition=policy)
        carried = await self._builders.carry_out(order)
        for _ in range(_MORE_TRIES):
            lonely = _lonely(carried.run, order)
            if not lonely:
                break
            carried = carried.joined(await self._builders.carry_out(order.only(lonely)))
        gathered.runs.append(carried.run)
        tell(carried)
        gathered.book(carried)
        failed = {build.target for build in carried.run.builds if build.failure is not None}
        if failed:
            # Whoever fails changes what its neighbours' process has done before them, so they are built again
            # without it.
            gathered.victims = {spec.entry for spec in gathered.cohort} - failed
            return False
        return True

    def _differs(self, gathered: Gathered) -> bool:
        facts = Facts(self._settings.tolerate, {}, {}, partition=self._settings.partition)
        return wants_control([judge(spec.entry, gathered.runs, facts) for spec in gathered.cohort])


def tell(carried: Carried) -> None:
    """Write into the log what came of a schedule."""
    run = carried.run
    log.info(
        "built",
        schedule=run.schedule,
        builds=len(run.builds),
        wall_s=run.wall_ns / 1e9,
        cpu_s=round(carried.cpu_s, 3),
        peak=run.peak_in_flight,
        failed=sum(build.failure is not None for build in run.builds) or None,
    )


def _lonely(run: Run, order: Order) -> list[str]:
    """The targets that are to be built again since nothing overlapped them: on a busy machine short
    compilations may miss each other. None where something went wrong.
    """
    if any(build.failure is not None for build in run.builds):
        return []
    return [
        spec.entry
        for spec in order.cohort
        if lacking_overlap(run, spec.entry) is not None or partition.lonely(spec.entry, run)
    ]
