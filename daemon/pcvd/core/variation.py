"""Variations: one thing changed on purpose between two serial builds, to find what a difference comes from.

A concurrent build differs from a serial one in many things at once: order, thread, neighbours, hash seed,
memory layout, and that it overlaps others. Each variation changes one of them and builds serially again; the
one that flips the artifact is the cause. reprotest does the same for Debian's packages
(https://salsa.debian.org/reproducible-builds/reprotest), one build a variation; here each can be repeated, as
some causes show only by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pcvd.core.builds import STAGES
from pcvd.core.errors import UsageError
from pcvd.core.schedule import SERIAL, Schedule, Slot, arrange, reordered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Manner:
    """How builds are made, where otherwise than usual.

    `zygote`: which one the worker is forked from (None: the schedule's own). `affinity`: the CPUs it may use
    (None: all of the daemon's). `elsewhere`: the project is reached through another path. `until`: the last
    stage that is made. `detail`: the HLO after every compiler pass and the lines of the jaxpr are collected
    as well. `without`: HLO passes that the compiler leaves out. `idle`: at the lowest priority.
    """

    zygote: str | None = None
    affinity: tuple[int, ...] | None = None
    elsewhere: bool = False
    until: str = STAGES[-1]
    detail: bool = False
    without: tuple[str, ...] = ()
    idle: bool = False


USUAL = Manner()


def soaking(schedule: Schedule, number: int) -> Manner:
    """How a round that only gathers evidence builds: aside, and its challengers under another hash seed."""
    return Manner(zygote=None if schedule.kind == "serial" else f"seed:{number + 2}", idle=True)


@dataclass(frozen=True, slots=True)
class Variation:
    """One thing to change. `how` completes the sentence "it differs in 5 of 5 builds …"."""

    name: str
    how: str
    schedule: Schedule = SERIAL
    manner: Manner = Manner(zygote="reference")


PROCESS = Variation("process", "with nothing changed but the process")
ORDER = Variation("order", "in another order")
THREAD = Variation("thread", "on a pool's thread", schedule=Schedule("threads", 1))
HASH_SEED = Variation("hash-seed", "with another hash seed", manner=Manner(zygote="challenger"))
LAYOUT = Variation("memory-layout", "with another memory layout", manner=Manner(zygote="sibling"))
AFTER_ITSELF = Variation("after-itself", "right after one of the same target")
NEIGHBOURS = Variation("neighbours", "built alone")
DIRECTORY = Variation("directory", "under another path", manner=Manner(zygote="reference", elsewhere=True))
AFFINITY = Variation("affinity", "on one core")

BETWEEN = (PROCESS, ORDER, AFTER_ITSELF, THREAD, HASH_SEED, LAYOUT, NEIGHBOURS)
"""What may be unlike between the reference and a challenger, so what a difference may come from. A challenger
builds a target a second time in one process where there are fewer targets than threads.
"""

AROUND = (DIRECTORY, AFFINITY)
"""What is alike in all builds of a round: tried where nothing else flips the artifact, or when asked for."""

ALL = {variation.name: variation for variation in (*BETWEEN, *AROUND)}


def named(names: Iterable[str]) -> tuple[Variation, ...]:
    """The variations of these names, all for `all`. Raises UsageError for any other."""
    found: dict[str, Variation] = {}
    for name in names:
        if name == "all":
            found |= ALL
        elif name in ALL:
            found[name] = ALL[name]
        else:
            raise UsageError(f'unknown variation "{name}"', hint=f"all, or one of {', '.join(ALL)}")
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Probe:
    """Builds that try one variation: which targets one process loads, and which of them it builds."""

    variation: Variation
    cohort: tuple[str, ...]
    slots: tuple[Slot, ...]
    manner: Manner

    @property
    def name(self) -> str:
        """What the run of these builds is called in the store."""
        return (
            f"{self.variation.name}:{self.cohort[0]}" if self.variation is NEIGHBOURS else self.variation.name
        )


def hindrance(variation: Variation, cohort: Sequence[str], cpus: Sequence[int]) -> str | None:
    """Why `variation` has nothing to change in builds of `cohort` on `cpus` (empty: they can't be chosen), as
    a clause; None where it has.
    """
    if variation in {ORDER, NEIGHBOURS} and len(cohort) == 1:
        return "it is alone in its process already"
    if variation is AFFINITY and not cpus:
        return "this system lets nobody choose cores"
    if variation is AFFINITY and len(cpus) == 1:
        return "there is one core only"
    return None


def probes(
    variation: Variation,
    cohort: Sequence[str],
    targets: Sequence[str],
    until: str,
    cpus: Sequence[int],
    zygote: str | None = None,
) -> list[Probe]:
    """The builds that try `variation` on `targets`, which were built in `cohort`; none where something is in
    its way (see `hindrance`).

    `until` is the last stage of interest, `cpus` are those that may be used, `zygote` is that of the builds
    that differed (None: the usual challengers').
    """
    if hindrance(variation, cohort, cpus) is not None:
        return []
    manner = replace(variation.manner, until=until)
    if variation is NEIGHBOURS:
        return [Probe(variation, (target,), tuple(arrange(SERIAL, 1, 0)), manner) for target in targets]
    if variation is AFFINITY:
        manner = replace(manner, affinity=(min(cpus),))
    if variation is HASH_SEED and zygote is not None:
        manner = replace(manner, zygote=zygote)
    slots = tuple(arrange(SERIAL, len(cohort), 0))
    if variation is ORDER:
        slots = tuple(slots[place] for place in reordered(len(cohort), 0))
    if variation is AFTER_ITSELF:
        slots = tuple(Slot(slot.target, copy, 0) for slot in slots for copy in range(2))
    return [Probe(variation, tuple(cohort), slots, manner)]
