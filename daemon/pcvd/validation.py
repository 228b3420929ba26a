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
    doubted,
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
        self._settings, self._store, self._files = means.settings, means.store, means.files
        self._premises, self._alone = means.premises, alone
        self._traced = traced(means.settings.schedules)
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
            finished = await self._conclude(record, outcome, provisional, whole=order.whole, cosmetic=True)
            # Of whom it could not judge, a verdict stands: not to be replaced by the reason for having none.
            return replace(finished, explanations=counted, changed=())
        record = await self._succeed(record)
        return await self._conclude(record, outcome, provisional, whole=order.whole)

    async def _judge(self, order: events.Validate, cohort: Sequence[TargetSpec]) -> Outcome:
        if order.whole:
            rounds = Rounds(*self._surroundings, soak=order.soak, alone=self._alone)
            return await rounds.hold(cohort, order.why, self._premises)
        known = {
            entry: one.judgement
            for entry, one in (await self._records(cohort)).items()
            if order.aside or is_covered(one.judgement, self._traced)
        }
        return await Glance(*self._surroundings).hold(cohort, order.why, self._premises, known)

    async def retrace(self, cohort: Sequence[TargetSpec]) -> Finished:
        """See whether the verdicts of `cohort` stand under the schedules that the first tier left out. Raises
        SetupError where no worker can be had, StoreError.
        """
        before = await self._records(cohort)
        found = await Retracing(*self._surroundings).hold(
            cohort,
            {entry: record.judgement for entry, record in before.items()},
            await self._store.reads([spec.entry for spec in cohort]),
            source_key(self._premises),
            self._traced,
        )
        # It may have taken long, and a target have been judged or confirmed anew beside it.
        after = await self._records(cohort)
        same = {entry for entry, record in after.items() if _is(record, before.get(entry))}
        kept = await self._confirm(_among(same, found.confirmed.reads), self._settings.schedules)
        otherwise = {
            entry: (doubted(after[entry].judgement, source_key(reads)), reads)
            for entry, reads in _among(same, found.otherwise).items()
        }
        if otherwise:
            log.info("another program", targets=sorted(otherwise))
            await self._store.confirm(otherwise)
        ended = events.Ended(
            changed=tuple(same.intersection(found.confirmed.moved)),
            confirmed=_told(kept),
            doubted=tuple(same.intersection((*otherwise, *found.failed))),
        )
        standing = tuple(judgement for judgement, _ in (*kept.values(), *otherwise.values()))
        return Finished((ended,), {"workers": (), "store": ()}, confirmed=standing)

    async def _records(self, cohort: Sequence[TargetSpec]) -> dict[str, VerdictRecord]:
        """The verdicts that stand."""
        standing = {spec.entry: await self._store.latest(spec.entry) for spec in cohort}
        return {entry: one for entry, one in standing.items() if one is not None}

    async def _conclude(
        self,
        record: RoundRecord,
        outcome: Outcome | None = None,
        provisional: frozenset[str] = frozenset(),
        *,
        whole: bool,
        cosmetic: bool = False,
    ) -> Finished:
        """Record a round, where it judged anything, and tell of it. `cosmetic`: only comments were edited, so
        that what was confirmed need not be traced under every schedule.
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
        found = outcome.confirmation if outcome is not None else Confirmation()
        if cosmetic:
            kept = await self._confirm_same_code(found.reads)
        else:
            kept = await self._confirm(found.reads, self._traced)
        ended = events.Ended(
            judged,
            outcome.again if outcome is not None else (),
            (*(one.target for one in changed), *found.moved),
            round=number,
            confirmed=_told(kept),
        )
        standing = tuple(judgement for judgement, _ in kept.values())
        return Finished((ended,), {"workers": (), "store": ()}, record, changed, standing)

    async def _confirm_same_code(self, found: Mapping[str, tuple[Read, ...]]) -> _Kept:
        """Write down that verdicts stand over the same code with other comments. What only other schedules
        have read goes on to count; where that was edited as well, it is to be traced under them anew.
        """
        merged, incomplete = {}, {}
        held = await self._store.reads(found)
        for entry, reads in found.items():
            known = {(read.kind, read.name) for read in reads}
            more = [read for read in held.get(entry, ()) if (read.kind, read.name) not in known]
            now = await self._files.digests(read.name for read in more if read.kind == "file")
            if all(read.kind != "file" or now[read.name] == read.digest for read in more):
                merged[entry] = (*reads, *more)
            else:
                incomplete[entry] = reads
        return {**await self._confirm(merged, None), **await self._confirm(incomplete, self._traced)}

    async def _confirm(self, found: Mapping[str, tuple[Read, ...]], seen: Collection[str] | None) -> _Kept:
        """Write down that verdicts stand over other sources, which were traced under the schedules `seen`
        (None: they need not be).
        """
        kept = {}
        for entry, reads in found.items():
            record = await self._store.latest(entry)
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
            last = await self._store.latest(judgement.target)
            earlier = last.judgement if last is not None else None
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
            last = await self._store.latest(found.target)
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


def _is(record: VerdictRecord, before: VerdictRecord | None) -> bool:
    """Whether a verdict is the one that stood before, over the same sources."""
    return (
        before is not None
        and record.round == before.round
        and (record.judgement.evidence.get("source_key") == before.judgement.evidence.get("source_key"))
    )


def _among(entries: Collection[str], found: Mapping[str, tuple[Read, ...]]) -> dict[str, tuple[Read, ...]]:
    return {entry: reads for entry, reads in found.items() if entry in entries}


def _told(kept: _Kept) -> tuple[events.Confirmed, ...]:
    return tuple(
        events.Confirmed(entry, _files_of(reads), partial="untraced" in judgement.evidence)
        for entry, (judgement, reads) in kept.items()
    )


def _files_of(reads: Sequence[Read]) -> dict[str, str | None]:
    return {read.name: read.digest for read in reads if read.kind == "file"}
