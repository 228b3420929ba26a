"""Early cutoff: a save that leaves the programs as they were builds nothing, and any other does. And saves of
files that have other names, or that are being built for the first time.
"""

from __future__ import annotations

import json

import pytest
from crowds import CROWD

OPTIONS = """
import functools
import jax
import jax.numpy as jnp
import pcv

LEVEL = 3
LOW = False
jax.config.update("jax_disable_most_optimizations", LOW)

@pcv.target("f32[64]")
@functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": LEVEL})
def model(x):
    return jnp.sin(jnp.cumsum(x * 3) + jnp.tanh(x))
"""
CALLING = """
import jax
import numpy as np
import pcv

FACTOR = 1

def host(x):
    return np.float32(x * FACTOR)

@pcv.target("f32[4]")
def model(x):
    return jax.pure_callback(host, jax.ShapeDtypeStruct((4,), np.float32), x)
"""
PLAIN = """
import pcv

@pcv.target("f32[4]")
def model(x):
    return x * 2.0
"""
CROWDED = f"""{CROWD}
import pathlib
import pcv

@pcv.target("f32[4]")
def model(x):
    return x * (2.0 if crowd() < 3 else 3.0)
"""
READING = CROWDED.replace("else 3.0", "else float(pathlib.Path(__file__).with_name('data.txt').read_text())")
LOST = """
import os

def lost():
    try:
        os.mkdir({})
    except FileExistsError:
        return False
    return True
"""
SLOW = """
import time
import pcv

@pcv.target("f32[4]")
def model(x):
    time.sleep(SECONDS)
    return x
"""
SETTINGS = 'platform = "cpu"\nschedules = ["serial", "threads:2"]\nsoak = false\n'


@pytest.fixture
def started(new_project, fresh):
    def start(**files):
        project = new_project({"pcv.toml": SETTINGS, **{f"{name}.py": text for name, text in files.items()}})
        project.start()
        fresh(project)
        return project

    return start


def judged(project, fresh, name="model"):
    """How often a target was judged anew, once everything saved has been judged."""
    fresh(project)
    return len([one for one in project.rounds() if f"{name}.py:model" in one[1]])


@pytest.mark.parametrize(
    ("before", "after"), [("LEVEL = 3", "LEVEL = 0"), ("LOW = False", "LOW = True"), ("x * 3", "x * 4")]
)
def test_what_the_compiler_is_told_is_part_of_the_program(started, fresh, before, after):
    project = started(model=OPTIONS)
    rounds = judged(project, fresh)
    project.write("model.py", "# a comment changes nothing\n" + OPTIONS)
    assert judged(project, fresh) == rounds
    project.write("model.py", OPTIONS.replace(before, after))
    assert judged(project, fresh) == rounds + 1


def test_a_difference_that_another_schedule_showed_goes_with_its_cause(new_project, fresh):
    """To the first tier, the program is the same before and afterwards; the second one sees what threads:4
    makes of it.
    """
    settings = SETTINGS.replace('"threads:2"', '"threads:2", "threads:4"')
    project = new_project({"pcv.toml": settings, "model.py": PLAIN})
    project.start()
    fresh(project)
    project.write("model.py", CROWDED)
    assert project.pcvctl("wait", "--whole").returncode == 1
    (row,) = fresh(project, code=1)["targets"]
    assert (row["verdict"], row["first_stage"]) == ("diverged", "jaxpr")
    assert row["evidence"]["schedules"]["threads:2"]["differing_stages"] == []
    project.write("model.py", PLAIN)
    (row,) = fresh(project)["targets"]
    assert row["verdict"] == "agree"


def test_what_another_schedule_made_once_is_not_forgotten(new_project, fresh, tmp_path):
    """A race that is lost once: in the round after it everything agrees."""
    settings = SETTINGS.replace('"threads:2"', '"threads:2", "threads:4"')
    project = new_project({"pcv.toml": settings, "model.py": PLAIN})
    project.start()
    fresh(project)
    lost = tmp_path / "lost"
    project.write("model.py", CROWDED.replace("< 3", "< 3 or not lost()") + LOST.format(repr(str(lost))))
    (row,) = fresh(project)["targets"]
    assert lost.exists()
    assert row["verdict"] == "agree"
    assert (row["evidence"]["rounds"], row["evidence"]["agreed"]) == (4, 3)
    assert "It agreed in 3 of 4 rounds" in project.pcvctl("status").stdout


def test_a_comment_leaves_what_only_another_schedule_reads_to_be_watched(new_project, fresh):
    settings = SETTINGS.replace('"threads:2"', '"threads:2", "threads:4"')
    project = new_project({"pcv.toml": settings, "data.txt": "2.0", "model.py": READING})
    project.start()
    assert {one["verdict"] for one in fresh(project)["targets"]} == {"agree"}
    project.write("model.py", READING + "# a comment\n")
    assert {one["verdict"] for one in fresh(project)["targets"]} == {"agree"}
    project.write("data.txt", "3.0")
    (row,) = fresh(project, code=1)["targets"]
    assert (row["verdict"], row["first_stage"]) == ("diverged", "jaxpr")


def test_what_is_confirmed_is_traced_under_every_schedule_and_compiled_under_none(new_project, fresh):
    project = new_project({"pcv.toml": 'platform = "cpu"\nsoak = false\n', "model.py": PLAIN})
    project.start()
    assert project.pcvctl("wait", "--whole").returncode == 0
    rounds = judged(project, fresh)
    project.write("helper.py", "FACTOR = 2.0\n")
    project.write("model.py", "from helper import FACTOR\n" + PLAIN.replace("2.0", "FACTOR"))
    assert project.pcvctl("wait", "--whole").returncode == 0
    assert judged(project, fresh) == rounds
    (row,) = fresh(project)["targets"]
    assert "untraced" not in row["evidence"]
    log = [json.loads(line) for line in project.path(".pcv/pcvd.log").read_text().splitlines()]
    begun = max(place for place, one in enumerate(log) if one["event"] == "validating")
    traced = {one["schedule"]: one["builds"] for one in log[begun:] if one["event"] == "built"}
    assert traced == {"serial": 0, "threads:2": 0, "threads:4": 0, "processes:2": 0}
    project.write("helper.py", "FACTOR = 4.0 / 2.0\n")
    fresh(project)
    project.write("helper.py", "FACTOR = 3.0\n")
    assert judged(project, fresh) == rounds + 1


def test_what_calls_back_is_always_built(started, fresh):
    project = started(model=CALLING)
    rounds = judged(project, fresh)
    project.write("model.py", CALLING.replace("FACTOR = 1", "FACTOR = 2"))
    assert judged(project, fresh) == rounds + 1


def test_a_file_behind_a_link_is_looked_at_before_anybody_is_told(started, fresh, tmp_path):
    real = tmp_path / "elsewhere.py"
    text = "import pcv\n\n@pcv.target('f32[4]')\ndef model(x):\n    return x * 2.0\n"
    real.write_text(text)
    project = started(other=text)
    project.path("linked.py").symlink_to(real)
    rounds = judged(project, fresh, "linked")
    assert rounds == 1
    for factor in range(3, 6):
        real.write_text(text.replace("2.0", f"{factor}.0"))
        rounds += 1
        assert judged(project, fresh, "linked") == rounds
    (row,) = json.loads(project.pcvctl("status", "--json", "linked.py:model").stdout)["targets"]
    assert row["fresh"]


def test_a_target_that_is_built_for_the_first_time_can_be_saved_again(started, fresh, eventually):
    project = started(other="import pcv\n\n@pcv.target('f32[4]')\ndef model(x):\n    return x\n")
    project.write("slow.py", SLOW.replace("SECONDS", "200"))

    def building():
        rows = project.json("status")["targets"]
        return any(one["target"] == "slow.py:model" and one["state"] == "building" for one in rows)

    eventually(building, "it is being built")
    project.write("slow.py", SLOW.replace("SECONDS", "0"))
    assert judged(project, fresh, "slow") == 1
    project.write("slow.py", SLOW.replace("SECONDS", "201"))
    eventually(building, "it is being built again")
    project.path("slow.py").unlink()
    assert [one["target"] for one in fresh(project)["targets"]] == ["other.py:model"]
