"""What the daemon asks of whoever carries out builds, and the records that go to and fro."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from pcvd.core.builds import WHOLE
from pcvd.core.schedule import Schedule, Slot, arrange
from pcvd.core.variation import USUAL, Manner, Probe

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pcvd.builders.conference import Conference
    from pcvd.core.builds import Part, Run
    from pcvd.core.model import OutputDelta, Problem, Read, TargetSpec


@dataclass(frozen=True, slots=True)
class Order:
    """Load `cohort`, and build it as `slots` say, under `schedule`; `name` is what the run is called.

    With a `conference` everything is lowered first, and only what that names is compiled. `partition` is the
    policy by which targets are cut, and their kernels built as well.
    """

    name: str
    cohort: tuple[TargetSpec, ...]
    schedule: Schedule
    slots: tuple[Slot, ...]
    manner: Manner = USUAL
    challenger: int = 0
    conference: Conference | None = field(default=None, compare=False)
    partition: str = WHOLE

    @staticmethod
    def of(
        cohort: Sequence[TargetSpec],
        schedule: Schedule,
        challenger: int,
        manner: Manner = USUAL,
        conference: Conference | None = None,
        partition: str = WHOLE,
    ) -> Order:
        """`cohort` under `schedule`; `challenger` counts the challengers of the round from zero (it decides
        the order).
        """
        slots = tuple(arrange(schedule, len(cohort), challenger))
        return Order(schedule.name, tuple(cohort), schedule, slots, manner, challenger, conference, partition)

    def only(self, entries: Collection[str]) -> Order:
        """The same schedule over these of the cohort's targets, all of them early; the others are loaded,
        and not built.
        """
        places = [place for place, spec in enumerate(self.cohort) if spec.entry in entries]
        slots = arrange(self.schedule, len(places), self.challenger) if places else []
        return replace(self, slots=tuple(replace(slot, target=places[slot.target]) for slot in slots))

    def once(self) -> Order:
        """Of every target one build alone, without copies."""
        return replace(self, slots=tuple(slot for slot in self.slots if slot.copy == 0))

    @staticmethod
    def trying(probe: Probe, cohort: Sequence[TargetSpec]) -> Order:
        """The builds that try a variation; `cohort` holds the declarations of the probe's targets."""
        return Order(probe.name, tuple(cohort), probe.variation.schedule, probe.slots, probe.manner)

    def made(self, **changes: Any) -> Order:
        """The same builds, with `changes` of their manner."""
        return replace(self, manner=replace(self.manner, **changes))

    @property
    def zygote(self) -> str:
        """Which zygote the workers come from."""
        return self.manner.zygote or self.schedule.zygote


@dataclass(frozen=True, slots=True)
class Carried:
    """What came of an order: the run, what each target read, and the processor time that its builds took, in
    seconds. `kept`: per target, the keys under which compiled kernels wait for the verdict.
    """

    run: Run
    reads: dict[str, tuple[Read, ...]]
    cpu_s: float = 0.0
    kept: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def joined(self, later: Carried) -> Carried:
        """Both, as one run: what overlapped in either has overlapped."""
        reads = {
            target: (*self.reads.get(target, ()), *later.reads.get(target, ()))
            for target in {**self.reads, **later.reads}
        }
        return Carried(
            self.run.joined(later.run), reads, self.cpu_s + later.cpu_s, {**self.kept, **later.kept}
        )

    def beside(self, reference: Carried, schedule: Schedule) -> Carried:
        """These builds and the reference's, which were under way at the same time in another process, as the
        run under `schedule` that they were together. Zygote and hash seed are those of these builds; what the
        reference has read is booked with its own run.
        """
        run = reference.run.joined(self.run)
        run = replace(run, schedule=schedule.name, zygote=self.run.zygote, hash_seed=self.run.hash_seed)
        return replace(self, run=run)


@dataclass(frozen=True, slots=True)
class Discovery:
    """The targets that files declare, what kept a file from being imported (which may be wrong with another
    one, that it imports), and what each file read meanwhile.
    """

    targets: tuple[TargetSpec, ...]
    problems: dict[str, Problem]
    reads: dict[str, tuple[Read, ...]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two stored output leaves to measure against each other: the reference's, and the one of `schedule`."""

    schedule: str
    reference: Part
    other: Part


class Builders(Protocol):
    """Carries out orders. Raises SetupError where no worker can be had at all."""

    async def carry_out(self, order: Order) -> Carried:
        """Build the order's cohort; failures of targets are in the run, deaths of workers name their
        culprits.
        """

    async def discover(self, files: Sequence[str]) -> Discovery:
        """Import `files` (relative to the root) in a fresh worker and tell what they declare."""

    async def cut(self, spec: TargetSpec, policy: str) -> dict[str, Any]:
        """How a policy cuts a target into kernels, in plain values, as `pcvd.kernels.document` tells it.

        Raises UsageError for an unknown policy, TargetError where the target can't be traced or cut.
        """

    async def measure(self, pairs: Sequence[Pair], *, rtol: float = 0.0) -> list[OutputDelta | None]:
        """How far the leaves of each pair are apart; None where that could not be found out. A relative
        distance of `rtol` is within tolerance, or what the settings say where that is more.
        """

    async def prepare(self) -> None:
        """Have workers waiting for the next order."""

    async def rest(self) -> None:
        """Give back what is only held to be quick."""
