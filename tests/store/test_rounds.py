"""Rounds: every record that goes in comes out as it was, and each is recorded whole or not at all."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcvd.core.builds import STAGES, Artifact, Build, Kernel, Part, Run
from pcvd.core.errors import StoreError
from pcvd.core.model import Failure, Judgement, TargetSpec
from pcvd.store import RoundRecord, Store

TABLES = ("rounds", "runs", "builds", "stages", "parts", "reads", "readers", "verdicts")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DIGEST = st.text("0123456789abcdef", min_size=64, max_size=64)
ENTRY = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12
)  # as paths are
NUMBER = st.integers(0, 2**63 - 1)
PARTS = st.lists(
    st.builds(Part, TEXT, DIGEST, DIGEST, NUMBER.map(lambda n: n >> 8), TEXT, st.lists(TEXT).map(tuple)),
    max_size=3,
)
ARTIFACT = st.builds(Artifact.of, st.just("?"), PARTS) | st.builds(Artifact.missing, st.just("?"), TEXT)
ARTIFACTS = st.dictionaries(st.sampled_from((*STAGES, "locations")), ARTIFACT, max_size=4).map(
    lambda found: tuple(dataclasses.replace(artifact, stage=stage) for stage, artifact in found.items())
)
FAILURE = st.none() | st.builds(
    Failure, TEXT, TEXT, st.none() | TEXT, st.none() | NUMBER, st.none() | TEXT, st.none() | TEXT
)
BUILD = st.builds(
    Build, ENTRY, NUMBER, NUMBER, TEXT, NUMBER, NUMBER, NUMBER, compiling_ns=NUMBER, inputs=TEXT,
    artifacts=ARTIFACTS, failure=FAILURE, repeats=st.none() | st.booleans(),
)  # fmt: skip
KERNEL = st.builds(Kernel, TEXT, TEXT, TEXT, st.none() | TEXT, st.none() | NUMBER, NUMBER)
ENVIRONMENT = st.dictionaries(TEXT, TEXT | NUMBER | st.booleans() | st.lists(TEXT, max_size=2), max_size=3)
RUN = st.builds(
    Run, TEXT, st.lists(TEXT, max_size=3).map(tuple), st.lists(BUILD, max_size=3).map(tuple), TEXT, NUMBER,
    st.lists(NUMBER, max_size=3).map(tuple), st.lists(ENVIRONMENT, max_size=2).map(tuple),
    st.lists(TEXT, max_size=2).map(tuple),
    st.lists(st.builds(dataclasses.replace, BUILD, kernel=KERNEL), max_size=2).map(tuple),
)  # fmt: skip


def counts(path: str) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


def inject(path: str, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)


async def recorded(path: str, *rounds: RoundRecord) -> list[int]:
    async with Store.open(path) as store:
        return [await store.record(done) for done in rounds]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(RUN, max_size=3).map(tuple))
def test_runs_come_back_as_they_were(tmp_path_factory, runs):
    done = RoundRecord("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "why", (), {}, runs, (), {})

    async def round_trip():
        async with Store.open(str(tmp_path_factory.mktemp("store") / "pcv.sqlite")) as store:
            await store.record(RoundRecord("a", "b", "a neighbour", (), {}, runs[:1], (), {}))
            return await store.runs(await store.record(done))

    assert asyncio.run(round_trip()) == runs


@pytest.mark.parametrize(
    ("record", "stored"),
    [
        (Run, "schedule order builds zygote hash_seed affinity environments culprits kernels"),
        (
            Build,
            (
                "target copy worker thread began_ns lowered_ns compiling_ns ended_ns inputs artifacts failure"
                " repeats kernel"
            ),
        ),
        (Artifact, "stage raw canonical parts absent"),
        (Kernel, "name digest function file line uses"),
        (Part, "name raw canonical size label rules"),
    ],
)
def test_no_field_is_forgotten(record, stored):
    # A field added to the model needs a column, a place above, and a new schema version.
    assert {field.name for field in dataclasses.fields(record)} == set(stored.split())


def test_builds_of_kernels_come_back_beside_those_of_targets(path, make):
    kernel = Kernel("kernel_1234", "1234", "block", "m.py", 7, 24)
    done = make.round("a.py:f")
    runs = tuple(
        dataclasses.replace(run, kernels=(dataclasses.replace(make.build("a.py:f", "k"), kernel=kernel),))
        for run in done.runs
    )

    async def main():
        async with Store.open(path) as store:
            number = await store.record(dataclasses.replace(done, runs=runs))
            assert await store.runs(number) == runs
            held = {part.raw for part in runs[0].kernels[0].artifacts[0].parts}
            assert held <= await store.referenced(1)
            assert await store.prune(0) == 4
            return await store.runs(number)

    assert asyncio.run(main()) == ()


def test_a_round_that_was_never_held_has_no_runs(path):
    async def ask():
        async with Store.open(path) as store:
            return await store.runs(99)

    assert asyncio.run(ask()) == ()


def test_rows_are_readable_by_hand(path, make):
    asyncio.run(recorded(path, make.round("a.py:f", "b.py:g", verdict="diverged")))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT why, cohort, outcome FROM rounds").fetchall() == [
            ("saved", '["a.py:f","b.py:g"]', "diverged")
        ]
        assert connection.execute(
            """
            SELECT s.canonical, s.absent, s.size
            FROM runs r JOIN builds b ON b.run = r.id JOIN targets t ON t.id = b.target
            JOIN stages s ON s.build = b.id
            WHERE t.entry = 'b.py:g' AND r.schedule = 'threads:2' AND s.stage IN ('hlo', 'llvm')
            ORDER BY s.stage
            """
        ).fetchall() == [(make.part("b.py:g hlo ").canonical, None, 11), (None, "the compiler shows none", 0)]
        assert connection.execute("SELECT count(*) FROM environments").fetchone() == (1,)


@pytest.mark.parametrize(
    ("verdicts", "outcome"),
    [
        ((), "inconclusive"),
        (("agree", "agree"), "agree"),
        (("agree", "equivalent"), "equivalent"),
        (("inconclusive", "equivalent"), "inconclusive"),
        (("unstable", "inconclusive", "agree"), "unstable"),
        (("agree", "diverged", "unstable"), "unstable"),
    ],
)
def test_a_rounds_outcome_is_its_gravest_verdict_and_nothing_judged_is_no_agreement(
    path, make, verdicts, outcome
):
    judgements = tuple(Judgement(f"m.py:f{n}", verdict) for n, verdict in enumerate(verdicts))
    asyncio.run(recorded(path, dataclasses.replace(make.round(), judgements=judgements)))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT outcome FROM rounds").fetchall() == [(outcome,)]


def unknown_word(done: RoundRecord) -> RoundRecord:
    return dataclasses.replace(done, judgements=(*done.judgements, Judgement("c.py:h", "fine")))


def judged_twice(done: RoundRecord) -> RoundRecord:
    return dataclasses.replace(done, judgements=(*done.judgements, *done.judgements))


def too_large(done: RoundRecord) -> RoundRecord:
    return dataclasses.replace(done, runs=(*done.runs, dataclasses.replace(done.runs[0], hash_seed=2**64)))


def silently_absent(done: RoundRecord) -> RoundRecord:
    build = dataclasses.replace(done.runs[0].builds[0], artifacts=(Artifact("hlo", None, None),))
    return dataclasses.replace(done, runs=(*done.runs, dataclasses.replace(done.runs[0], builds=(build,))))


@pytest.mark.parametrize("spoil", [unknown_word, judged_twice, too_large, silently_absent])
def test_a_round_with_one_bad_value_is_not_recorded_at_all_and_the_store_goes_on(path, make, spoil):
    async def attempt():
        async with Store.open(path) as store:
            await store.record(make.round("a.py:f"))
            before = counts(path)
            with pytest.raises(StoreError, match=r"pcv\.sqlite: .*please report it"):
                await store.record(spoil(make.round("a.py:f", "b.py:g")))
            assert counts(path) == before
            await store.record(make.round("a.py:f"))
            return await store.verdicts("a.py:f")

    assert [row.judgement.verdict for row in asyncio.run(attempt())] == ["agree", "agree"]


@pytest.mark.parametrize("table", TABLES)
def test_a_row_refused_in_any_table_takes_the_whole_round_with_it(path, make, table):
    asyncio.run(recorded(path, make.round("a.py:f")))
    before = counts(path)
    inject(
        path,
        f"CREATE TRIGGER refuse AFTER INSERT ON {table} BEGIN SELECT raise(ABORT, 'refused by test'); END",
    )
    with pytest.raises(StoreError, match="refused by test"):
        asyncio.run(recorded(path, make.round("a.py:f", "b.py:g")))
    assert counts(path) == before
    inject(path, "DROP TRIGGER refuse")
    asyncio.run(recorded(path, make.round("a.py:f", "b.py:g")))
    assert counts(path)["rounds"] == before["rounds"] + 1


async def on_insert(store: Store, table: str, call) -> None:
    """Have `call` run inside the transaction, on the connection's thread, whenever a row enters `table`."""
    connection = store._database._connection
    await connection.create_function("call_test", 0, call)
    await connection.execute(
        f"CREATE TEMP TRIGGER hook AFTER INSERT ON main.{table} BEGIN SELECT call_test(); END"
    )


@pytest.mark.parametrize("table", TABLES)
def test_a_cancelled_recording_leaves_nothing_and_the_store_goes_on(path, make, table):
    async def cancelled():
        loop = asyncio.get_running_loop()
        async with Store.open(path) as store:
            await store.record(make.round("a.py:f"))
            before = counts(path)
            await on_insert(store, table, lambda: loop.call_soon_threadsafe(recording.cancel) and None)
            recording = asyncio.ensure_future(store.record(make.round("a.py:f", "b.py:g")))
            with pytest.raises(asyncio.CancelledError):
                await recording
            assert not store._database._connection.in_transaction
            assert counts(path) == before
            await store._database._connection.execute("DROP TRIGGER hook")
            await store.record(make.round("a.py:f", "b.py:g"))
            assert counts(path)["rounds"] == before["rounds"] + 1

    asyncio.run(cancelled())


def test_cancelled_again_and_again_while_waiting_for_another_writer(path, make):
    async def cancelled():
        async with Store.open(path) as store:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                recording = asyncio.ensure_future(store.record(make.round("a.py:f")))
                for _ in range(5):
                    await asyncio.sleep(0)
                    recording.cancel()
                other.execute("ROLLBACK")
            with pytest.raises(asyncio.CancelledError):
                await recording
            assert not store._database._connection.in_transaction
            assert await store.record(make.round("a.py:f")) == 1

    asyncio.run(cancelled())
    assert counts(path)["rounds"] == 1


def test_a_cancelled_user_of_the_store_closes_it(path, make):
    threads = set(threading.enumerate())

    async def cancelled():
        entered = asyncio.Event()

        async def use():
            async with Store.open(path) as store:
                await store.record(make.round("a.py:f"))
                entered.set()
                await asyncio.Event().wait()

        user = asyncio.ensure_future(use())
        await asyncio.wait({user, asyncio.ensure_future(entered.wait())}, return_when=asyncio.FIRST_COMPLETED)
        user.cancel()
        with pytest.raises(asyncio.CancelledError):
            await user

    asyncio.run(cancelled())
    assert set(threading.enumerate()) == threads
    assert counts(path)["rounds"] == 1


def test_tasks_of_one_process_may_record_and_read_at_once(path, make):
    async def together():
        async with Store.open(path) as store:
            numbers = [store.record(make.round("a.py:f")) for _ in range(10)]
            readings = [store.verdicts("a.py:f") for _ in range(10)]
            found = await asyncio.gather(*numbers, *readings)
            assert sorted(found[:10]) == list(range(1, 11))
            return len(await store.verdicts("a.py:f"))

    assert asyncio.run(together()) == 10


KILLED = """
import asyncio, os, pickle, signal, sys
from pcvd.store import Store
async def main():
    with open(sys.argv[2], "rb") as file:
        done = pickle.load(file)
    async with Store.open(sys.argv[1]) as store:
        connection = store._database._connection
        await connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
        await connection.execute("PRAGMA cache_spill = 1")
        await connection.execute("PRAGMA cache_size = 1")  # pages go to the log before the transaction ends
        await connection.execute("CREATE TEMP TRIGGER t AFTER INSERT ON verdicts BEGIN SELECT die(); END")
        await store.record(done)
asyncio.run(main())
"""


def test_a_process_killed_in_the_middle_of_a_transaction_leaves_nothing(path, tmp_path, make):
    asyncio.run(recorded(path, make.round("a.py:f")))
    before = counts(path)
    (tmp_path / "round").write_bytes(pickle.dumps(make.round("a.py:f", *(f"m.py:f{n}" for n in range(200)))))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, path, str(tmp_path / "round")], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert Path(path + "-wal").stat().st_size > 100_000, "the killed process had written"
    assert counts(path) == before
    assert asyncio.run(recorded(path, make.round("a.py:f"))) == [2]


WRITER = """
import asyncio, dataclasses, os, pickle, sys
from pcvd.store import Store
async def main():
    with open(sys.argv[2], "rb") as file:
        done = pickle.load(file)
    async with Store.open(sys.argv[1]) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(15):
            await store.record(dataclasses.replace(done, finished_at=f"{os.getpid()} {number}"))
asyncio.run(main())
"""


def test_two_processes_write_one_store_while_a_third_reads(path, tmp_path, make):
    targets = [f"m.py:f{n}" for n in range(20)]
    (tmp_path / "round").write_bytes(pickle.dumps(make.round(*targets)))
    command = [sys.executable, "-c", WRITER, path, str(tmp_path / "round")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    writers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    assert [writer.stdout.readline() for writer in writers] == [b"ready\n"] * 2
    for writer in writers:
        writer.stdin.write(b"go\n")
        writer.stdin.flush()

    async def watch() -> None:
        async with Store.open(path) as store:
            await store.declare([TargetSpec(target) for target in targets])
            ended = False
            while not ended:
                ended = all(writer.poll() is not None for writer in writers)
                standings = await store.standings()
                assert len(standings) in {0, 20}
                assert len({standing.checked_at for standing in standings}) <= 1, (
                    "a round shows whole or not at all"
                )
            assert len(standings) == 20
            assert len(await store.verdicts(targets[0])) == 30

    asyncio.run(watch())
    assert [writer.communicate() for writer in writers] == [(b"", b"")] * 2
    assert [writer.returncode for writer in writers] == [0, 0]
    assert counts(path)["verdicts"] == 600
    with closing(sqlite3.connect(path)) as connection:
        told = connection.execute(
            "SELECT round, checked_at FROM verdicts WHERE target = 1 ORDER BY id"
        ).fetchall()
    # Each saw what the other had committed: no number is missing or given twice, and no round is lost.
    assert [number for number, _ in told] == list(range(1, 31))
    for writer in writers:
        own = [when for _, when in told if when.startswith(f"{writer.pid} ")]
        assert own == [f"{writer.pid} {number}" for number in range(15)]


def test_what_is_tried_again_takes_the_place_of_what_was_tried_before(path, make):
    async def explained():
        async with Store.open(path) as store:
            number = await store.record(make.round("a.py:f"))
            judgement = make.round("a.py:f").judgements[0]
            for salt in ("first", "second"):
                tried = make.run("process", ["a.py:f"], salt), make.run("order", ["a.py:f"], salt)
                await store.explain(number, [judgement], tried[: 2 if salt == "first" else 1])
            return await store.runs(number)

    runs = asyncio.run(explained())
    assert [run.schedule for run in runs] == ["serial", "threads:2", "order", "process"]
    assert runs[-1] == make.run("process", ["a.py:f"], "second")
    assert counts(path)["builds"] == 4
