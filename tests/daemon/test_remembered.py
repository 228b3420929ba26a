"""What model files declare is remembered: a daemon that starts again asks those that may have changed."""

from __future__ import annotations

import json

import pytest

SETTINGS = 'platform = "cpu"\nschedules = ["serial", "threads:2"]\nsoak = false\n'
SHAPES = "WIDE = 4\n"
SHAPED = """
import pcv
from shapes import WIDE

@pcv.target(f"f32[{WIDE}]")
def model(x):
    return x * 2.0
"""
PLAIN = """
import pcv

@pcv.target("f32[4]")
def model(x):
    return x + 1.0
"""
OPTIONAL = """
import pathlib
import pcv

if pathlib.Path(__file__).with_name("second.txt").exists():
    @pcv.target("f32[4]")
    def second(x):
        return x - 1.0

@pcv.target("f32[4]")
def first(x):
    return x - 2.0
"""
FILES = {
    "pcv.toml": SETTINGS,
    "shapes.py": SHAPES,
    "shaped.py": SHAPED,
    "plain.py": PLAIN,
    "optional.py": OPTIONAL,
}
TARGETS = {"shaped.py:model", "plain.py:model", "optional.py:first"}


@pytest.fixture(scope="module")
def files():
    return FILES


@pytest.fixture
def again(project, fresh):
    """Start the daemon again; which files it asks for their targets, and what stands in the end."""

    def start(edit=lambda: None):
        project.pcvctl("stop")
        edit()
        log = project.path(".pcv/pcvd.log")
        before = len(log.read_bytes())
        project.start()
        document = fresh(project)
        events = [json.loads(line) for line in log.read_bytes()[before:].splitlines()]
        asked = {file for one in events if one["event"] == "discovering" for file in one["files"]}
        return asked, {one["target"] for one in document["targets"]}

    return start


def test_what_has_not_changed_is_not_asked(again):
    assert again() == (set(), TARGETS)


def test_what_imports_a_file_is_asked_when_that_changed(project, again):
    assert again(lambda: project.write("shapes.py", "WIDE = 8\n")) == ({"shaped.py"}, TARGETS)
    assert again() == (set(), TARGETS)


def test_what_looked_for_a_file_is_asked_when_that_has_come(project, again):
    more = {*TARGETS, "optional.py:second"}
    assert again(lambda: project.write("second.txt", "")) == ({"optional.py"}, more)
    assert again() == (set(), more)
    assert again(project.path("second.txt").unlink) == ({"optional.py"}, TARGETS)


def test_files_come_and_go(project, again):
    assert again(lambda: project.write("late.py", PLAIN)) == ({"late.py"}, {*TARGETS, "late.py:model"})
    assert again(project.path("late.py").unlink) == (set(), TARGETS)
    # Whatever it may have been meanwhile, it is asked again.
    assert again(lambda: project.write("late.py", PLAIN)) == ({"late.py"}, {*TARGETS, "late.py:model"})
    assert again(project.path("late.py").unlink) == (set(), TARGETS)


def test_what_depends_on_all_settings_is_asked_when_they_change(project, again):
    everybody = {"shaped.py", "plain.py", "optional.py"}
    assert again(lambda: project.write("pcv.toml", f"seed = 7\n{SETTINGS}")) == (everybody, TARGETS)


def test_what_files_held_is_remembered_and_not_read_again(project, again):
    """It is told a lie, which nobody would believe who reads the file."""
    shapes, remembered = str(project.path("shapes.py")), project.path(".pcv", "files.json")

    def lie():
        document = json.loads(remembered.read_text())
        assert document["files"][shapes][2] is False
        document["files"][shapes][2] = True
        remembered.write_text(json.dumps(document))

    assert again() == (set(), TARGETS)
    assert again(lie) == ({"shapes.py"}, TARGETS)
    assert again(remembered.unlink) == (set(), TARGETS)


def test_what_could_not_be_imported_is_asked_again(project, again, after):
    project.pcvctl("stop")
    project.write("plain.py", f"import nowhere\n{PLAIN}")
    project.start()
    with after(project, lambda one: one["problems"]):
        pass
    assert again(lambda: project.write("plain.py", PLAIN)) == ({"plain.py"}, TARGETS)
