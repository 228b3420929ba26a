"""Rounds whose builds miss each other: who was built alone is built again, and only who never had company is
no evidence.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from pcv_config.settings import Settings
from pcvd.core.model import TargetSpec
from pcvd.files import Files
from pcvd.round import Rounds

COHORT = [TargetSpec(f"{name}.py:f") for name in "abc"]


class Apart:
    """Builders in whose concurrent runs `alone(attempt)` names who is built when all others are done."""

    def __init__(self, builders, alone):
        self.builders, self.alone, self.attempts = builders, alone, []

    async def carry_out(self, order):
        carried = await self.builders.carry_out(order)
        if order.schedule.serial:
            return carried
        lonely = self.alone(len(self.attempts))
        self.attempts.append([order.cohort[slot.target].entry for slot in order.slots])
        # Tries come one after the other, as they do.
        start = 1000 * len(self.attempts)
        builds = tuple(
            replace(
                build,
                began_ns=(begin := start + (100 + 20 * place) * (build.target in lonely)),
                compiling_ns=begin + 2,
                ended_ns=begin + 10,
            )
            for place, build in enumerate(carried.run.builds)
        )
        return replace(carried, run=replace(carried.run, builds=builds))

    async def measure(self, pairs, **_):
        return [None] * len(pairs)


@pytest.fixture
def held(fake, tmp_path):
    """A round under two threads in which some are alone: what came of it, and what was built at each try."""

    def hold(alone, makes=lambda *_: {}, **changes):
        builders = fake(makes)
        apart = Apart(builders, alone)
        settings = replace(Settings(str(tmp_path), "pcv.toml", schedules=("serial", "threads:2")), **changes)
        rounds = Rounds(apart, settings, Files(), builders.blobs, lambda: "now")
        outcome = asyncio.run(rounds.hold(COHORT, "asked for", ()))
        return outcome.record, apart.attempts

    return hold


def verdicts(record):
    return {one.target: one.verdict for one in record.judgements}


def test_whoever_has_company_is_built_once(held):
    record, attempts = held(lambda _: ())
    assert set(verdicts(record).values()) == {"agree"}
    assert attempts == [["c.py:f", "a.py:f", "b.py:f", "c.py:f"]]


def test_who_was_alone_is_built_again_and_nobody_else(held):
    record, attempts = held(lambda attempt: {"b.py:f"} if attempt == 0 else ())
    assert set(verdicts(record).values()) == {"agree"}
    assert attempts[1:] == [["b.py:f", "b.py:f"]]
    (_, threads) = record.runs
    assert [(build.target, build.copy) for build in threads.of("b.py:f")] == [
        ("b.py:f", copy) for copy in range(3)
    ]
    for one in record.judgements:
        assert one.evidence["schedules"]["threads:2"]["own_compiling"] >= 2


def test_who_never_has_company_is_no_evidence_and_the_others_are(held):
    record, attempts = held(lambda _: {"b.py:f"})
    assert verdicts(record) == {"a.py:f": "agree", "b.py:f": "inconclusive", "c.py:f": "agree"}
    assert len(attempts) == 5
    (found,) = [one for one in record.judgements if one.verdict == "inconclusive"]
    assert found.reason == "threads:2 never really overlapped: it was compiled when nothing else was"


def test_a_difference_that_shows_at_the_first_try_is_not_lost_by_the_second(held):
    def makes(order, place):
        concurrent = order.schedule.overlap > 1
        first = concurrent and len(order.slots) == 4
        return {"hlo": "other"} if first and order.slots[place].target == 1 else {}

    record, attempts = held(lambda attempt: {"b.py:f"} if attempt == 0 else (), makes)
    assert verdicts(record)["b.py:f"] == "diverged"
    assert len(attempts) == 2


def test_what_nobody_could_measure_raises_no_alarm(held):
    def makes(order, place):
        other = order.schedule.overlap > 1 and order.slots[place].target == 1
        return {"output": "other" if other else "usual"}

    everything = ("jaxpr", "stablehlo", "hlo", "llvm", "object", "executable", "output")
    record, _ = held(lambda _: (), makes, tolerate=everything)
    assert verdicts(record) == {"a.py:f": "agree", "b.py:f": "inconclusive", "c.py:f": "agree"}
    record, _ = held(lambda _: (), makes)
    assert verdicts(record)["b.py:f"] == "diverged"
