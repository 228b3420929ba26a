"""Investigations: what a difference comes from. A round's targets are built again with one thing changed at a
time; what flips the artifact is the cause, and it is followed to a line, a kernel, a compiler pass.

Held after the verdict stands. Its builds run in processes of their own, two at a time, and nothing about them
is compared by the clock.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from pcvd.blobs import BlobError
from pcvd.builders.protocol import Order
from pcvd.core import cause, mlir
from pcvd.core.builds import STAGES, TRACED
from pcvd.core.cause import RACE, Finding
from pcvd.core.chance import Tally
from pcvd.core.errors import SetupError
from pcvd.core.evidence import canonical_digest
from pcvd.core.schedule import CONTROL, SERIAL, parse
from pcvd.core.variation import ALL, BETWEEN, HASH_SEED, LAYOUT, ORDER, PROCESS, Manner, hindrance, probes
from pcvd.localisation import Rebuilds, Scene, locate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcvd.blobs import Blobs
    from pcvd.builders.protocol import Builders
    from pcvd.core.builds import Build, Run
    from pcvd.core.model import Judgement, TargetSpec
    from pcvd.core.variation import Probe, Variation

log = structlog.get_logger()

_AT_ONCE = 2
_MOST_BUILDS, _MOST_UNSETTLED = 5, 10
"""How often the deciding variation is tried, and nothing changed at all, so that chance shows; and how often
where that settles nothing.
"""
_TIMES_ASKED = 2
"""How often a variation is tried that somebody asks for: what differs once may have differed by chance."""
_REPEAT_FOR_S = 4.0
"""After this long nothing is repeated more than once since the last variation was tried."""
_AT_A_STEP = _AT_ONCE
"""Variations that are tried before it is asked whether others could still tell more."""
_MOST_LOCATED = 4
"""Targets of one investigation whose difference is followed to its place."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What an investigation found: causes by target, and one run of each variation that was tried."""

    causes: dict[str, dict[str, Any]]
    runs: tuple[Run, ...]


@dataclass(slots=True)
class _Case:
    """One target under investigation; `stage` is the last one that is looked at, `ignoring` are stages before
    it that differ as they may.
    """

    target: str
    reference: Build
    stage: str
    ignoring: tuple[str, ...] = ()
    findings: dict[str, Finding] = field(default_factory=dict)
    differing: dict[str, Build] = field(default_factory=dict)
    """Per variation, a build that differs."""

    def count(self, variation: str, builds: Sequence[Build]) -> None:
        """Compare `builds` of the target with the reference, and count them for a variation."""
        self.findings[variation] = self._before(variation).plus(
            self.reference, builds, self.stage, self.ignoring
        )
        for build in builds:
            if self.differs(build):
                self.differing.setdefault(variation, build)

    def differs(self, build: Build) -> bool:
        """Whether a build of the target differs from the reference where it matters."""
        return build.failure is None and (
            cause.first_difference(self.reference, build, self.stage, self.ignoring) is not None
        )

    def could_not_try(self, variation: str, why: str) -> None:
        """Note why there is no build of a variation."""
        self.findings[variation] = replace(self._before(variation), untried=why)

    def _before(self, variation: str) -> Finding:
        return self.findings.get(variation) or Finding.none(variation)


class Investigation:
    """The differences of one round, looked into."""

    def __init__(
        self, builders: Builders, blobs: Blobs, root: str, cohort: Sequence[TargetSpec], runs: Sequence[Run]
    ) -> None:
        """`cohort` and `runs` are the round's, the reference first; it tells the order that all others are
        held against.
        """
        self._builders, self._blobs, self._root = builders, blobs, root
        self._reference = runs[0]
        declared = {spec.entry: spec for spec in cohort}
        self._specs = {entry: declared[entry] for entry in self._reference.order if entry in declared}
        self._runs = {run.schedule: run for run in runs}
        self._challengers = [run.schedule for run in runs if not parse(run.schedule).serial]
        # A round that gathers evidence has challengers with a hash seed of its own.
        self._zygote = next((run.zygote for run in runs if run.schedule != SERIAL.name), None)
        self._cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._kept: dict[str, Run] = {}
        self._until = STAGES[0]

    async def explain(self, judgements: Sequence[Judgement]) -> Explained:
        """The causes of the differences that `judgements` found. Raises SetupError without workers."""
        began = time.monotonic()
        cases = [self._case(one.target, *_concern(one)) for one in judgements]
        for case in cases:
            self._count_round(case)
        await self._search(cases)
        given = await asyncio.to_thread(lambda: [self._given(case) for case in cases])
        found = {
            case.target: cause.cause_of(case.findings, case.stage, what)
            for case, what in zip(cases, given, strict=True)
        }
        for case in cases[_MOST_LOCATED:]:
            found[case.target]["remarks"].append(
                f"of {len(cases)} targets that differ, the places of {_MOST_LOCATED} were looked for;"
                " this one's is, when it is checked by itself"
            )
        rebuilds = Rebuilds(self._builders)
        for case in cases[:_MOST_LOCATED]:
            scene = self._scene(case)
            if scene is not None:
                placed = await locate(rebuilds, self._blobs, self._root, scene)
                remarks = [*found[case.target]["remarks"], *placed["remarks"]]
                found[case.target] |= placed | {"remarks": remarks}
        log.info(
            "investigated", seconds=time.monotonic() - began, kinds=[one["kind"] for one in found.values()]
        )
        return Explained(found, tuple(self._kept.values()))

    async def vary(self, targets: Sequence[str], variations: Sequence[Variation]) -> Explained:
        """What `variations` change in `targets`, which need not differ. Raises SetupError without workers."""
        cases = [self._case(target, STAGES[-1]) for target in targets]
        for variation in variations:
            if hindrance := self._hindrance(variation):
                for case in cases:
                    case.could_not_try(variation.name, hindrance)
        for _ in range(_TIMES_ASKED):
            await self._try(cases, variations)
        found = {}
        for case in cases:
            first = [one.first_stage for one in case.findings.values() if one.first_stage is not None]
            found[case.target] = cause.cause_of(
                case.findings, min(first, key=STAGES.index, default=STAGES[-1])
            )
        return Explained(found, tuple(self._kept.values()))

    def _case(self, target: str, stage: str, ignoring: tuple[str, ...] = ()) -> _Case:
        self._until = max(self._until, stage, key=STAGES.index)
        return _Case(target, self._reference.of(target)[0], stage, ignoring)

    def _given(self, case: _Case) -> str:
        """What the compiler was given in the builds that differ."""
        programs = {
            tuple(canonical_digest(build, stage) for stage in TRACED)
            for build in (case.reference, *case.differing.values())
        }
        if len(programs) > 1:
            return cause.OTHER
        artifact = case.reference.artifact("stablehlo")
        if case.stage != STAGES[-1] or artifact is None:
            return cause.SAME
        try:
            texts = [self._blobs.get(part.raw).decode(errors="replace") for part in artifact.parts]
        except (BlobError, OSError):
            return cause.SAME
        return cause.CALLS if any(map(mlir.calls_back, texts)) else cause.SAME

    def _hindrance(self, variation: Variation) -> str | None:
        return hindrance(variation, list(self._specs), self._cpus)

    def _count_round(self, case: _Case) -> None:
        """What the round itself has tried: overlap, and (its control) another hash seed and memory layout."""
        for name in self._challengers:
            if parse(name).overlap > 1:
                case.count(RACE, self._runs[name].of(case.target))
        if CONTROL.name in self._runs:
            case.count(HASH_SEED.name, self._runs[CONTROL.name].of(case.target))

    async def _search(self, cases: Sequence[_Case]) -> None:
        """Try variations, the likeliest first, until no further one could be named the cause, and repeat what
        decides until it is settled. What a repetition brings to light may be a reason to try more.
        """
        began, repeated = time.monotonic(), False
        ahead = self._ahead(cases)
        while True:
            names = [one.name for one in ahead]
            if ahead and not all(cause.is_plain(case.findings, case.stage, names) for case in cases):
                step, ahead = ahead[:_AT_A_STEP], ahead[_AT_A_STEP:]
                await self._try(cases, step)
                repeated = False
                continue
            wanting = _wanting(cases)
            if not wanting or (repeated and time.monotonic() - began > _REPEAT_FOR_S):
                return
            await self._try(cases, wanting)
            repeated = True

    def _ahead(self, cases: Sequence[_Case]) -> list[Variation]:
        """What the round itself has not tried: nothing but the process, and the order, which no challenger
        has in common with the reference; then the likeliest cause first.
        """
        order = cause.precedence(min((case.stage for case in cases), key=STAGES.index))
        untried = (one for one in BETWEEN if any(one.name not in case.findings for case in cases))
        return sorted(
            (one for one in untried if self._hindrance(one) is None),
            key=lambda one: (one not in {PROCESS, ORDER}, order.index(one.name)),
        )

    async def _try(self, cases: Sequence[_Case], variations: Sequence[Variation]) -> None:
        """One run of each of `variations`, for all cases at once."""
        targets = [case.target for case in cases]
        wanted = [probe for variation in variations for probe in self._probes(variation, targets)]
        async with asyncio.TaskGroup() as group:
            tried = [group.create_task(self._build(probe)) for probe in wanted]
        for probe, run in zip(wanted, (task.result() for task in tried), strict=True):
            concerned = [case for case in cases if case.target in probe.cohort]
            if isinstance(run, SetupError):
                # One variation that this machine has no means for is no reason to know nothing.
                for case in concerned:
                    case.could_not_try(probe.variation.name, run.message)
                continue
            self._kept.setdefault(probe.name, run)
            last = max(slot.copy for slot in probe.slots)  # a copy before it is the reference's build again
            for case in concerned:
                builds = [build for build in run.of(case.target) if build.copy == last or build.failure]
                case.count(probe.variation.name, builds)

    def _probes(self, variation: Variation, targets: Sequence[str]) -> list[Probe]:
        return probes(variation, list(self._specs), targets, self._until, self._cpus, self._zygote)

    def _order(self, probe: Probe) -> Order:
        return Order.trying(probe, [self._specs[target] for target in probe.cohort])

    async def _build(self, probe: Probe) -> Run | SetupError:
        async with self._at_once:
            try:
                return (await self._builders.carry_out(self._order(probe))).run
            except SetupError as error:
                log.warning("variation not tried", variation=probe.variation.name, error=str(error))
                return error

    def _scene(self, case: _Case) -> Scene | None:
        """Two ways to build the target that differ, for the place to be looked for between them."""
        decided = cause.deciding(case.findings, case.stage)
        if decided is None:
            return None
        (usual,) = self._probes(PROCESS, [case.target])
        if decided == RACE:
            guilty = next(
                name for name in self._challengers if any(map(case.differs, self._runs[name].of(case.target)))
            )
            specs = list(self._specs.values())
            manner = Manner(zygote=self._runs[guilty].zygote)
            other = Order.of(specs, parse(guilty), self._challengers.index(guilty), manner)
        else:
            other = self._order(self._probes(ALL[decided], [case.target])[0])
        differing, finding, unchanged = (
            case.differing[decided], case.findings[decided], case.findings.get(PROCESS.name)
        )  # fmt: skip
        return Scene(
            case.target,
            # What differs first shows the place, though it may be tolerated.
            cause.first_difference(case.reference, differing, case.stage) or case.stage,
            self._order(usual),
            other,
            case.reference,
            differing,
            # Where nothing needs to change for a flip, builds that flipped say nothing of a pair of new ones.
            Tally(finding.builds, finding.differs) if unchanged and not unchanged.differs else Tally(),
        )


def _concern(judgement: Judgement) -> tuple[str, tuple[str, ...]]:
    """The stage whose difference is to be explained, and those before it that differ as they may."""
    stage = (judgement.cause or {}).get("stage") or judgement.first_stage or STAGES[-1]
    return stage, tuple(one for one in judgement.differing if STAGES.index(one) < STAGES.index(stage))


def _wanting(cases: Sequence[_Case]) -> list[Variation]:
    """What is worth repeating: what decides and what it is held against; all of them where chance is at play,
    or may have hidden the one that decides.
    """
    names: dict[str, None] = {}
    for case in cases:
        decided = cause.deciding(case.findings, case.stage)
        unchanged = case.findings.get(PROCESS.name)
        sure = decided in ALL and unchanged is not None and not unchanged.differs
        chosen = [PROCESS.name, decided] if sure else [one.name for one in BETWEEN]
        most = _MOST_BUILDS if cause.is_settled(case.findings, case.stage) else _MOST_UNSETTLED
        if (
            decided == HASH_SEED.name
        ):  # which comes with another memory layout, and that may need luck to show
            chosen.append(LAYOUT.name)
        names |= dict.fromkeys(
            name
            for name in chosen
            if name is not None
            and (known := case.findings.get(name))
            and not known.untried
            and known.builds < most
        )
    return [ALL[name] for name in names]
