"""One daemon, and saves of nothing but comments: verdicts stand at once, and are confirmed by tracing."""

from __future__ import annotations

import pytest

SETTINGS = 'platform = "cpu"\nschedules = ["serial", "threads:2"]\nsoak = false\n'
PLAIN = """
import pcv

@pcv.target("f32[4]")
def model(x):
    return x * 2.0  # twice
"""
# What each of these computes depends on more than its code.
LINES = """
import sys
import pcv

LINE = sys._getframe().f_lineno

@pcv.target("f32[4]")
def model(x):
    return x * LINE
"""
QUOTING = """
import inspect
import pcv

def inner(x):
    return x + 1.0

@pcv.target("f32[4]")
def model(x):
    return inner(x) * len(inspect.getsource(inner))
"""
FILES = {"pcv.toml": SETTINGS, "plain.py": PLAIN, "lines.py": LINES, "quoting.py": QUOTING}


@pytest.fixture(scope="module")
def files():
    return FILES


def target(document, name):
    return next(one for one in document["targets"] if one["target"] == f"{name}.py:model")


def judged(project, name):
    return [cohort for _, cohort in project.rounds()].count([f"{name}.py:model"])


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("# twice", "# two times"),
        lambda text: f"# a line more\n{text}",
        lambda text: text.replace("x * 2.0", "(x\n        * 2.00)"),
        lambda text: text.replace("\n\n", "\n\n\n"),
    ],
)
def test_a_comment_turns_nothing_stale_and_is_confirmed(project, fresh, after, edit):
    before = fresh(project)
    rounds, text = project.rounds(), project.path("plain.py").read_text()
    checked = target(before, "plain")["checked_at"]
    with after(project, lambda one: target(one, "plain")["checked_at"] != checked) as seen:
        project.write("plain.py", edit(text))
    assert all(target(one, "plain")["fresh"] for one in seen)
    assert all(target(one, "plain")["state"] == "idle" for one in seen)
    assert not all(target(one, "plain")["confirmed"] for one in seen)
    assert target(seen[-1], "plain")["confirmed"]
    assert fresh(project)["summary"] == before["summary"]
    assert project.rounds() == rounds


def test_a_program_that_knows_its_lines_is_judged_anew(project, fresh):
    rounds = judged(project, "lines")
    project.write("lines.py", f"# a line more\n{LINES}")
    project.json("wait")
    assert judged(project, "lines") > rounds


def test_a_program_that_reads_its_text_is_stale_at_once(project, fresh, after):
    rounds = judged(project, "quoting")
    with after(project, lambda one: not target(one, "quoting")["fresh"]):
        project.write("quoting.py", QUOTING.replace("x + 1.0", "x + 1.0  # one more"))
    fresh(project)
    assert judged(project, "quoting") > rounds


def test_what_was_confirmed_is_fresh_in_another_life(project, fresh):
    project.write("plain.py", f"# nothing\n{PLAIN}")
    fresh(project)
    rounds = project.rounds()
    project.pcvctl("restart")
    fresh(project)
    assert project.rounds() == rounds
