"""The first tier: which builds a verdict right after a save rests on. Real builds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pcvd.clock import utc_now
from pcvd.core.model import TargetSpec
from pcvd.glance import Glance

SCHEDULES = ("serial", "threads:2", "threads:4", "processes:2")
MODEL = """
    import threading
    import jax.numpy as jnp

    def one(x):
        return jnp.tanh(jnp.cumsum(x) * {factor}) @ jnp.ones((64, 8))

    def other(x):
        return jnp.sin(jnp.cumsum(x) * {factor}) @ jnp.ones((64, 8))
"""
BY_THREAD = "{factor} if threading.current_thread() is threading.main_thread() else 5"
ONE, OTHER = (TargetSpec(f"glanced.py:{name}", ("f32[64]",)) for name in ("one", "other"))


class Counting:
    """A pool that remembers what came of its orders."""

    def __init__(self, pool):
        self.pool, self.carried = pool, []

    async def carry_out(self, order):
        carried = await self.pool.carry_out(order)
        self.carried.append(carried)
        return carried

    async def measure(self, pairs, *, rtol=0.0):
        return await self.pool.measure(pairs, rtol=rtol)

    @property
    def builds(self):
        return [build for one in self.carried for build in one.run.builds]


@pytest.fixture(scope="module")
def glance(workshop):
    """Glance at targets after an edit, with these verdicts standing: the outcome, and what was built."""

    def hold(*cohort, standing=(), factor="3", schedules=SCHEDULES, **settings):
        workshop.write("glanced.py", MODEL.format(factor=factor))
        pool = Counting(workshop.pool)
        changed = replace(workshop.settings, schedules=schedules, **settings)
        held = Glance(pool, changed, workshop.files, workshop.blobs, utc_now)
        known = {one.target: one for one in standing}
        return workshop.call(held.hold(cohort, "saved", (), known)), pool

    return hold


@pytest.fixture(scope="module")
def agreed(workshop):
    """The verdicts of a whole round before the edit."""
    workshop.write("glanced.py", MODEL.format(factor="2"))
    return workshop.hold(ONE, schedules=SCHEDULES).record.judgements


def schedules(outcome):
    """The schedules that were held against each other, all of which agree."""
    assert {one.verdict for one in outcome.record.judgements} == {"agree"}
    return [run.schedule for run in outcome.record.runs]


def test_who_agrees_is_compiled_once_more_beside_the_reference(glance, agreed):
    outcome, pool = glance(ONE, standing=agreed)
    assert schedules(outcome) == ["serial", "processes:2"]
    serial, pair = outcome.record.runs
    (reference,), (same, other) = serial.builds, pair.builds
    assert len(pool.builds) == 2
    assert (same.worker, same.copy, same.thread) == (reference.worker, 0, "main")
    assert (other.copy, other.worker == reference.worker) == (1, False)
    assert other.thread.startswith("pcv-build")  # what depends on the thread shows
    assert pair.peak_compiling == pair.compiling_beside(ONE.entry) == 2
    assert serial.peak_in_flight == 1
    assert pair.hash_seed != serial.hash_seed
    assert pair.order == (ONE.entry, ONE.entry)
    assert len(pair.environments) == 2
    reads = {read.name for read in outcome.record.reads[ONE.entry]}
    assert any(name.endswith("/glanced.py") for name in reads)


def test_nothing_is_compiled_of_a_program_that_stands(glance, agreed):
    outcome, pool = glance(ONE, standing=agreed, factor="(4 - 2)")
    assert pool.builds == []
    assert list(outcome.confirmation.reads) == [ONE.entry]
    assert outcome.record.judgements == ()


def test_what_threads_trace_otherwise_does_not_pass_for_standing(glance, agreed):
    """On the main thread, it is the very program that the verdict stands on."""
    outcome, _ = glance(ONE, standing=agreed, factor=f"({BY_THREAD.format(factor=2)})")
    assert outcome.confirmation.reads == {}
    (judgement,) = outcome.record.judgements
    assert (judgement.verdict, judgement.first_stage) == ("diverged", "jaxpr")
    assert [run.schedule for run in outcome.record.runs] == ["serial", "threads:2", "control"]


@pytest.mark.parametrize(
    "standing",
    [
        lambda agreed: (),
        lambda agreed: [replace(one, verdict="equivalent") for one in agreed],
        lambda agreed: [
            replace(one, evidence=one.evidence | {"schedules": {"serial": {}, "processes:2": {}}})
            for one in agreed
        ],
    ],
    ids=["new", "differed", "agrees so far"],
)
def test_who_has_not_agreed_under_every_schedule_is_held_against_threads(glance, agreed, standing):
    outcome, pool = glance(ONE, standing=standing(agreed))
    assert schedules(outcome) == ["serial", "threads:2"]
    assert len(pool.builds) == 3


@pytest.mark.parametrize(
    ("options", "challenger", "builds"),
    [
        ({"schedules": ("serial", "threads:4")}, "threads:4", 5),
        ({"schedules": ("serial", "processes:2")}, "processes:2", 3),
        ({"partition": "auto"}, "threads:2", 3),
    ],
    ids=["not configured", "no threads", "in kernels"],
)
def test_two_processes_make_a_pair_only_where_both_are_otherwise_tried(
    glance, agreed, options, challenger, builds
):
    outcome, pool = glance(ONE, standing=agreed, **options)
    assert schedules(outcome) == ["serial", challenger]
    assert len(pool.builds) == builds


def test_several_targets_overlap_each_other(glance, agreed):
    outcome, pool = glance(ONE, OTHER, standing=agreed)
    assert schedules(outcome) == ["serial", "threads:2"]
    assert len(pool.builds) == 4
