"""`.pcv/` removed under a running daemon: it begins anew, and never shows what is recorded no longer."""

from __future__ import annotations

import json
import shutil
import threading

FIRST, SECOND = "models/first.py:model", "models/second.py:model"


def test_removed_records_are_not_shown_and_made_again(project, fresh):
    assert project.rounds() == [("new", [FIRST, SECOND])]
    shutil.rmtree(project.path(".pcv"))
    document = project.json("status", code=3)
    assert not any(one["fresh"] for one in document["targets"])
    assert document["daemon"]["pid"] == project.started[0].pid
    fresh(project)
    assert project.rounds() == [("new", [FIRST, SECOND])]
    assert json.loads(project.path(".pcv", "status.json").read_text())["summary"]["stale"] == 0
    assert [one["folder"] for one in project.log("the records were removed: beginning anew")] == [
        str(project.path(".pcv"))
    ]


def test_a_check_right_after_is_a_round_that_is_recorded(project):
    shutil.rmtree(project.path(".pcv"))
    document = project.json("check", code=0)
    assert [one["fresh"] for one in document["targets"]] == [True, True]
    assert {entry for _, cohort in project.rounds() for entry in cohort} == {FIRST, SECOND}


def test_whoever_waits_meanwhile_is_answered(project, after, fresh):
    answers = []
    with after(project, lambda one: any(each["state"] == "building" for each in one["targets"])):
        project.write("models/second.py", "import time\n\ndef model(x):\n    time.sleep(1)\n    return x\n")
    waiting = threading.Thread(target=lambda: answers.append(project.pcvctl("wait", "--json")))
    waiting.start()
    shutil.rmtree(project.path(".pcv"))
    waiting.join()
    (ended,) = answers
    assert ended.returncode == 0, ended.stderr
    assert {one["checked_at"] for one in json.loads(ended.stdout)["targets"]} == {
        checked_at for (checked_at,) in project.query("SELECT checked_at FROM verdicts")
    }


def test_another_database_in_its_place_is_read(project, fresh, tmp_path):
    project.pcvctl("stop")
    kept = shutil.copytree(project.path(".pcv"), tmp_path / "kept")
    project.start()
    project.write("models/second.py", "def model(x):\n    return x - 5.0\n")
    fresh(project)
    shutil.rmtree(project.path(".pcv"))
    shutil.copytree(kept, project.path(".pcv"))
    fresh(project)
    assert project.rounds()[-1] == ("models/second.py changed since it was judged", [SECOND])


def test_it_stops_in_order_right_after(project):
    shutil.rmtree(project.path(".pcv"))
    ended = project.pcvctl("stop")
    assert ended.returncode == 0, ended.stderr
    assert project.pcvctl("stop").returncode == 2


def test_a_project_that_is_gone_altogether_ends_its_daemon(new_project, files, eventually):
    made = new_project(files)
    daemon = made.start()
    shutil.rmtree(made.root)
    eventually(lambda: not daemon.is_running() or daemon.status() == "zombie", "the daemon has ended")
    made.path().mkdir()  # for what is to be run there yet, to end it
