from __future__ import annotations

import shutil
from pathlib import Path

import pytest

MODELS = Path(__file__).parent / "models"


@pytest.fixture(scope="session")
def assert_cause():
    """Assert that a target's cause is of one of the kinds; None stands for no cause at all."""

    def check(target, kinds):
        kind = target["cause"]["kind"] if target["cause"] else None
        assert kind in kinds, target["cause"]

    return check


@pytest.fixture(scope="session")
def line_of():
    """The number of the one line of a model that holds a text."""

    def find(model, text):
        lines = (MODELS / model).read_text(encoding="utf-8").splitlines()
        (found,) = [number for number, line in enumerate(lines, 1) if text in line]
        return found

    return find


@pytest.fixture(scope="session")
def lay_out(new_project):
    """Make a project of some of the models, with settings beside the usual ones."""

    def make(*models, settings="", schedules='["serial", "threads:2"]'):
        text = f'platform = "cpu"\nschedules = {schedules}\n{settings}'
        project = new_project({"pcv.toml": text})
        for model in models:
            shutil.copy(MODELS / model, project.path(model))
        return project

    return make


@pytest.fixture(scope="session")
def found():
    """What `pcvctl check` says of a project: target → its entry in the status JSON."""

    def check(project, *targets):
        document = project.json("check", "--no-daemon", *targets)
        assert document["problems"] == []
        return {one["target"]: one for one in document["targets"]}

    return check
