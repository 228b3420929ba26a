"""A glance: the first tier of a round, which gives a verdict right after a save. The reference and one
challenger are made side by side; both lower everything, and only what is new is compiled.

A single target has copies under `threads:2`, so that something overlaps it: with the reference, three builds
on what may be two cores. All of them are lowered, since a race shows in what threads trace at the same time.
But where the target has agreed under every schedule, one copy alone is compiled, beside the reference, which
another process compiles at that very moment: these two are a run of `processes:2`, whose overlap is measured
as it always is. What threads that compile at one time do to each other is left to the whole round.

A glance finds agreement, or that the programs are those of a verdict that stands. Where it finds anything
else (a difference, a failure, builds that missed each other) that is no verdict yet: builds that are lowered
ahead of others, beside another run, differ from plain ones in more than their schedule. Then a proper round
is held, of these two schedules.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from pcvd.builders.conference import Conference
from pcvd.builders.protocol import Order
from pcvd.core.builds import WHOLE
from pcvd.core.compare import AGREE
from pcvd.core.model import source_key
from pcvd.core.programs import is_standing
from pcvd.core.schedule import PAIR, SERIAL, parse
from pcvd.core.succession import is_partial
from pcvd.jury import Gathered, Jury, Outcome
from pcvd.round import Rounds, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pcv_config.settings import Settings
    from pcvd.blobs import Blobs
    from pcvd.builders.conference import Lowered
    from pcvd.builders.protocol import Builders, Carried
    from pcvd.core.model import Judgement, Read, TargetSpec
    from pcvd.core.schedule import Schedule
    from pcvd.files import Files


class Glance:
    """Holds the first tier of rounds."""

    def __init__(
        self, builders: Builders, settings: Settings, files: Files, blobs: Blobs, now: Callable[[], str]
    ) -> None:
        self._builders, self._settings = builders, settings
        self._jury = Jury(builders, settings, files, blobs, now)
        self._rounds = Rounds(builders, settings, files, blobs, now)
        places = _challengers(settings.schedules)
        self._challenger, self._place = next(iter(places.items()))
        self._traced = traced(settings.schedules)
        # Each worker of `processes:N` has a build of its own: none of them can do without.
        self._pairs = PAIR in places and self._challenger.kind == "threads" and settings.partition == WHOLE

    async def hold(
        self,
        cohort: Sequence[TargetSpec],
        why: str,
        premises: Sequence[Read],
        standing: Mapping[str, Judgement],
    ) -> Outcome:
        """Judge `cohort`, of which these verdicts are `standing`. Raises SetupError where no worker can be
        had.
        """
        started_at = self._jury.now()
        lowered: dict[str, Lowered] = {}
        key = source_key(premises)

        def decide(programs: Mapping[str, Lowered]) -> list[str]:
            lowered.update(programs)
            return [spec.entry for spec in cohort if not self._stands(spec.entry, programs, standing, key)]

        paired = self._pairs and len(cohort) == 1 and self._agrees(standing.get(cohort[0].entry))
        carried = await self._side_by_side(cohort, decide, paired=paired)
        new = [spec for spec in cohort if not self._stands(spec.entry, lowered, standing, key)]
        outcome = await self._judged(new, carried, why, premises, started_at)
        if outcome is None:
            told_apart = any(_differ(spec.entry, lowered) for spec in new)
            rest = list(cohort) if told_apart else new
            outcome = await self._rounds.hold(rest, why, premises, self._traced)
            new = rest
        same = [spec for spec in cohort if spec not in new]
        gathered = Gathered(tuple(same))
        for one in carried:
            gathered.book(one)
        return replace(outcome, confirmation=await self._jury.confirm(same, gathered.reads, premises))

    def _agrees(self, last: Judgement | None) -> bool:
        """Whether a target agreed under all schedules."""
        return (
            last is not None
            and last.verdict == AGREE
            and not is_partial(last.verdict, last.schedules, self._settings.schedules)
        )

    def _stands(
        self,
        entry: str,
        programs: Mapping[str, Lowered],
        standing: Mapping[str, Judgement],
        premises: str,
    ) -> bool:
        if entry not in standing or programs.keys() != set(self._traced):
            return False
        made = {schedule: lowered.get(entry, ()) for schedule, lowered in programs.items()}
        return is_standing(made, standing[entry], premises)

    async def _side_by_side(
        self,
        cohort: Sequence[TargetSpec],
        decide: Callable[[Mapping[str, Lowered]], list[str]],
        *,
        paired: bool,
    ) -> list[Carried]:
        schedules = {SERIAL: 0, self._challenger: self._place}
        conference = Conference(self._traced, decide, once=paired)
        partition = self._settings.partition
        orders = [
            Order.of(cohort, schedule, place, conference=conference, partition=partition)
            for schedule, place in schedules.items()
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._builders.carry_out(order)) for order in orders]
        reference, other = (task.result() for task in tasks)
        for one in (reference, other):
            tell(one)
        return [reference, other.beside(reference, PAIR) if paired else other]

    async def _judged(
        self,
        new: Sequence[TargetSpec],
        carried: Sequence[Carried],
        why: str,
        premises: Sequence[Read],
        started_at: str,
    ) -> Outcome | None:
        """The verdicts on what was new; None where they are not agreement on all of it."""
        if any(build.failure is not None for one in carried for build in one.run.builds):
            return None
        gathered = Gathered(tuple(new), [one.run for one in carried], alone=False)
        for one in carried:
            gathered.book(one)
        outcome = await self._jury.judge(gathered, why, premises, started_at)
        agreed = {one.target for one in outcome.record.judgements if one.verdict == AGREE}
        changed = {one.target for one in outcome.changed}
        return outcome if {spec.entry for spec in new} <= agreed | changed else None


def traced(schedules: Sequence[str]) -> tuple[str, str]:
    """Those of a project's schedules under which a first tier traces targets."""
    return SERIAL.name, next(iter(_challengers(schedules))).name


def _challengers(schedules: Sequence[str]) -> dict[Schedule, int]:
    """Schedules of which builds overlap, and which challenger of a round each is, counted from zero."""
    challengers = [one for one in map(parse, schedules) if not one.serial]
    return {one: place for place, one in enumerate(challengers) if one.overlap > 1}


def _differ(entry: str, programs: Mapping[str, Lowered]) -> bool:
    """Whether the runs have lowered the target to other programs."""
    made = {program for lowered in programs.values() for program in lowered.get(entry, ())}
    return len(made) > 1
