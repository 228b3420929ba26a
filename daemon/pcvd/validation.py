"""Validation: a round over a cohort, what became of verdicts that stood, and what is recorded of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from pcvd.clock import utc_now
from pcvd.core import events
from pcvd.core.model import source_key
from pcvd.core.programs import is_covered
from pcvd.core.succession import (
    accumulate,
    confirmed,
    inherit,
    is_partial,
    puzzling,
    settle,
    soaked,
    strengthened,
)
from pcvd.finished import Explanation, Finished
from pcvd.glance import Glance, traced
from pcvd.jury import Confirmation
from pcvd.retrace import Retracing
from pcvd.round import Rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pcvd.core.model import Judgement, Read, TargetSpec
    from pcvd.jury import Outcome
    from pcvd.means import Means
    from pcvd.store import RoundRecord, VerdictRecord

    _Kept = Mapping[str, tuple[Judgement, tuple[Read, ...]]]
    """Verdicts that stand, and what they rest on now."""

log = structlog.get_logger()


class Validation:
    """Carries out one order to validate."""

    def __init__(self, means: Means, *, alone: Callable[[], bool]) -> None:
        """`alone`: whether nothing else was built meanwhile, so that times can be compared."""
        self._settings, self._store = means.settings, means.store
        self._premises, self._alone = means.premises, alone
        self._surroundings = (means.builders, means.settings, means.files, means.blobs, utc_now)

    async def hold(self, order: events.Validate, cohort: Sequence[TargetSpec]) -> Finished:
        """Judge `cohort`. Raises SetupError where no worker can be had, StoreError."""
        outcome = await self._judge(order, cohort)
        owed = dict(order.owed)
        settled = [(one, settle(one, owed.get(one.target, ()))) for one in outcome.record.judgements]
        provisional = frozenset(after.target for before, after in settled if after is not before)
        record = replace(outcome.record, judgements=tuple(after for _, after in settled))
        if order.soak is not None:
            record, counted = await self._weighed(record, soaked)
            return replace(await self._conclude(record, whole=True), explanations=counted)
        if order.aside:
            record, counted = await self._weighed(record, strengthened)
            finished = await self._conclude(record, outcome, provisional, whole=order.whole)
            # Of whom it could not judge, a verdict stands: not to be replaced by the reason for having none.
            return replace(finished, explanations=counted, changed=())
        seen = None if order.whole else traced(self._settings.schedules)
        return await self._conclude(
            await self._succeed(record), outcome, provisional, whole=order.whole, seen=seen
        )

    async def _judge(self, order: events.Validate, cohort: Sequence[TargetSpec]) -> Outcome:
        if order.whole:
            rounds = Rounds(*self._surroundings, soak=order.soak, alone=self._alone)
            return await rounds.hold(cohort, order.why, self._premises)
        glance, seen = Glance(*self._surroundings), traced(self._settings.schedules)
        known = {
            entry: one
            for entry, one in (await self._judgements(cohort)).items()
            if order.aside or is_covered(one, seen)
        }
        return await glance.hold(cohort, order.why, self._premises, known)

    async def retrace(self, cohort: Sequence[TargetSpec]) -> Finished:
        """See whether the verdicts of `cohort` stand under the schedules that the first tier left out. Raises
        SetupError where no worker can be had, StoreError.
        """
        found, doubted = await Retracing(*self._surroundings).hold(
            cohort,
            await self._judgements(cohort),
            await self._store.reads([spec.entry for spec in cohort]),
            source_key(self._premises),
            but=traced(self._settings.schedules),
        )
        kept = await self._confirm(found, self._settings.schedules)
        if doubted:
            log.info("doubted", targets=doubted)
        ended = events.Ended(changed=found.moved, confirmed=_told(kept), doubted=doubted)
        standing = tuple(judgement for judgement, _ in kept.values())
        return Finished((ended,), {"workers": (), "store": ()}, confirmed=standing)

    async def _judgements(self, cohort: Sequence[TargetSpec]) -> dict[str, Judgement]:
        """The verdicts that stand."""
        standing = {spec.entry: await self._standing(spec.entry) for spec in cohort}
        return {entry: one.judgement for entry, one in standing.items() if one is not None}

    async def _standing(self, entry: str) -> VerdictRecord | None:
        return next(iter(await self._store.verdicts(entry, 1)), None)

    async def _conclude(
        self,
        record: RoundRecord,
        outcome: Outcome | None = None,
        provisional: frozenset[str] = frozenset(),
        *,
        whole: bool,
        seen: Collection[str] | None = None,
    ) -> Finished:
        """Record a round, where it judged anything, and tell of it. `seen`: the schedules under which what
        was confirmed was traced; None where it need not be.
        """
        number = None
        if record.judgements:
            number = await self._store.record(record)
        changed = outcome.changed if outcome is not None else ()
        for judgement in (*record.judgements, *changed):
            log.info("judged", target=judgement.target, verdict=judgement.verdict, reason=judgement.reason)
        judged = tuple(
            events.Judged(
                one.target,
                one.verdict,
                _files_of(record.reads[one.target]) if one.target in record.reads else None,
                puzzling(one),
                # A whole round beside a slow order says nothing of speed, and has judged all the same.
                partial=(not whole and not record.alone)
                or is_partial(one.verdict, one.schedules, self._settings.schedules),
                provisional=one.target in provisional,
            )
            for one in record.judgements
        )
        found = outcome.kept if outcome is not None else Confirmation()
        kept = await self._confirm(found, seen)
        ended = events.Ended(
            judged,
            outcome.again if outcome is not None else (),
            (*(one.target for one in changed), *found.moved),
            round=number,
            confirmed=_told(kept),
        )
        standing = tuple(judgement for judgement, _ in kept.values())
        return Finished((ended,), {"workers": (), "store": ()}, record, changed, standing)

    async def _confirm(self, found: Confirmation, seen: Collection[str] | None) -> _Kept:
        """Write down that verdicts stand over other sources, which were traced under the schedules `seen`
        (None: they need not be).
        """
        kept = {}
        for entry, reads in found.reads.items():
            record = await self._standing(entry)
            if record is None:
                continue
            left = None if seen is None else self._left(record.judgement, seen)
            kept[entry] = confirmed(record.judgement, source_key(reads), left), reads
            log.info("confirmed", target=entry, verdict=record.judgement.verdict, untraced=left or None)
        if kept:
            await self._store.confirm(kept, utc_now())
        return kept

    def _left(self, judgement: Judgement, seen: Collection[str]) -> list[str]:
        """The schedules that a verdict rests on, and that are not among those `seen`."""
        return [one for one in self._settings.schedules if one in judgement.schedules and one not in seen]

    async def _succeed(self, record: RoundRecord) -> RoundRecord:
        """`record`, with what earlier rounds over the same sources have found out already."""
        judgements = []
        for judgement in record.judgements:
            last = await self._store.verdicts(judgement.target, 1)
            earlier = last[0].judgement if last else None
            known = inherit(judgement, earlier) if earlier else judgement
            judgements.append(accumulate(known, earlier))
        return replace(record, judgements=tuple(judgements))

    async def _weighed(
        self, record: RoundRecord, weigh: Callable[[Judgement, Judgement], Judgement | None]
    ) -> tuple[RoundRecord, tuple[Explanation, ...]]:
        """What of a round that nobody asked for is to be recorded, by what `weigh` makes of the verdict that
        stands and the one that was found; the rest only counts.
        """
        recorded, counted = [], []
        for found in record.judgements:
            last = await self._standing(found.target)
            stands = weigh(last.judgement, found) if last is not None else found
            if stands is None:
                continue
            if last is not None and stands.stages is last.judgement.stages:  # it is the one that stood
                counted.append(Explanation(last.round, (stands,)))
            else:
                recorded.append(stands)
        # Of the others the reads stay as well: what was read now may be newer than their verdict.
        reads = {one.target: record.reads[one.target] for one in recorded if one.target in record.reads}
        return replace(record, judgements=tuple(recorded), reads=reads), tuple(counted)


def _told(kept: _Kept) -> tuple[events.Confirmed, ...]:
    return tuple(
        events.Confirmed(entry, _files_of(reads), partial="untraced" in judgement.evidence)
        for entry, (judgement, reads) in kept.items()
    )


def _files_of(reads: Sequence[Read]) -> dict[str, str | None]:
    return {read.name: read.digest for read in reads if read.kind == "file"}
