from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from pcv_config.settings import Settings
from pcvd.core.errors import SetupError
from pcvd.premises import Premises

SETTINGS = Settings("/nowhere", "pcv.toml")


def ask(settings=SETTINGS):
    return {(read.kind, read.name): read.digest for read in asyncio.run(Premises().present(settings))}


@pytest.fixture(scope="module")
def present():
    return ask()


def test_versions_are_the_interpreters_own(present):
    code = "import importlib.metadata as m; print(*(m.version(n) for n in ('jax', 'jaxlib', 'numpy')))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [present["version", name] for name in ("jax", "jaxlib", "numpy")] == told
    assert ("version", "pcv") in present
    assert ("version", "python") in present


def test_the_same_settings_give_the_same(present):
    assert ask() == present


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1}, {"atol": 0.5}, {"schedules": ("serial", "threads:3")}, {"tolerate": ()},
        {"platform": "cpu"}, {"paths": ("src",)}, {"env": {"A": "b"}},
    ],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_settings_that_change_builds_change_it(other, present):
    found = ask(replace(SETTINGS, **other))
    assert {key for key in found if found[key] != present[key]} == {("setting", "settings")}


def test_other_settings_do_not(present):
    assert ask(replace(SETTINGS, timeout_s=1.0, settle_ms=5, watch=("a",), memory_mb=999)) == present


def test_variables_that_steer_xla_change_it(present, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    monkeypatch.setenv("UNRELATED", "1")
    found = ask()
    assert {key for key in found if found[key] != present[key]} == {("setting", "variables")}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity to set")
def test_affinity_changes_it(present):
    mine = os.sched_getaffinity(0)
    if len(mine) < 2:
        pytest.skip("there is one core only")
    os.sched_setaffinity(0, {min(mine)})
    try:
        found = ask()
    finally:
        os.sched_setaffinity(0, mine)
    assert {key for key in found if found[key] != present[key]} == {("setting", "affinity")}


def saying(**versions):
    """An interpreter that answers this, whatever it is asked."""
    said = {"python": "3.11", "jax": "1", "jaxlib": "1", "numpy": "2", **versions}
    return f"#!/bin/sh\necho '{json.dumps({'versions': said, 'folders': []})}'\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot start"),
        ("#!/bin/sh\necho nonsense\nexit 3\n", "exit status 3"),
        ("#!/bin/sh\necho 'no such module' >&2\nexit 1\n", "no such module"),
        (saying(jax=None), "has no JAX"),
        (saying(numpy=None), "has no NumPy"),
        ("#!/bin/sh\necho hello\n", "python"),
    ],
)
def test_an_interpreter_that_cannot_do_the_work_is_named(text, words, tmp_path):
    python = tmp_path / "python"
    if text is not None:
        python.write_text(text)
        python.chmod(0o700)
    with pytest.raises(SetupError, match=words) as caught:
        ask(replace(SETTINGS, python=str(python)))
    assert str(python) in caught.value.message


def test_a_question_that_is_given_up_leaves_no_process(tmp_path, eventually):
    import psutil

    mark = tmp_path / "pid"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $$ > {mark}.new\nmv {mark}.new {mark}\nexec sleep 1000\n")
    python.chmod(0o700)

    async def give_up():
        asking = asyncio.create_task(Premises().present(replace(SETTINGS, python=str(python))))
        await asyncio.to_thread(eventually, mark.exists, "it has begun")
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()

    asyncio.run(give_up())
    gc.collect()  # a pipe that was left open is to show here
    asked = psutil.Process(int(mark.read_text())) if psutil.pid_exists(int(mark.read_text())) else None
    try:
        assert asked is None or asked.status() == psutil.STATUS_ZOMBIE
    finally:
        if asked is not None:
            asked.kill()


def test_an_interpreter_is_asked_again_only_after_something_was_installed(tmp_path):
    packages, asked = tmp_path / "site-packages", tmp_path / "asked"
    packages.mkdir()
    python = tmp_path / "python"
    said = json.dumps({"versions": {"jax": "1", "numpy": "2"}, "folders": [str(packages)]})
    python.write_text(f"#!/bin/sh\necho >>{asked}\necho '{said}'\n")
    python.chmod(0o700)
    known, settings = Premises(), replace(SETTINGS, python=str(python))

    def ask_again():
        asyncio.run(known.present(settings))
        return len(asked.read_text())

    assert [ask_again(), ask_again()] == [1, 1]
    (packages / "flax-0.12.dist-info").mkdir()
    assert known.touched(str(python))
    assert [ask_again(), ask_again()] == [2, 2]
    assert not known.touched(str(python))
