"""Retracing: whether confirmed verdicts stand under the schedules that a first tier leaves out. Real
workers.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from crowds import CROWD

from pcvd.clock import utc_now
from pcvd.core.model import Read, TargetSpec, source_key
from pcvd.glance import traced
from pcvd.retrace import Retracing

SCHEDULES = ("serial", "threads:2", "threads:4", "processes:2")
MODEL = (
    CROWD
    + """
def one(x):
    return x * {factor}

def other(x):
    return x + 1
"""
)
ONE, OTHER = (TargetSpec(f"retraced.py:{name}", ("f32[4]",)) for name in ("one", "other"))


@pytest.fixture(scope="module")
def judgements(workshop):
    workshop.write("retraced.py", MODEL.format(factor=2))
    record = workshop.hold(ONE, OTHER, schedules=SCHEDULES).record
    assert [one.verdict for one in record.judgements] == ["agree", "agree"]
    return {one.target: one for one in record.judgements}


class Listening:
    """A pool that remembers its orders."""

    def __init__(self, pool):
        self.pool, self.orders = pool, []

    async def carry_out(self, order):
        self.orders.append(order)
        return await self.pool.carry_out(order)


@pytest.fixture
def pool(workshop):
    return Listening(workshop.pool)


@pytest.fixture
def retrace(workshop, judgements, pool):
    """Trace both targets again after an edit."""

    changed = replace(workshop.settings, schedules=SCHEDULES)
    retracing = Retracing(pool, changed, workshop.files, workshop.blobs, utc_now)

    def hold(factor, *more, standing=judgements):
        path = str(workshop.write("retraced.py", MODEL.format(factor=factor)))
        digests = workshop.call(workshop.files.digests([path]))
        reads = {entry: [Read("file", path, digests[path]), *more] for entry in judgements}
        held = retracing.hold((ONE, OTHER), standing, reads, source_key(()), traced(SCHEDULES))
        return workshop.call(held)

    return hold


def test_each_schedule_submits_its_builds_as_in_a_whole_round(retrace, pool):
    retrace("2")
    assert [(order.name, order.challenger) for order in pool.orders] == [("threads:4", 1), ("processes:2", 2)]


def test_programs_that_every_schedule_makes_are_confirmed(retrace):
    found = retrace("(1 + 1)")
    assert set(found.confirmed.reads) == {ONE.entry, OTHER.entry}
    assert (found.confirmed.moved, found.otherwise, found.failed) == ((), {}, ())


def test_only_who_is_another_program_under_some_schedule_is_doubted(retrace):
    """Of two builds at a time, as in the first tier, one is of the other target."""
    found = retrace("(2 if crowd() < 2 else 5)")
    assert set(found.otherwise) == {ONE.entry}
    assert set(found.confirmed.reads) == {OTHER.entry}
    assert found.failed == ()


def test_who_cannot_be_traced_is_doubted(retrace):
    found = retrace("(2 if crowd() < 2 else [][0])")
    assert found.failed == (ONE.entry,)
    assert set(found.confirmed.reads) == {OTHER.entry}
    assert found.otherwise == {}


def test_who_has_no_verdict_is_doubted(retrace, judgements):
    found = retrace("2", standing={OTHER.entry: judgements[OTHER.entry]})
    assert found.failed == (ONE.entry,)


def test_what_is_read_under_another_schedule_counts_from_now_on(retrace, workshop):
    data = str(workshop.write("retraced.txt", "1"))
    known = Read("version", "jax", "9")
    found = retrace(f"(2 if crowd() < 2 else int(open({data!r}).read()) + 1)", known)
    names = {(read.kind, read.name) for read in found.confirmed.reads[ONE.entry]}
    assert names >= {("file", data), ("version", "jax"), ("file", str(workshop.path("retraced.py")))}


@pytest.mark.parametrize("digest", ["0" * 64, None], ids=["edited", "created"])
def test_what_changed_since_it_was_confirmed_is_not_confirmed_again(retrace, workshop, digest):
    data = Read("file", str(workshop.write("retraced.txt", "2")), digest)
    found = retrace("2", data)
    assert set(found.confirmed.moved) == {ONE.entry, OTHER.entry}
    assert found.confirmed.reads == {}
    assert (found.otherwise, found.failed) == ({}, ())
