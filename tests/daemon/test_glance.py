"""The first tier: which builds a verdict right after a save rests on. Real builds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pcvd.clock import utc_now
from pcvd.core.model import TargetSpec
from pcvd.glance import Glance

FIVE = ("serial", "threads:2", "threads:4", "processes:2")
MODEL = """
    import jax.numpy as jnp

    def one(x):
        return jnp.tanh(jnp.cumsum(x) * {factor}) @ jnp.ones((64, 8))

    def other(x):
        return jnp.sin(jnp.cumsum(x) * {factor}) @ jnp.ones((64, 8))
"""
ONE, OTHER = (TargetSpec(f"glanced.py:{name}", ("f32[64]",)) for name in ("one", "other"))


class Counting:
    """A pool that tells what it was asked for."""

    def __init__(self, pool):
        self.pool, self.carried = pool, []

    async def carry_out(self, order):
        carried = await self.pool.carry_out(order)
        self.carried.append(carried)
        return carried

    async def measure(self, pairs, *, rtol=0.0):
        return await self.pool.measure(pairs, rtol=rtol)


@pytest.fixture(scope="module")
def glance(workshop):
    """Glance at targets after an edit, with these verdicts standing: the runs, and all builds."""

    def hold(*cohort, standing=(), **settings):
        workshop.write("glanced.py", MODEL.format(factor=3))
        pool = Counting(workshop.pool)
        changed = replace(workshop.settings, schedules=FIVE, **settings)
        held = Glance(pool, changed, workshop.files, workshop.blobs, utc_now)
        outcome = workshop.call(held.hold(cohort, "saved", (), {one.target: one for one in standing}))
        assert [one.verdict for one in outcome.record.judgements] == ["agree"] * len(cohort)
        return outcome.record.runs, [build for one in pool.carried for build in one.run.builds]

    return hold


@pytest.fixture(scope="module")
def agreed(workshop):
    """The verdicts of a whole round before the edit."""
    workshop.write("glanced.py", MODEL.format(factor=2))
    return workshop.hold(ONE, OTHER, schedules=FIVE).record.judgements


def test_who_agreed_is_built_once_more_beside_the_reference(glance, agreed):
    (serial, pair), builds = glance(ONE, standing=agreed)
    assert (serial.schedule, pair.schedule) == ("serial", "processes:2")
    assert len({build.worker for build in builds}) == len(builds) == 2
    (reference,), both = serial.builds, pair.builds
    assert [(build.worker, build.copy) for build in both] == [
        (reference.worker, 0), (next(build.worker for build in builds if build.worker != reference.worker), 1)
    ]  # fmt: skip
    assert pair.peak_compiling == pair.compiling_beside(ONE.entry) == 2
    assert serial.peak_in_flight == 1
    assert pair.zygote != serial.zygote
    assert pair.hash_seed != serial.hash_seed
    assert pair.order == (ONE.entry, ONE.entry)


def test_whom_nothing_is_known_of_is_held_against_threads(glance):
    (_, challenger), builds = glance(ONE)
    assert challenger.schedule == "threads:2"
    assert len(builds) == 3


def test_who_has_differed_is_held_against_threads(glance, agreed):
    differed = [replace(one, verdict="equivalent") for one in agreed]
    assert [run.schedule for run in glance(ONE, standing=differed)[0]] == ["serial", "threads:2"]


def test_a_verdict_that_no_two_processes_gave_is_followed_by_the_same_schedule(glance, agreed):
    """What it stands on is compared schedule by schedule: another one would tell nothing of it."""
    fewer = [
        replace(one, evidence=one.evidence | {"schedules": {"serial": {}, "threads:2": {}}}) for one in agreed
    ]
    assert [run.schedule for run in glance(ONE, standing=fewer)[0]] == ["serial", "threads:2"]


def test_several_targets_overlap_each_other(glance, agreed):
    (_, challenger), builds = glance(ONE, OTHER, standing=agreed)
    assert challenger.schedule == "threads:2"
    assert len(builds) == 4


def test_what_is_not_configured_is_not_built(glance, agreed, monkeypatch):
    monkeypatch.setattr(f"{__name__}.FIVE", ("serial", "threads:4"))
    (_, challenger), _ = glance(ONE, standing=agreed)
    assert challenger.schedule == "threads:4"


def test_with_only_two_processes_configured_the_pair_is_enough(glance, monkeypatch):
    monkeypatch.setattr(f"{__name__}.FIVE", ("serial", "processes:2"))
    (_, challenger), builds = glance(ONE)
    assert challenger.schedule == "processes:2"
    assert len(builds) == 2
