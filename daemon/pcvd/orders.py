"""Carrying out the plan's orders: asking model files, validating, investigating, with whatever may go wrong
on the way turned into something to show.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import structlog

from pcvd.asking import ask
from pcvd.builders.protocol import Order
from pcvd.core import events
from pcvd.core.errors import PcvError, StoreError
from pcvd.core.model import Problem
from pcvd.core.schedule import SERIAL, is_schedule
from pcvd.core.succession import amended, varied
from pcvd.core.variation import named
from pcvd.finished import Explanation, Finished
from pcvd.investigation import Investigation
from pcvd.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcv_config.settings import Settings
    from pcvd.blobs import Blobs
    from pcvd.core.builds import Run
    from pcvd.core.model import Judgement, TargetSpec
    from pcvd.means import Means, Supply
    from pcvd.store import Store

log = structlog.get_logger()

_KEEP_ROUNDS = 3
"""Of how many rounds per target the artifacts' bytes are kept; verdicts are kept for good."""
_UNCLAIMED_S = 3600.0
"""Bytes that no recorded round names are removed when they are this old: before, another process may be
about to name them.
"""

_TIDY_EVERY = 16
"""Rounds; raw artifacts differ at every build, so a busy day would fill the disk."""


class Orders:
    """Carries out orders, one that others wait for and a few that drag on. Use under `async with`."""

    def __init__(self, supply: Supply, store: Store, blobs: Blobs) -> None:
        self._supply, self._store, self._blobs = supply, store, blobs
        self._recorded = 0
        self._under_way: dict[int, asyncio.Task[Finished]] = {}
        self._abandoned: set[int] = set()
        self._crowded: set[int] = set()
        """Orders that were carried out beside another one: their times say nothing."""

    async def __aenter__(self) -> Self:
        await self._supply.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._supply.__aexit__()

    async def carry_out(self, order: events.Work, cohort: Sequence[TargetSpec]) -> Finished:
        """The order's outcome; a PcvError becomes a problem to show, and leaves the order's targets as
        stale as they were.
        """
        began, number = time.monotonic(), order.number
        task = self._under_way[number] = asyncio.create_task(self._explained(order, cohort))
        if len(self._under_way) > 1:
            self._crowded.update(self._under_way)
        try:
            finished = await task
        except asyncio.CancelledError:
            if number not in self._abandoned:
                raise
            log.info("abandoned", order=type(order).__name__, number=number)
            finished = Finished((events.Ended(failed=True),), {})
        finally:
            del self._under_way[number]
            self._abandoned.discard(number)
            self._crowded.discard(number)
        soaking = isinstance(order, events.Validate) and order.soak is not None
        return replace(
            finished,
            events=tuple(_numbered(event, number) for event in finished.events),
            soaked_s=time.monotonic() - began if soaking else None,
        )

    def abandon(self, number: int) -> None:
        """Give up an order under way; its outcome is that it failed, unless it has just ended."""
        task = self._under_way.get(number)
        if task is not None and task.cancel():
            self._abandoned.add(number)

    async def cut(self, spec: TargetSpec, policy: str | None) -> dict[str, Any]:
        """How a target is cut into kernels, by the settings' policy unless another one is named.

        Raises PcvError where that can't be told.
        """
        means = await self._supply.means()
        usual = means.settings.partition if means.settings.partition != "whole" else "auto"
        return {"target": spec.entry, **await means.builders.cut(spec, policy or usual)}

    async def prepare(self) -> None:
        """Have workers waiting for what comes next."""
        await self._supply.prepare()

    def reconfigure(self, settings: Settings) -> None:
        """Work under other settings from the next order on."""
        self._supply.reconfigure(settings)

    async def rest(self) -> None:
        """Give back waiting workers, and bytes that nothing refers to any more."""
        await self._supply.rest()
        await self.tidy()

    async def tidy(self) -> None:
        """Remove what only old rounds refer to, and bytes that none does."""
        try:
            await self._store.prune(_KEEP_ROUNDS)
            referenced = await self._store.referenced(_KEEP_ROUNDS)
            removed = await asyncio.to_thread(self._blobs.sweep, referenced, _UNCLAIMED_S)
        except (PcvError, OSError) as error:
            log.warning("not tidied", error=str(error))
        else:
            log.info("tidied", removed_blobs=removed)

    async def remember(self, explanation: Explanation) -> tuple[Judgement, ...]:
        """Write down what was found out; the judgements as they are now. Raises StoreError."""
        judgements = []
        for found in explanation.judgements:
            latest = await self._store.latest(found.target)
            same = latest is not None and latest.round == explanation.round
            judgements.append(amended(latest.judgement, found) if latest is not None and same else found)
        await self._store.explain(explanation.round, judgements, explanation.runs)
        return tuple(judgements)

    async def _validate(self, means: Means, order: events.Validate, cohort: Sequence[TargetSpec]) -> Finished:
        validation = Validation(means, alone=lambda: order.number not in self._crowded)
        finished = await validation.hold(order, cohort)
        if finished.record is not None and finished.record.judgements:
            self._recorded += 1
            if self._recorded % _TIDY_EVERY == 0:
                await self.tidy()
        return finished

    async def _explained(self, order: events.Work, cohort: Sequence[TargetSpec]) -> Finished:
        try:
            if isinstance(order, events.Retrace) or (
                isinstance(order, events.Validate) and order.whole and order.aside
            ):
                # Not for this round: the next save is to find workers waiting.
                await self.prepare()
            means = await self._supply.means()
            match order:
                case events.Discover():
                    return await ask(means, order.files)
                case events.Validate():
                    return await self._validate(means, order, cohort)
                case events.Retrace():
                    return await Validation(means, alone=lambda: False).retrace(cohort)
                case events.Investigate():
                    return await _investigate(means, order, cohort)
        except PcvError as error:
            log.warning("order failed", order=type(order).__name__, error=str(error))
            about = "store" if isinstance(error, StoreError) else "workers"
            problem = Problem.of(error)
            return Finished((events.Ended(failed=True),), {about: (problem,)})
        except OSError as error:
            log.warning("order failed", order=type(order).__name__, error=str(error))
            return Finished((events.Ended(failed=True),), {"workers": (Problem(str(error)),)})
        except Exception as error:
            # A fault of pcv's own must not take the daemon down with it, nor pass for a verdict.
            log.exception("order failed", order=type(order).__name__)
            problem = Problem(
                f"a fault inside pcv: {type(error).__name__}: {error}",
                hint="please report it with pcvctl logs",
            )
            return Finished((events.Ended(failed=True),), {"workers": (problem,)})


async def _investigate(means: Means, order: events.Investigate, cohort: Sequence[TargetSpec]) -> Finished:
    """What the differences come from that a round found, or what variations change in its targets;
    nothing, where a later round has judged since.
    """
    latest = [one for entry in order.entries for one in await means.store.verdicts(entry, 1)]
    number = max((one.round for one in latest), default=0) if order.round is None else order.round
    judgements = [one.judgement for one in latest if one.round == number]
    runs = [run for run in await means.store.runs(number) if is_schedule(run.schedule)]
    if order.variations and not _stands(runs, cohort):
        runs = [(await means.builders.carry_out(Order.of(cohort, SERIAL, 0))).run]
    built = [one for one in judgements if runs and _made(runs[0], one.target)]
    if not built:
        return Finished((events.Ended(),), {})
    investigation = Investigation(means.builders, means.blobs, means.settings.root, cohort, runs)
    if order.variations:
        found = await investigation.vary([one.target for one in built], named(order.variations))
        told = [varied(one, found.causes[one.target]) for one in built]
    else:
        found = await investigation.explain(built)
        told = [replace(one, cause=found.causes[one.target]) for one in built]
    return Finished((events.Ended(),), {}, explanations=(Explanation(number, tuple(told), found.runs),))


def _stands(runs: Sequence[Run], cohort: Sequence[TargetSpec]) -> bool:
    """Whether the reference of a round is still recorded, over just this cohort: what it is held against is
    then told of the same builds that the verdict is told of.
    """
    return bool(runs) and set(runs[0].order) == {spec.entry for spec in cohort} and bool(runs[0].builds)


def _made(run: Run, target: str) -> bool:
    return any(build.failure is None for build in run.of(target))


def _numbered(event: events.Event, number: int) -> events.Event:
    return replace(event, order=number) if isinstance(event, events.Declared | events.Ended) else event
