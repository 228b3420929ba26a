"""Retracing: whether confirmed verdicts stand under the schedules that a first tier leaves out. Real
workers.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pcvd.clock import utc_now
from pcvd.core.model import Read, TargetSpec, source_key
from pcvd.glance import traced
from pcvd.retrace import Retracing

SCHEDULES = ("serial", "threads:2", "threads:4", "processes:2")
MODEL = """
    import threading
    import time

    inside, lock = 0, threading.Lock()

    def crowd():
        "How many trace it at this time."
        global inside
        with lock:
            inside += 1
        time.sleep(0.5)
        seen = inside
        time.sleep(0.5)
        with lock:
            inside -= 1
        return seen

    def one(x):
        return x * {factor}

    def other(x):
        return x + 1
"""
ONE, OTHER = (TargetSpec(f"retraced.py:{name}", ("f32[4]",)) for name in ("one", "other"))


@pytest.fixture(scope="module")
def judgements(workshop):
    workshop.write("retraced.py", MODEL.format(factor=2))
    record = workshop.hold(ONE, OTHER, schedules=SCHEDULES).record
    assert [one.verdict for one in record.judgements] == ["agree", "agree"]
    return {one.target: one for one in record.judgements}


@pytest.fixture
def retrace(workshop, judgements):
    """Trace both targets again after an edit: the confirmation, and who is doubted."""

    changed = replace(workshop.settings, schedules=SCHEDULES)
    retracing = Retracing(workshop.pool, changed, workshop.files, workshop.blobs, utc_now)

    def hold(factor, *more, standing=judgements):
        path = str(workshop.write("retraced.py", MODEL.format(factor=factor)))
        digests = workshop.call(workshop.files.digests([path]))
        reads = {entry: [Read("file", path, digests[path]), *more] for entry in judgements}
        held = retracing.hold((ONE, OTHER), standing, reads, source_key(()), but=traced(SCHEDULES))
        return workshop.call(held)

    return hold


def test_programs_that_every_schedule_makes_are_confirmed(retrace):
    found, doubted = retrace("(1 + 1)")
    assert set(found.reads) == {ONE.entry, OTHER.entry}
    assert doubted == found.moved == ()


def test_only_who_is_another_program_under_some_schedule_is_doubted(retrace):
    """Of two builds at a time, as in the first tier, one is of the other target."""
    found, doubted = retrace("(2 if crowd() < 2 else 5)")
    assert doubted == (ONE.entry,)
    assert set(found.reads) == {OTHER.entry}


def test_who_cannot_be_traced_is_doubted(retrace):
    found, doubted = retrace("(2 if crowd() < 2 else [][0])")
    assert doubted == (ONE.entry,)
    assert set(found.reads) == {OTHER.entry}


def test_who_has_no_verdict_is_doubted(retrace, judgements):
    _, doubted = retrace("2", standing={OTHER.entry: judgements[OTHER.entry]})
    assert doubted == (ONE.entry,)


def test_what_is_read_under_another_schedule_counts_from_now_on(retrace, workshop):
    data = str(workshop.write("retraced.txt", "1"))
    known = Read("version", "jax", "9")
    found, doubted = retrace(f"(2 if crowd() < 2 else int(open({data!r}).read()) + 1)", known)
    assert doubted == ()
    names = {(read.kind, read.name) for read in found.reads[ONE.entry]}
    assert names >= {("file", data), ("version", "jax"), ("file", str(workshop.path("retraced.py")))}


@pytest.mark.parametrize("digest", ["0" * 64, None], ids=["edited", "created"])
def test_what_changed_since_it_was_confirmed_is_not_confirmed_again(retrace, workshop, digest):
    data = Read("file", str(workshop.write("retraced.txt", "2")), digest)
    found, doubted = retrace("2", data)
    assert set(found.moved) == {ONE.entry, OTHER.entry}
    assert found.reads == {}
    assert doubted == ()
