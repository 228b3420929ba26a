from __future__ import annotations

import contextlib

import pytest

SETTINGS = """
    platform = "cpu"
    schedules = ["serial", "threads:2"]
    timeout_s = 60

    [[target]]
    entry = "models/first.py:model"
    args = ["f32[4]"]

    [[target]]
    entry = "models/second.py:model"
    args = ["f32[4]"]
"""

MODEL = """
    from models.shared import FACTOR

    def model(x):
        return x * FACTOR + {}
"""

FILES = {
    "pcv.toml": SETTINGS,
    "models/shared.py": "FACTOR = 2.0\n",
    "models/first.py": MODEL.format(1.0),
    "models/second.py": "def model(x):\n    return x - 2.0\n",
}


@pytest.fixture(scope="session")
def files():
    """The files of a small project: two targets, one of which imports a module."""
    return dict(FILES)


@pytest.fixture(scope="session")
def settings():
    """The text of its pcv.toml."""
    return SETTINGS


@pytest.fixture(scope="session")
def fresh():
    """Have a daemon judge everything pending; the status, in which all targets are fresh."""

    def wait(project, code=0):
        document = project.json("wait", "--whole", "--timeout", "120", code=code)
        assert [target["target"] for target in document["targets"] if not target["fresh"]] == []
        return document

    return wait


@pytest.fixture(scope="module")
def project(new_project, files, fresh):
    """A small project whose daemon has judged it."""
    made = new_project(files)
    made.start()
    fresh(made)
    yield made
    made.end()


@pytest.fixture(scope="session")
def after():
    """The status documents of a daemon from a save until `holds(document)`, in turn."""

    @contextlib.contextmanager
    def watch(project, holds):
        seen = []
        with project.events() as coming:
            yield seen
            for document in coming:
                seen.append(document)
                if holds(document):
                    return

    return watch
