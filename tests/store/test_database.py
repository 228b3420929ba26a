"""The file: its schema, who may open it, and one clear message for each way in which it can't be used."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import pickle
import re
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from pcvd.core.errors import StoreError
from pcvd.core.model import Read, TargetSpec
from pcvd.store import Store
from pcvd.store.database import SCHEMA_VERSION

READS = (
    Read("env", "COLOR", None),
    Read("file", "/p/a.py", "aa"),
    Read("file", b"/p/caf\xe9.npy".decode("utf-8", "surrogateescape"), "bb"),
    Read("version", "jax", "0.10.2"),
)


async def touch(path: str) -> None:
    async with Store.open(path):
        pass


def no_others_than(threads: set[threading.Thread]) -> bool:
    """Whether these threads alone are left; one that has done its work may need a moment to end."""
    for one in set(threading.enumerate()) - threads:
        one.join(60)
    return set(threading.enumerate()) == threads


def stored(path, use):
    async def main():
        async with Store.open(path) as store:
            return await use(store)

    return asyncio.run(main())


def refusal(path: str) -> StoreError:
    """What opening says; the file and the threads must be as they were."""
    before = Path(path).read_bytes() if Path(path).is_file() else None
    threads = set(threading.enumerate())
    with pytest.raises(StoreError) as caught:
        asyncio.run(touch(path))
    assert no_others_than(threads)
    assert (Path(path).read_bytes() if Path(path).is_file() else None) == before
    assert path in str(caught.value)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return caught.value


def test_every_table_and_column_has_a_comment_in_the_file(path):
    asyncio.run(touch(path))
    with closing(sqlite3.connect(path)) as connection:
        tables = dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'"))
        columns = {
            table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] for table in tables
        }
    assert set(tables) == {
        "environments", "targets", "reads", "readers", "discoveries", "rounds", "runs", "builds", "kernels",
        "stages", "parts", "verdicts",
    }  # fmt: skip
    for table, sql in tables.items():
        assert re.match(rf"CREATE TABLE {table} \( -- \w.{{10,}}\n", sql), table
        assert re.search(r"\) STRICT(, WITHOUT ROWID)?$", sql), table
        for column in columns[table]:
            assert re.search(rf"^    {column} .*-- \w.+$", sql, re.MULTILINE), f"{table}.{column}"


def test_the_file_is_private_in_wal_mode_with_a_version_and_passes_sqlites_own_check(path):
    asyncio.run(touch(path))
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_connection_has_foreign_keys_on_and_waits_for_others(path):
    async def pragmas(store):
        names = ("foreign_keys", "busy_timeout", "synchronous")
        rows = [await store._database._connection.execute_fetchall(f"PRAGMA {name}") for name in names]
        return [value for ((value,),) in rows]

    assert stored(path, pragmas) == [1, 30_000, 1]


def test_closing_leaves_no_thread_behind(path):
    threads = set(threading.enumerate())
    asyncio.run(touch(path))
    assert no_others_than(threads)


def test_an_empty_file_becomes_a_store(path):
    Path(path).touch()
    asyncio.run(touch(path))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM verdicts").fetchone() == (0,)


def test_a_newer_schema_is_refused(path):
    asyncio.run(touch(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    error = refusal(path)
    assert f"version {SCHEMA_VERSION + 1}" in error.message
    assert "upgrade pcv" in error.hint


def schema(path: str) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
        ).fetchall()


@pytest.fixture(params=[1, 2, 3])
def old(path, make, request):
    """A store of an older version, in which one round was recorded: version 1 counted rounds in a column, up
    to 2 there were no kernels, and up to 3 each target had a row for each of its reads.
    """

    async def record(store):
        done = make.round("a.py:f", "b.py:g")
        await store.declare([TargetSpec("a.py:f"), TargetSpec("b.py:g")])
        await store.record(dataclasses.replace(done, reads={"a.py:f": READS, "b.py:g": READS[1:]}))

    stored(path, record)
    with closing(sqlite3.connect(path)) as connection:
        held = connection.execute("SELECT * FROM dependencies").fetchall()
        for gone in ("VIEW dependencies", "TABLE discoveries", "TABLE readers", "TABLE reads"):
            connection.execute(f"DROP {gone}")
        connection.execute(
            """
            CREATE TABLE dependencies (
                target INTEGER NOT NULL REFERENCES targets, kind TEXT NOT NULL, name ANY NOT NULL,
                digest TEXT, PRIMARY KEY (target, kind, name)) STRICT, WITHOUT ROWID
            """
        )
        connection.executemany("INSERT INTO dependencies VALUES (?, ?, ?, ?)", held)
        connection.execute("PRAGMA user_version = 3")
        connection.commit()
        if request.param == 3:
            return path
        connection.execute("UPDATE verdicts SET detail = json_remove(detail, '$.kernels')")
        connection.execute("DROP TABLE kernels")
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
        if request.param == 2:
            return path
        tables = dict(connection.execute("SELECT name, sql FROM sqlite_schema"))
        columns = ", ".join(row[1] for row in connection.execute("PRAGMA table_info(verdicts)"))
        counted = "    streak      INTEGER NOT NULL, -- how many rounds in a row\n    checked_at "
        connection.execute("ALTER TABLE verdicts RENAME TO verdicts_now")
        connection.execute(tables["verdicts"].replace("    checked_at ", counted))
        connection.execute(f"INSERT INTO verdicts ({columns}, streak) SELECT {columns}, 1 FROM verdicts_now")
        connection.execute("DROP TABLE verdicts_now")
        connection.execute(tables["verdicts_target"])
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    return path


def test_an_older_schema_is_brought_up_to_date_and_keeps_what_it_held(old, make, tmp_path):
    async def use(store):
        standings = {one.target.entry: one for one in await store.standings()}
        await store.record(make.round("a.py:f", verdict="diverged"))
        return standings, [one.judgement.verdict for one in await store.verdicts("a.py:f")]

    standings, verdicts = stored(old, use)
    assert {entry: one.reads for entry, one in standings.items()} == {"a.py:f": READS, "b.py:g": READS[1:]}
    assert all("kernels" in json.loads(one.said) for one in standings.values())
    assert verdicts == ["diverged", "agree"]
    fresh = str(tmp_path / "fresh.sqlite")
    asyncio.run(touch(fresh))
    assert schema(old) == schema(fresh)
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_an_older_schema_is_read_as_it_is(old):
    async def main():
        async with Store.reading(old) as store:
            found = await store.verdicts("a.py:f")
            assert len(await store.runs(found[0].round)) == 2
            return [one.judgement.verdict for one in found]

    before = schema(old)
    assert asyncio.run(main()) == ["agree"]
    assert schema(old) == before


def test_another_programs_database_is_refused_and_not_even_switched_to_wal(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.commit()
    assert "not pcv's" in refusal(path).message
    assert [file.name for file in Path(path).parent.iterdir()] == ["pcv.sqlite"]


@pytest.mark.parametrize(
    "content", [b"hello, I am a text file\n" * 50, os.urandom(8192), b"SQLite format 3\0" + bytes(4080)]
)
def test_a_file_that_is_no_database_is_refused(path, content):
    Path(path).write_bytes(content)
    error = refusal(path)
    assert "move it away" in error.hint
    assert "-wal" in error.hint


def test_a_truncated_database_is_refused(path):
    asyncio.run(touch(path))
    os.truncate(path, Path(path).stat().st_size // 2)
    assert "malformed" in refusal(path).message


def test_damage_inside_is_reported_where_it_is_met(path, make):
    async def record(store):
        await store.record(make.round("a.py:f"))

    async def verdicts(store):
        await store.verdicts("a.py:f")

    stored(path, record)
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'verdicts'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(Path(path).read_bytes())
    content[(page - 1) * size : page * size] = b"\xff" * size
    Path(path).write_bytes(content)
    with pytest.raises(StoreError, match=r"pcv\.sqlite.*malformed.*move it away"):
        stored(path, verdicts)


def test_a_record_that_somebody_edited_is_reported(path, make):
    async def edited(store):
        await store.record(make.round("a.py:f"))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE rounds SET cohort = '[1, 2]'")
            connection.commit()
        await store.verdicts("a.py:f")

    with pytest.raises(StoreError, match=r"pcv\.sqlite.*Expected `str`.*move it away"):
        stored(path, edited)


def test_a_missing_folder_and_a_folder_in_the_way(tmp_path):
    assert "No such file or directory" in refusal(str(tmp_path / "missing" / "pcv.sqlite")).message
    assert "is a folder" in refusal(str(tmp_path)).message


def run_script(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


READ_ONLY = """
import asyncio, os, sys
from pcvd.core.errors import StoreError
from pcvd.store import Store
async def touch(path):
    async with Store.open(path):
        pass
folder = sys.argv[1]
asyncio.run(touch(os.path.join(folder, "old.sqlite")))
os.chmod(os.path.join(folder, "old.sqlite"), 0o444)
os.chmod(folder, 0o555)
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write anywhere: be nobody
for name in ("new.sqlite", "old.sqlite"):
    try:
        asyncio.run(touch(os.path.join(folder, name)))
    except StoreError as error:
        print(error)
"""


def test_a_read_only_folder_says_so_for_a_new_and_for_an_old_store():
    # Not under pytest's own folder, which nobody else may enter.
    with tempfile.TemporaryDirectory() as outer:
        Path(outer).chmod(0o755)
        folder = Path(outer) / "project"
        folder.mkdir()
        new, old = run_script(READ_ONLY, str(folder)).splitlines()
        folder.chmod(0o755)
    assert re.search(r"project/new\.sqlite: can't create the database: Permission denied \(.*writable", new)
    assert re.search(r"project/old\.sqlite: .*(readonly|unable to open).*writable", old)


FULL_DISK = """
import asyncio, os, pickle, resource, sys
from pcvd.core.errors import StoreError
from pcvd.store import Store
path = sys.argv[1]
with open(sys.argv[2], "rb") as file:
    small, large = pickle.load(file)
async def main():
    async with Store.open(path) as store:
        await store.record(small)
        room = os.path.getsize(path + "-wal") + 20_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        try:
            await store.record(large)
        except StoreError as error:
            print(error)
        print(len(await store.verdicts("a.py:f")), "before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await store.record(large)
        print(len(await store.verdicts("a.py:f")), "after")
asyncio.run(main())
"""


def test_a_full_disk_loses_that_round_only(path, tmp_path, make):
    many = [f"m.py:f{n}" for n in range(300)]
    rounds = tmp_path / "rounds"
    rounds.write_bytes(pickle.dumps((make.round("a.py:f"), make.round("a.py:f", *many))))
    said, before, after = run_script(FULL_DISK, path, str(rounds)).splitlines()
    assert re.search(r"pcv\.sqlite: SQLite says: (disk I/O error|database or disk is full) \(.*disk", said)
    assert (before, after) == ("1 before", "2 after")


OPEN = """
import asyncio, sys
from pcvd.store import Store
async def touch(path):
    async with Store.open(path):
        pass
sys.stdin.readline()  # all start together
for path in sys.argv[1:]:
    asyncio.run(touch(path))
"""


def test_processes_that_create_one_store_at_once_all_succeed(tmp_path):
    command = [sys.executable, "-c", OPEN, *(str(tmp_path / f"{n}.sqlite") for n in range(15))]
    openers = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    for opener in openers:
        opener.stdin.write(b"go\n")
        opener.stdin.flush()
    assert [opener.communicate()[1].decode() for opener in openers] == [""] * 4
    assert [opener.returncode for opener in openers] == [0] * 4


def test_opening_waits_where_sqlite_itself_does_not(path):
    asyncio.run(touch(path))

    async def open_beside_a_writer() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA journal_mode = DELETE")
            other.execute(
                "BEGIN IMMEDIATE"
            )  # now a switch to WAL is refused at once, whatever the busy timeout
            opening = asyncio.ensure_future(touch(path))
            await asyncio.wait({opening}, timeout=0.2)
            other.execute("COMMIT")
        await opening

    asyncio.run(open_beside_a_writer())


def test_an_opening_that_is_cancelled_while_it_waits_leaves_no_thread(path):
    asyncio.run(touch(path))
    threads = set(threading.enumerate())

    async def cancelled(steps: int) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            opening = asyncio.ensure_future(touch(path))
            for _ in range(steps):
                await asyncio.sleep(0)
            opening.cancel()
            other.execute("ROLLBACK")
        with pytest.raises(asyncio.CancelledError):
            await opening

    for steps in (0, 1, 2, 3, 5, 10, 100):
        asyncio.run(cancelled(steps))
    assert no_others_than(threads)
    asyncio.run(touch(path))
