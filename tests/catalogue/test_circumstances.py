"""Rows of the catalogue that are made of more than a model: cores, devices, caches, and saves while a build
runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
some_cores = pytest.mark.skipif(len(CORES) < 2, reason="there is one core only, or none that can be chosen")

# A user's own script, with JAX's own cache: it prints the optimized program that it got.
SCRIPT = """
import hashlib, jax
from core_count import attention
x = jax.ShapeDtypeStruct((256, 512), "float32")
print(hashlib.sha256(jax.jit(attention).lower(x, x).compile().as_text().encode()).hexdigest())
"""


@contextlib.contextmanager
def on_one_core():
    """Whatever is started meanwhile may use one core."""
    os.sched_setaffinity(0, CORES[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


@pytest.fixture(scope="module")
def spread(lay_out):
    """A project whose program XLA splits among the cores it may use."""
    return lay_out("core_count.py")


@pytest.fixture(scope="module")
def on_all(spread, found):
    """What comes of it on all cores."""
    return found(spread)["core_count.py:attention"]


@some_cores
def test_cores_change_the_program_and_never_a_verdict(spread, on_all, found):
    """Row 8. All builds of a round have the same cores, so what depends on them agrees."""
    with on_one_core():
        alone = found(spread)["core_count.py:attention"]
    for target, cores in ((on_all, CORES), (alone, CORES[:1])):
        assert target["verdict"] == "agree", target["reason"]
        assert {tuple(one["affinity"]) for one in target["evidence"]["schedules"].values()} == {tuple(cores)}
    assert alone["stages"]["stablehlo"] == on_all["stages"]["stablehlo"]
    assert alone["stages"]["hlo"]["serial"] != on_all["stages"]["hlo"]["serial"]


@some_cores
def test_cores_are_named_when_they_are_asked_for(spread, on_all, assert_cause):
    target = spread.json("explain", "core_count.py:attention", "--vary", "affinity")
    assert target["verdict"] == "agree"
    (tried,) = target["evidence"]["variations"]
    assert tried["variation"] == "affinity"
    assert tried["differs"] == tried["builds"] > 0
    assert tried["first_stage"] == "hlo"
    assert_cause(target, {None})


def test_devices_that_come_too_late(lay_out, found):
    """Row 9, as it is mostly met: a model that wants other devices than its neighbours have got."""
    target = found(lay_out("device_count.py"))["device_count.py:spread"]
    assert target["verdict"] == "inconclusive"
    assert "XLA_FLAGS" in target["reason"]
    assert "[env]" in target["failure"]["hint"]
    assert target["cause"] is None


def test_devices_that_all_builds_have(lay_out, found):
    settings = '[env]\nXLA_FLAGS = "--xla_force_host_platform_device_count=8"\n'
    target = found(lay_out("sharded.py", settings=settings))["sharded.py:total"]
    assert target["verdict"] in {"agree", "equivalent"}, target["reason"]
    assert target["output"]["bitwise"]


@some_cores
def test_unlike_environments(lay_out, found):
    """Row 9 in general: builds that ran under other circumstances are not compared."""
    target = found(lay_out("pinned.py"))["pinned.py:model"]
    assert target["verdict"] == "inconclusive"
    assert target["reason"].startswith("environments are unlike: affinity is [")
    assert target["cause"] is None


@some_cores
def test_a_cache_that_was_filled_elsewhere(lay_out, on_all, found, tmp_path):
    """Row 15. JAX's own cache does not tell one core's programs from two cores': it must stay out of it."""
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    settings = "[env]\n" + "".join(f'{name} = "{value}"\n' for name, value in cache.items())
    project = lay_out("core_count.py", settings=settings)

    def compiled(**env):
        """The program that a script gets."""
        return subprocess.run(
            [sys.executable, "-c", SCRIPT], cwd=project.root, capture_output=True, text=True, check=True,
            env={**project.env, "JAX_PLATFORMS": "cpu", **env},
        ).stdout  # fmt: skip

    with on_one_core():
        filled = compiled(**cache)
    assert compiled() != filled
    assert compiled(**cache) == filled  # on two cores, a program for one
    entries = sorted(path.name for path in tmp_path.iterdir())
    target = found(project)["core_count.py:attention"]
    assert target["verdict"] == "agree", target["reason"]
    assert target["stages"]["hlo"] == on_all["stages"]["hlo"]
    assert sorted(path.name for path in tmp_path.iterdir()) == entries


def test_a_file_that_is_edited_while_it_is_built(lay_out, eventually):
    """Row 20. What was built from two versions of a file is no evidence, and is built again."""
    project = lay_out("edited.py")
    process = project.begin(
        "check", "--no-daemon", "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        eventually(lambda: project.path("tracing").exists() or process.poll() is not None, "it is traced")
        path = project.path("edited.py")
        path.write_text(path.read_text(encoding="utf-8").replace("x + 1.0", "x + 2.0"), encoding="utf-8")
        project.path("done").touch()
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    (target,) = json.loads(output)["targets"]
    assert (process.returncode, target["verdict"], target["fresh"]) == (0, "agree", True), target["reason"]
    lines = project.path(".pcv", "check.log").read_text(encoding="utf-8").splitlines()
    judged = [one for one in map(json.loads, lines) if one["event"] == "judged"]
    assert [one["verdict"] for one in judged] == ["inconclusive", "agree"]
    assert judged[0]["reason"].endswith("edited.py changed while it was built; it is built again")
    assert project.rounds()[-1][1] == ["edited.py:model"]
    assert project.query("SELECT verdict FROM verdicts") == [("agree",)]
