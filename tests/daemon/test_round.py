"""Whole rounds: real builds, and the verdict on them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from pcvd.core.model import Read, TargetSpec, digest
from pcvd.store import Store

X = ("f32[4]",)
FIVE = ("serial", "threads:2", "threads:4", "processes:2")

CLEAN = """
    import jax, jax.numpy as jnp

    def forward(x):
        return jnp.tanh(x @ jnp.eye(4))

    def backward(x):
        return jax.grad(lambda y: forward(y).sum())(x)
"""


def judged(outcome):
    assert outcome.again == ()
    assert outcome.changed == ()
    return {one.target.rpartition(":")[2]: one for one in outcome.record.judgements}


@pytest.fixture(scope="module")
def clean(workshop):
    """A round over two targets on which all is well."""
    workshop.write("clean.py", CLEAN)
    specs = [TargetSpec(f"clean.py:{name}", X) for name in ("forward", "backward")]
    premises = (Read("version", "pcv", "0.1.0"),)
    return workshop.hold(*specs, schedules=FIVE, premises=premises)


def test_a_clean_model_agrees(clean):
    for judgement in judged(clean).values():
        assert (judgement.verdict, judgement.reason, judgement.first_stage) == ("agree", None, None)
        assert judgement.output == {
            "bitwise": True, "max_abs": 0.0, "max_rel": 0.0, "within_tolerance": True
        }  # fmt: skip
        assert judgement.evidence["cohort"] == 2
        assert judgement.evidence["repeat_runs_equal"] is True


def test_no_control_runs_where_nothing_differs(clean):
    assert [run.schedule for run in clean.record.runs] == list(FIVE)


def test_every_schedule_really_overlapped(clean):
    evidence = judged(clean)["forward"].evidence["schedules"]
    assert {name: one["peak_in_flight"] for name, one in evidence.items()} == {
        "serial": 1, "threads:2": 2, "threads:4": 4, "processes:2": 2
    }  # fmt: skip
    assert {name: one["builds"] for name, one in evidence.items()} == {
        "serial": 2, "threads:2": 2, "threads:4": 4, "processes:2": 2
    }  # fmt: skip


def test_challengers_submit_in_another_order_and_another_zygote(clean):
    runs = {run.schedule: run for run in clean.record.runs}
    assert runs["serial"].order == ("clean.py:forward", "clean.py:backward")
    assert runs["threads:2"].order == ("clean.py:backward", "clean.py:forward")
    assert runs["serial"].hash_seed != runs["threads:2"].hash_seed == runs["processes:2"].hash_seed
    assert len({run.affinity for run in runs.values()}) == 1


def test_reads_come_with_digests_and_premises(clean, workshop):
    reads = {(read.kind, read.name): read.digest for read in clean.record.reads["clean.py:forward"]}
    path = workshop.path("clean.py")
    assert reads["file", str(path)] == digest(path.read_bytes())
    assert reads["version", "pcv"] == "0.1.0"


def test_a_difference_that_only_threads_make_is_a_divergence(workshop):
    workshop.write(
        "threaded.py",
        """
        import os, threading
        FLAG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fired")

        def model(x):
            if threading.current_thread() is threading.main_thread():
                return x * 2
            try:
                os.mkdir(FLAG)  # whoever comes first: one build of one challenger
            except FileExistsError:
                return x * 2
            return x * 2.0000002
        """,
    )
    outcome = workshop.hold(
        TargetSpec("threaded.py:model", X), TargetSpec("clean.py:forward", X), schedules=FIVE, seed=3
    )
    verdicts = judged(outcome)
    guilty = verdicts["model"]
    assert (guilty.verdict, guilty.first_stage) == ("diverged", "jaxpr")
    assert "under threads:2" in guilty.reason
    assert "the control agrees with the reference" in guilty.reason
    assert {"jaxpr", "stablehlo", "hlo", "output"} <= set(guilty.differing)
    assert len(set(guilty.stages["jaxpr"].values())) == 2
    assert guilty.stages["jaxpr"]["threads:2"] not in {
        guilty.stages["jaxpr"][name] for name in ("serial", "threads:4", "processes:2", "control")
    }
    assert guilty.output["bitwise"] is False
    assert 0 < guilty.output["max_abs"] < 1e-5
    assert guilty.cause["text"].startswith("jaxpr differs in")
    assert verdicts["forward"].verdict == "agree"


def test_a_difference_that_hash_seeds_make_is_no_divergence(workshop):
    workshop.write(
        "sets.py",
        """
        NAMES = {"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"}

        def model(x):
            for place, name in enumerate(NAMES):
                x = x * (1.0 + place * len(name))
            return x
        """,
    )
    spec = TargetSpec("sets.py:model", X)
    verdict = judged(workshop.hold(spec, schedules=("serial", "threads:2")))["model"]
    assert (verdict.verdict, verdict.first_stage) == ("unstable", "jaxpr")
    assert "a second serial build differs" in verdict.reason


def test_constants_drawn_while_tracing_are_unstable(workshop):
    workshop.write(
        "drawn.py",
        "import numpy as np\n\ndef model(x):\n    return x + np.random.rand(4).astype(np.float32)\n",
    )
    outcome = workshop.hold(TargetSpec("drawn.py:model", X), schedules=("serial", "processes:2"))
    verdict = judged(outcome)["model"]
    assert verdict.verdict == "unstable"
    assert "processes:2 differ as well" in verdict.reason
    assert "output" in verdict.differing


def test_unseeded_arguments_let_nothing_be_compared(workshop):
    workshop.write(
        "unseeded.py",
        """
        import numpy as np

        def arguments():
            return (np.random.rand(4).astype(np.float32),)

        def model(x):
            return x * 2
        """,
    )
    spec = TargetSpec("unseeded.py:model", "unseeded.py:arguments")
    verdict = judged(workshop.hold(spec, schedules=("serial", "threads:2")))["model"]
    assert verdict.verdict == "inconclusive"
    assert "arguments differ from process to process" in verdict.reason


LOOP = """
    import jax

    def other(x):
        return jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * 1.5), (0, x))[1]

    def loop(x):
        return jax.lax.while_loop(lambda s: s[0] < 5, lambda s: (s[0] + 1, s[1] * 2 + 1), (0, x))[1]
"""


@pytest.fixture(scope="module")
def loops(workshop):
    workshop.write("loops.py", LOOP)
    return [TargetSpec(f"loops.py:{name}", X) for name in ("other", "loop")]


def test_loops_whose_code_depends_on_the_order_are_equivalent(workshop, loops):
    verdicts = judged(workshop.hold(*loops, schedules=("serial", "threads:2")))
    found = [one for one in verdicts.values() if one.verdict != "agree"]
    assert found, "XLA gave both loops the same code in either order: this test needs another program"
    for one in found:
        assert (one.verdict, one.output["bitwise"]) == ("equivalent", True)
        assert "tolerated" in one.reason
    # Threads may meet in an order that leaves one of them as it was; the other then shows it.
    assert {one.first_stage for one in found} & {"llvm", "object"}
    assert any(one.cause["kernel"] for one in found)


def test_with_nothing_tolerated_the_same_is_a_difference(workshop, loops):
    verdicts = judged(workshop.hold(*loops, schedules=("serial", "threads:2"), tolerate=()))
    assert {one.verdict for one in verdicts.values()} & {"diverged", "unstable"}


@pytest.mark.parametrize(("factor", "verdict"), [("1.0000001", "equivalent"), ("1.001", "diverged")])
def test_outputs_may_be_tolerated_within_their_tolerance(factor, verdict, workshop):
    workshop.write(
        "near.py",
        f"""
        import threading

        def model(x):
            main = threading.current_thread() is threading.main_thread()
            return x * (1.0 if main else {factor})
        """,
    )
    everything = ("jaxpr", "stablehlo", "hlo", "llvm", "object", "executable", "output")
    outcome = workshop.hold(
        TargetSpec("near.py:model", X), schedules=("serial", "threads:2"), tolerate=everything
    )
    found = judged(outcome)["model"]
    assert (found.verdict, found.output["bitwise"]) == (verdict, False)
    assert found.output["within_tolerance"] is (verdict == "equivalent")


def test_an_executable_that_does_not_repeat_itself_is_unstable(workshop):
    workshop.write(
        "callback.py",
        """
        import itertools
        import jax, numpy as np
        NUMBERS = itertools.count()

        def model(x):
            return jax.pure_callback(lambda y: np.float32(next(NUMBERS)) + y, x, x)
        """,
    )
    outcome = workshop.hold(TargetSpec("callback.py:model", ("f32[]",)), schedules=("serial", "threads:2"))
    verdict = judged(outcome)["model"]
    assert verdict.verdict == "unstable"
    assert verdict.evidence["repeat_runs_equal"] is False


def test_a_file_that_is_edited_while_it_is_built_proves_nothing(workshop):
    workshop.write("data.txt", "1")
    workshop.write(
        "edited.py",
        """
        import os
        DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data.txt")

        def model(x):
            value = float(open(DATA).read())
            with open(DATA, "a") as file:  # as if somebody saved it that very moment
                file.write("0")
            return x * value
        """,
    )
    specs = (TargetSpec("edited.py:model", X), TargetSpec("clean.py:forward", X))
    outcome = workshop.hold(*specs, schedules=("serial", "threads:2"))
    (changed,) = outcome.changed
    assert (changed.target, changed.verdict) == ("edited.py:model", "inconclusive")
    assert changed.reason.startswith("data.txt changed while it was built")
    assert [one.target for one in outcome.record.judgements] == ["clean.py:forward"]
    assert "edited.py:model" not in outcome.record.reads


def test_a_module_that_is_edited_while_it_is_built_proves_nothing(workshop):
    workshop.write("part.py", "FACTOR = 2\n")
    workshop.write(
        "itself.py",
        """
        import os, part

        def model(x):
            with open(part.__file__, "a") as file:
                file.write("# more\\n")
            return x * part.FACTOR
        """,
    )
    outcome = workshop.hold(TargetSpec("itself.py:model", X), schedules=("serial", "threads:2"))
    assert [one.reason.partition(" changed")[0] for one in outcome.changed] == ["part.py"]


def test_a_file_that_appears_while_it_is_built_proves_nothing(workshop):
    workshop.write(
        "appearing.py",
        """
        import os
        PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "appeared.txt")

        def model(x):
            try:
                return x * float(open(PATH).read())
            except FileNotFoundError:
                with open(PATH, "w") as file:
                    file.write("3")
                return x
        """,
    )
    outcome = workshop.hold(TargetSpec("appearing.py:model", X), schedules=("serial", "threads:2"))
    assert [one.target for one in outcome.changed] == ["appearing.py:model"]
    assert outcome.record.judgements == ()


def test_a_target_that_fails_serially_ends_the_round_for_all(workshop):
    workshop.write("failing.py", "def model(x):\n    raise ValueError('not today')\n")
    specs = (TargetSpec("clean.py:forward", X), TargetSpec("failing.py:model", X))
    outcome = workshop.hold(*specs, schedules=FIVE)
    assert outcome.again == ("clean.py:forward",)
    (judgement,) = outcome.record.judgements
    assert (judgement.verdict, judgement.failure.kind) == ("inconclusive", "trace")
    assert judgement.reason.startswith("failing.py:2: ")
    assert [run.schedule for run in outcome.record.runs] == ["serial"]


def test_a_target_that_fails_concurrently_only_is_inconclusive(workshop):
    workshop.write(
        "shy.py",
        """
        import threading

        def model(x):
            if threading.current_thread() is not threading.main_thread():
                raise RuntimeError("not from here")
            return x
        """,
    )
    specs = (TargetSpec("shy.py:model", X), TargetSpec("clean.py:forward", X))
    outcome = workshop.hold(*specs, schedules=("serial", "threads:2"))
    verdicts = {one.target: one for one in outcome.record.judgements}
    assert verdicts["shy.py:model"].verdict == "inconclusive"
    assert "not from here" in verdicts["shy.py:model"].reason
    settled = outcome.again or (verdicts["clean.py:forward"].verdict == "agree" and ("clean.py:forward",))
    assert settled == ("clean.py:forward",)


def test_artifacts_that_the_store_lost_prove_nothing(workshop, monkeypatch):
    # A disk that loses what was written: the file of an artifact is gone before the round reads it back.
    from pcvd.builders.pool import LocalPool

    workshop.write("lost.py", "def model(x):\n    return x * 1234.5\n")
    real = LocalPool.carry_out

    async def losing(pool, order):
        carried = await real(pool, order)
        for build in carried.run.builds:
            workshop.blobs.remove(build.artifact("stablehlo").parts[0].canonical)
        return carried

    monkeypatch.setattr(LocalPool, "carry_out", losing)
    outcome = workshop.hold(TargetSpec("lost.py:model", X), schedules=("serial", "threads:2"))
    verdict = judged(outcome)["model"]
    assert verdict.verdict == "inconclusive"
    assert "stablehlo could not be read back" in verdict.reason


# -- what is stored of it --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(clean, tmp_path_factory):
    """The clean round, recorded in a database of its own: a query on it."""
    path = str(tmp_path_factory.mktemp("store") / "pcv.sqlite")

    async def record():
        async with Store.open(path) as store:
            await store.record(clean.record)

    asyncio.run(record())

    def query(sql):
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(sql).fetchall()

    return query


def test_rows_say_what_the_round_found(stored, clean):
    assert [json.loads(cohort) for (cohort,) in stored("SELECT cohort FROM rounds")] == [
        ["clean.py:forward", "clean.py:backward"]
    ]
    assert stored("SELECT schedule, peak_in_flight FROM runs ORDER BY id") == [
        (run.schedule, run.peak_in_flight) for run in clean.record.runs
    ]
    assert stored("SELECT count(*) FROM builds") == [(sum(len(run.builds) for run in clean.record.runs),)]
    verdicts = stored("SELECT entry, verdict FROM verdicts JOIN targets ON targets.id = verdicts.target")
    assert dict(verdicts) == {"clean.py:backward": "agree", "clean.py:forward": "agree"}


def test_stage_rows_have_the_digests_of_the_status(stored, clean):
    rows = stored(
        "SELECT entry, stage, schedule, canonical FROM stages JOIN builds ON builds.id = stages.build "
        "JOIN runs ON runs.id = builds.run JOIN targets ON targets.id = builds.target "
        "WHERE stage != 'locations'"
    )
    assert len(rows) > 50
    told = {one.target: one.stages for one in clean.record.judgements}
    for entry, stage, schedule, canonical in rows:
        assert told[entry][stage][schedule] == canonical


def test_every_stored_digest_has_its_bytes(stored, workshop):
    digests = {name for row in stored("SELECT raw, canonical FROM parts") for name in row}
    assert len(digests) > 10
    for name in digests:
        assert digest(workshop.blobs.get(name)) == name
