"""A glance: the first tier of a round, which gives a verdict right after a save. The reference and one
challenger are made side by side; both lower everything, and only what is new is compiled.

Under `threads:2` a single target is built twice, so that something overlaps it: with the reference, three
builds on what may be two cores. But the reference is under way in another process at that very moment, and
one more build beside it makes the two of them `processes:2`. The overlap is measured, as it always is; what
threads of one process do to each other is shown by the whole round that follows. A target that has differed
before is held against threads at once.

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
from pcvd.core.compare import AGREE
from pcvd.core.model import WHOLE, source_key
from pcvd.core.programs import is_standing
from pcvd.core.schedule import PAIR, SERIAL, parse
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
        challengers = [one for one in map(parse, settings.schedules) if not one.serial]
        self._places = {one: place for place, one in enumerate(challengers) if one.overlap > 1}

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
        challenger = self._challenger(cohort, standing)
        paired = challenger == PAIR and self._alone(cohort)

        def decide(programs: Mapping[str, Lowered]) -> list[str]:
            lowered.update(programs)
            return [spec.entry for spec in new_in(programs)]

        def new_in(programs: Mapping[str, Lowered]) -> list[TargetSpec]:
            if programs.keys() != {SERIAL.name, challenger.name}:
                return list(cohort)
            return [spec for spec in cohort if not _stands(spec.entry, programs, standing, key)]

        conference = Conference([SERIAL.name, challenger.name], decide)
        carried = await self._side_by_side(cohort, challenger, conference, paired=paired)
        new = new_in(lowered)
        outcome = await self._judged(new, carried, why, premises, started_at)
        if outcome is None:
            told_apart = any(_differ(spec.entry, lowered) for spec in new)
            rest = list(cohort) if told_apart else new
            schedules = (SERIAL.name, challenger.name)
            outcome = await self._rounds.hold(rest, why, premises, schedules)
            new = rest
        return await self._with_confirmed(
            outcome, [spec for spec in cohort if spec not in new], carried, premises
        )

    def _challenger(self, cohort: Sequence[TargetSpec], standing: Mapping[str, Judgement]) -> Schedule:
        """The schedule that `cohort` is held against: two processes, where it is a single target that has
        agreed under them.
        """
        last = standing.get(cohort[0].entry) if self._alone(cohort) else None
        agreed = last is not None and last.verdict == AGREE and PAIR.name in last.schedules
        return PAIR if agreed and PAIR in self._places else next(iter(self._places))

    def _alone(self, cohort: Sequence[TargetSpec]) -> bool:
        """Whether it is a single program."""
        return len(cohort) == 1 and self._settings.partition == WHOLE

    async def _side_by_side(
        self, cohort: Sequence[TargetSpec], challenger: Schedule, conference: Conference, *, paired: bool
    ) -> list[Carried]:
        """The reference's run and the challenger's; `paired`: the reference's build is of both."""
        partition = self._settings.partition
        orders = [
            Order.of(cohort, schedule, place, conference=conference, partition=partition)
            for schedule, place in ((SERIAL, 0), (challenger, self._places[challenger]))
        ]
        if paired:
            orders[1] = orders[1].first()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._builders.carry_out(order)) for order in orders]
        reference, other = (task.result() for task in tasks)
        return [reference, other.beside(reference) if paired else other]

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
            tell(one)
            gathered.book(one)
        outcome = await self._jury.judge(gathered, why, premises, started_at)
        agreed = {one.target for one in outcome.record.judgements if one.verdict == AGREE}
        changed = {one.target for one in outcome.changed}
        return outcome if {spec.entry for spec in new} <= agreed | changed else None

    async def _with_confirmed(
        self,
        outcome: Outcome,
        kept: Sequence[TargetSpec],
        carried: Sequence[Carried],
        premises: Sequence[Read],
    ) -> Outcome:
        """`outcome`, with the targets whose verdict stands, unless their files were edited meanwhile."""
        gathered = Gathered(tuple(kept))
        for one in carried:
            gathered.book(one)
        digests, changed = await self._jury.resolve(kept, gathered.reads)
        confirmed = {entry: (*reads, *premises) for entry, reads in digests.items() if entry not in changed}
        return replace(outcome, confirmed=confirmed, moved=tuple(changed))


def _stands(
    entry: str, programs: Mapping[str, Lowered], standing: Mapping[str, Judgement], premises: str
) -> bool:
    made = {schedule: lowered.get(entry, ()) for schedule, lowered in programs.items()}
    return entry in standing and is_standing(made, standing[entry], premises)


def _differ(entry: str, programs: Mapping[str, Lowered]) -> bool:
    """Whether the runs have lowered the target to other programs."""
    made = {program for lowered in programs.values() for program in lowered.get(entry, ())}
    return len(made) > 1
