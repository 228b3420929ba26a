"""The jury: from what builds have left to verdicts. Files are held against what was read, artifacts are read
back, outputs that differ are measured; then every target is judged.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from pcvd import kept
from pcvd.builders.protocol import Pair
from pcvd.core import looks
from pcvd.core.builds import LINKED
from pcvd.core.compare import AGREE, DIVERGED, EQUIVALENT, UNSTABLE, differing_outputs, judge
from pcvd.core.evidence import Facts
from pcvd.core.model import OutputDelta, source_key
from pcvd.core.partition import leaves
from pcvd.core.programs import digest_of
from pcvd.resolution import resolve
from pcvd.store import RoundRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pcv_config.settings import Settings
    from pcvd.blobs import Blobs
    from pcvd.builders.protocol import Builders, Carried
    from pcvd.core.builds import Run
    from pcvd.core.model import Judgement, Read, TargetSpec
    from pcvd.files import Files

log = structlog.get_logger()

_ROUNDING = 1e-5
"""How far, relatively, what is computed in another order may be from what it was. A stricter tolerance says
nothing of two programs that are not meant to be the same.
"""


@dataclass(slots=True)
class Gathered:
    """What a round has brought together so far."""

    cohort: tuple[TargetSpec, ...]
    runs: list[Run] = field(default_factory=list)
    reads: dict[str, list[Read]] = field(default_factory=dict)
    victims: set[str] = field(default_factory=set)
    """Targets that a neighbour's failure kept from being judged."""
    kept: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Per target, compiled kernels that wait for the verdict."""
    alone: bool = True
    """Its runs were made one after another, so that their times can be compared."""

    @property
    def environment(self) -> dict[str, Any]:
        """What the reference ran in; empty where nobody told."""
        environments = self.runs[0].environments if self.runs else ()
        return environments[0] if environments else {}

    def book(self, carried: Carried) -> None:
        """Add what targets have read, and what was kept of them."""
        for entry, booked in carried.reads.items():
            self.reads.setdefault(entry, []).extend(booked)
        self.kept |= carried.kept


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Targets whose programs are those that their verdict stands on, and what these read. `moved`: others,
    whose files were edited meanwhile.
    """

    reads: Mapping[str, tuple[Read, ...]] = field(default_factory=dict)
    moved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round came to.

    `record` holds what stands. `again`: targets that fell victim to another's failure and are built once more
    without it. `changed`: targets whose files were edited meanwhile; their judgements say so and are not
    recorded. `confirmation`: of those that were not built again.
    """

    record: RoundRecord
    again: tuple[str, ...] = ()
    changed: tuple[Judgement, ...] = ()
    confirmation: Confirmation = Confirmation()


class Jury:
    """Judges what rounds have gathered."""

    def __init__(
        self, builders: Builders, settings: Settings, files: Files, blobs: Blobs, now: Callable[[], str]
    ) -> None:
        self._builders, self._settings, self._files = builders, settings, files
        self._blobs, self.now = blobs, now

    async def judge(self, gathered: Gathered, why: str, premises: Sequence[Read], started_at: str) -> Outcome:
        """The verdicts. `premises` are what builds rest on beside the files they read: versions, settings."""
        cohort = gathered.cohort
        deltas, unmeasured = await self._distances(gathered)
        digests, changed = await self._resolve(cohort, gathered.reads)
        unreadable = await asyncio.to_thread(self._unreadable, gathered.runs)
        facts = Facts(
            self._settings.tolerate, deltas, changed, unreadable, unmeasured, gathered.alone,
            self._settings.partition, await self._linked(gathered),
        )  # fmt: skip
        key, config = source_key(premises), digest_of(gathered.environment.get("config") or {})
        judgements = []
        for spec in cohort:
            if spec.entry in gathered.victims:
                continue
            found = judge(spec.entry, gathered.runs, facts)
            sources = source_key((*digests[spec.entry], *premises))
            inputs = next((build.inputs for build in gathered.runs[0].of(spec.entry)), None)
            told = {"source_key": sources, "premises": key, "inputs": inputs, "config": config}
            judgements.append(replace(found, evidence=found.evidence | told))
        judged = {one.target for one in judgements} - set(changed)
        await asyncio.to_thread(self._settle, gathered, [one for one in judgements if one.target in judged])
        return Outcome(
            record=RoundRecord(
                started_at=started_at,
                finished_at=self.now(),
                why=why,
                cohort=tuple(spec.entry for spec in cohort),
                environment=gathered.environment,
                runs=tuple(gathered.runs),
                judgements=tuple(one for one in judgements if one.target in judged),
                reads={entry: (*reads, *premises) for entry, reads in digests.items() if entry in judged},
                alone=gathered.alone,
            ),
            again=tuple(spec.entry for spec in cohort if spec.entry in gathered.victims),
            changed=tuple(one for one in judgements if one.target in changed),
        )

    async def confirm(
        self,
        specs: Sequence[TargetSpec],
        reads: Mapping[str, Sequence[Read]],
        premises: Sequence[Read] = (),
    ) -> Confirmation:
        """The verdicts of these stand, unless their files were edited meanwhile."""
        digests, changed = await self._resolve(specs, reads)
        held = {entry: (*found, *premises) for entry, found in digests.items() if entry not in changed}
        return Confirmation(held, tuple(changed))

    async def _resolve(
        self, cohort: Sequence[TargetSpec], reads: Mapping[str, Sequence[Read]]
    ) -> tuple[dict[str, tuple[Read, ...]], dict[str, list[str]]]:
        """Every target's reads with digests, and the files that are not what some build of it read."""
        own = {spec.entry: self._path(spec) for spec in cohort}
        resolved, changed = await resolve(self._files, own, reads)
        return resolved, {entry: sorted(set(map(self._relative, names))) for entry, names in changed.items()}

    async def _distances(
        self, gathered: Gathered
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

    async def _linked(self, gathered: Gathered) -> dict[str, list[OutputDelta]]:
        """Per target, how far the outputs of what its kernels are linked to are from those of the whole
        program.
        """
        pairs = [
            (spec.entry, Pair(LINKED, *found))
            for spec in gathered.cohort
            if spec.entry not in gathered.victims
            for found in leaves(spec.entry, gathered.runs[0])
        ]
        deltas: dict[str, list[OutputDelta]] = {}
        measured = await self._builders.measure([pair for _, pair in pairs], rtol=_ROUNDING)
        for (entry, _), delta in zip(pairs, measured, strict=True):
            if delta is not None:
                deltas.setdefault(entry, []).append(delta)
        return deltas

    def _settle(self, gathered: Gathered, judgements: Sequence[Judgement]) -> None:
        """Hand on compiled kernels that were found to agree."""
        found = {one.target: {one.verdict, (one.kernels or {}).get("verdict")} for one in judgements}
        agreed = {target for target, verdicts in found.items() if verdicts <= {AGREE, EQUIVALENT}}
        refuted = {target for target, verdicts in found.items() if verdicts & {DIVERGED, UNSTABLE}}
        try:
            handed = kept.settle(self._settings.root, gathered.kept, agreed, refuted)
        except OSError as error:
            log.warning("kernels not handed on", error=str(error))
        else:
            if handed:
                log.info("kernels handed on", kernels=handed)

    def _unreadable(self, runs: Sequence[Run]) -> frozenset[str]:
        """Digests that the blob store cannot give back."""
        wanted = {
            digest
            for run in runs
            for build in (*run.builds, *run.kernels)
            for artifact in build.artifacts
            for part in artifact.parts
            for digest in (part.raw, part.canonical)
        }
        return frozenset(digest for digest in wanted if not self._blobs.verify(digest))

    def _path(self, spec: TargetSpec) -> str:
        return f"{self._settings.root.rstrip('/')}/{spec.path}"

    def _relative(self, path: str) -> str:
        return looks.path_of(path).removeprefix(self._settings.root.rstrip("/") + "/")
