"""Orders carried out with the real pool, store and blobs; and what becomes of whatever goes wrong."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from pcvd.core import events
from pcvd.core.errors import SetupError
from pcvd.core.model import TargetSpec
from pcvd.files import Files
from pcvd.means import Supply
from pcvd.orders import Orders
from pcvd.premises import Premises
from pcvd.store import Store

SPEC = TargetSpec("ordered.py:model", ("f32[4]",))


@pytest.fixture
def carried(workshop, tmp_path):
    """Carry out orders on the shared pool with a store of their own: what came of each, and the standings."""
    workshop.write("ordered.py", "def model(x):\n    return x + 11\n")

    def run(*orders, opening=None, meanwhile=None):
        @contextlib.asynccontextmanager
        async def open_builders(_settings):
            yield workshop.pool

        async def work():
            async with Store.open(str(tmp_path / "pcv.sqlite")) as store:
                await store.declare([SPEC])
                files = Files()
                opened = opening or open_builders
                supply = Supply(workshop.settings, store, workshop.blobs, files, Premises(), opened)
                async with Orders(supply, store, workshop.blobs) as carrying:
                    done = [await carrying.carry_out(order, cohort) for order, cohort in orders]
                    if meanwhile is not None:
                        await meanwhile(carrying)
                return done, await store.standings()

        return workshop.call(work())

    return run


def test_a_validation_is_recorded_and_told(carried, workshop):
    (done,), standings = carried((events.Validate((SPEC.entry,), "new"), [SPEC]))
    (ended,) = done.events
    (judged,) = ended.judged
    assert (judged.entry, judged.verdict) == (SPEC.entry, "agree")
    assert str(workshop.path("ordered.py")) in judged.reads
    assert (ended.again, ended.changed, ended.failed) == ((), (), False)
    assert done.problems == {"workers": (), "store": ()}
    (standing,) = standings
    assert (standing.verdict, standing.target) == ("agree", SPEC)
    kinds = {read.kind for read in standing.reads}
    assert kinds >= {"file", "version", "setting"}


def test_a_discovery_tells_targets_and_problems_of_each_file(carried, workshop):
    workshop.write("order_good.py", "import pcv\n@pcv.target('f32[2]')\ndef model(x): return x\n")
    workshop.write("order_bad.py", "import pcv\n# target\nimport order_worse\n")
    workshop.write("order_worse.py", "1 / 0\n")
    (done,), _ = carried((events.Discover(("order_good.py", "order_bad.py")), []))
    good, bad, ended = done.events
    assert [spec.entry for spec in good.targets] == ["order_good.py:model"]
    assert (good.source, good.broken, bad.source, bad.broken) == (
        "order_good.py",
        False,
        "order_bad.py",
        True,
    )
    assert str(workshop.path("order_worse.py")) in bad.reads  # mending it asks again
    assert isinstance(ended, events.Ended)
    problems = [problem for each in done.problems.values() for problem in each]
    assert [(problem.file, problem.line) for problem in problems] == [("order_worse.py", 1)]


def test_an_edited_target_is_told_and_not_recorded(carried, workshop):
    workshop.write(
        "ordered.py",
        "def model(x):\n    with open(__file__, 'a') as file:\n        file.write('# more')\n    return x\n",
    )
    (done,), standings = carried((events.Validate((SPEC.entry,), "new"), [SPEC]))
    assert done.events[0].changed == (SPEC.entry,)
    assert done.events[0].judged == ()
    assert standings == []


def test_no_worker_at_all_is_a_problem(carried):
    @contextlib.asynccontextmanager
    async def opening(_settings):
        raise SetupError("no interpreter", hint="install one")
        yield

    (done,), standings = carried((events.Validate((SPEC.entry,), "new"), [SPEC]), opening=opening)
    assert done.events == (events.Ended(failed=True, order=0),)
    (problem,) = done.problems["workers"]
    assert (problem.message, problem.hint) == ("no interpreter", "install one")
    assert standings == []


def test_a_fault_of_pcvs_own_is_a_problem_and_not_the_end(carried):
    @contextlib.asynccontextmanager
    async def opening(_settings):
        raise ZeroDivisionError("a bug")
        yield

    (first, second), _ = carried(
        (events.Validate((SPEC.entry,), "new"), [SPEC]), (events.Discover(("x.py",)), []), opening=opening
    )
    for done in (first, second):
        assert done.events == (events.Ended(failed=True, order=0),)
        assert "a fault inside pcv: ZeroDivisionError: a bug" in done.problems["workers"][0].message


def test_a_store_that_fails_is_a_problem_of_the_store(carried, monkeypatch):
    real = Store.record

    async def record(store, done):
        # Somebody else's program holds the file for longer than anybody waits.
        await store._database._connection.execute("PRAGMA query_only = ON")
        return await real(store, done)

    monkeypatch.setattr(Store, "record", record)
    (done,), standings = carried((events.Validate((SPEC.entry,), "new"), [SPEC]))
    assert done.events == (events.Ended(failed=True, order=0),)
    assert "pcv.sqlite" in str(done.problems["store"][0].file)
    assert standings == []


def test_resting_removes_bytes_that_nothing_refers_to(carried, workshop):
    old, young = (workshop.blobs.put(os.urandom(32)) for _ in range(2))
    past = time.time() - 7200
    os.utime(Path(workshop.objects, old[:2], old[2:]), (past, past))
    kept = []

    async def rest(carrying):
        runs = await carrying._store.runs(1)
        kept.extend(part.raw for build in runs[0].builds for one in build.artifacts for part in one.parts)
        for name in kept:
            os.utime(Path(workshop.objects, name[:2], name[2:]), (past, past))
        await carrying.rest()

    carried((events.Validate((SPEC.entry,), "new"), [SPEC]), meanwhile=rest)
    assert not workshop.blobs.has(old)
    assert workshop.blobs.has(young)  # somebody may be about to name it
    assert kept
    assert all(workshop.blobs.verify(name) for name in kept)
