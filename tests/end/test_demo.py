"""`pcvctl demo`, as a newcomer runs it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def tour(new_project):
    """The demo in a folder of its own: the finished command."""
    project = new_project()
    folder = str(project.path("demo"))
    ended = project.pcvctl("demo", folder, COLUMNS="140")
    ended.folder = folder
    return ended


def test_it_ends_well(tour):
    assert tour.returncode == 0, tour.stdout + tour.stderr
    assert "Traceback" not in tour.stderr


def test_every_schedule_has_its_line(tour):
    rows = {line.split()[0]: line for line in tour.stdout.splitlines() if line.strip()}
    for schedule in ("serial", "control", "threads:1", "threads:2", "threads:4", "processes:2"):
        assert schedule in rows
        if schedule != "serial":
            assert "same bytes" in rows[schedule]
    assert rows["threads:4"].split()[-1] == "4"  # the peak


def test_the_edit_turned_stale_and_came_back(tour):
    assert "LEARNING_RATE = 0.02" in tour.stdout
    assert tour.stdout.index("stale") < tour.stdout.rindex("agree")
    assert "The daemon is stopped." in tour.stdout


def test_the_project_is_kept_where_it_was_asked_for(tour):
    assert "LEARNING_RATE = 0.02" in Path(tour.folder, "models", "mlp.py").read_text()
    assert f"The project is in {tour.folder}" in tour.stdout


def test_a_folder_with_something_in_it_is_left_alone(tour, new_project):
    ended = new_project().pcvctl("demo", tour.folder)
    assert ended.returncode == 2
    assert "not empty" in ended.stderr
