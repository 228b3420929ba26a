"""Retracing: verdicts that the first tier has confirmed, since it traced the edited code to the programs that
they stand on, are held against what the other schedules trace it to. Nothing is compiled.

More threads, or other processes, may trace other programs: what a race shows depends on how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pcvd.builders.conference import Conference
from pcvd.builders.protocol import Order
from pcvd.core.programs import is_standing
from pcvd.core.schedule import parse
from pcvd.jury import Gathered, Jury
from pcvd.round import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pcv_config.settings import Settings
    from pcvd.blobs import Blobs
    from pcvd.builders.conference import Lowered
    from pcvd.builders.protocol import Builders
    from pcvd.core.model import Judgement, Read, TargetSpec
    from pcvd.core.schedule import Schedule
    from pcvd.files import Files
    from pcvd.jury import Confirmation


@dataclass(frozen=True, slots=True)
class Retraced:
    """What came of it: the verdicts that stand (and the targets whose files were edited meanwhile); the
    targets of which some schedule makes another program, and what they read; and those that could not be
    traced.
    """

    confirmed: Confirmation
    otherwise: Mapping[str, tuple[Read, ...]]
    failed: tuple[str, ...]


class Retracing:
    """Traces cohorts under the schedules that the first tier left out."""

    def __init__(
        self, builders: Builders, settings: Settings, files: Files, blobs: Blobs, now: Callable[[], str]
    ) -> None:
        self._builders, self._settings = builders, settings
        self._jury = Jury(builders, settings, files, blobs, now)

    async def hold(
        self,
        cohort: Sequence[TargetSpec],
        standing: Mapping[str, Judgement],
        reads: Mapping[str, Sequence[Read]],
        premises: str,
        traced: Collection[str],
    ) -> Retraced:
        """Trace `cohort` under the settings' schedules, but for those under which it was `traced` already,
        and hold that against the verdicts `standing`. They rest on what was read now, and on these `reads`.
        `premises` is the digest of what all builds rest on.

        Raises SetupError where no worker can be had.
        """
        known = {entry: [*map(_once_more, held)] for entry, held in reads.items()}
        gathered = Gathered(tuple(cohort), reads=known)
        made: dict[str, Lowered] = {}
        challengers = 0
        for schedule in map(parse, self._settings.schedules):
            if schedule.name not in traced:
                made[schedule.name] = await self._trace(schedule, challengers, gathered)
            challengers += not schedule.serial
        found = await self._jury.confirm(cohort, gathered.reads)
        stand, otherwise = {}, {}
        for entry, read in found.reads.items():
            programs = {name: lowered.get(entry, ()) for name, lowered in made.items()}
            if entry in standing and is_standing(programs, standing[entry], premises):
                stand[entry] = read
            elif entry in standing and all(programs.values()):
                otherwise[entry] = read
        failed = tuple(entry for entry in found.reads if entry not in stand and entry not in otherwise)
        return Retraced(replace(found, reads=stand), otherwise, failed)

    async def _trace(self, schedule: Schedule, challenger: int, gathered: Gathered) -> Lowered:
        """What the cohort is lowered to under a schedule."""
        made: dict[str, Lowered] = {}

        def decide(programs: Mapping[str, Lowered]) -> list[str]:
            made.update(programs)
            return []

        conference = Conference((schedule.name,), decide)
        carried = await self._builders.carry_out(
            Order.of(gathered.cohort, schedule, challenger, conference=conference)
        )
        tell(carried)
        gathered.book(carried)
        return made.get(schedule.name, {})


def _once_more(read: Read) -> Read:
    """What is recorded of a read, as a worker would tell it: of a file that was absent, that it was."""
    return replace(read, kind="absent") if read.kind == "file" and read.digest is None else read
