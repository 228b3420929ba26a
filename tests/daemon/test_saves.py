"""One daemon, and what saves do to its verdicts."""

from __future__ import annotations

import json

import pytest

FIRST, SECOND = "models/first.py:model", "models/second.py:model"


@pytest.fixture(scope="module")
def project(new_project, files, fresh):
    made = new_project(files)
    made.start()
    document = fresh(made)
    assert {one["target"]: one["verdict"] for one in document["targets"]} == {FIRST: "agree", SECOND: "agree"}
    yield made
    made.end()


def target(document, entry):
    return next(one for one in document["targets"] if one["target"] == entry)


def settled(document):
    return document["daemon"]["state"] == "idle" and all(one["fresh"] for one in document["targets"])


def cohorts(project):
    return [cohort for _, cohort in project.rounds()]


def test_a_save_turns_the_verdict_stale_and_back(project, after):
    rounds = cohorts(project)
    with after(project, lambda one: settled(one) and len(cohorts(project)) > len(rounds)) as seen:
        project.write("models/second.py", "def model(x):\n    return x - 3.0\n")
    stale = [one for one in seen if not target(one, SECOND)["fresh"]]
    assert stale
    assert {target(one, SECOND)["state"] for one in stale} >= {"building"}
    assert all(target(one, FIRST)["fresh"] for one in seen)  # nobody touched it
    assert cohorts(project)[len(rounds) :] == [[SECOND]]
    assert target(seen[-1], SECOND)["verdict"] == "agree"


def test_a_module_concerns_whoever_imported_it(project, after):
    rounds = cohorts(project)
    with after(project, lambda one: settled(one) and len(cohorts(project)) > len(rounds)):
        project.write("models/shared.py", "FACTOR = 4.0\n")
    assert project.rounds()[len(rounds) :][0][1] == [FIRST]
    assert "models/shared.py was saved" in project.rounds()[-1][0]


def test_editors_that_rename_over_the_file_are_noticed(project, after):
    rounds = cohorts(project)
    with after(project, lambda one: settled(one) and len(cohorts(project)) > len(rounds)) as seen:
        project.rename_over("models/first.py", "def model(x):\n    return x * 5.0\n")
    assert any(not target(one, FIRST)["fresh"] for one in seen)
    assert cohorts(project)[len(rounds) :] == [[FIRST]]


def test_what_nobody_read_builds_nothing(project, after, fresh):
    # The last save is one that counts: by then the daemon has seen those before it.
    rounds, orders = len(cohorts(project)), len(project.log("validating"))
    project.write("notes.txt", "nothing to do with it\n")
    project.write("models/unrelated.py", "X = 1\n")
    project.write("models/shared.py", "FACTOR = 6.0\n")  # nobody imports it any more
    project.write("models/second.py", project.path("models/second.py").read_text())  # saved as it was
    with after(project, lambda one: settled(one) and len(cohorts(project)) > rounds):
        project.write("models/first.py", "def model(x):\n    return x * 7.0\n")
    assert cohorts(project)[rounds:] == [[FIRST]]
    orders = project.log("validating")[orders:]
    assert [(one["targets"], one["whole"]) for one in orders] == [([FIRST], False), ([FIRST], True)]


def test_a_broken_save_is_inconclusive_until_it_is_mended(project, after):
    with after(
        project, lambda one: target(one, SECOND)["verdict"] == "inconclusive" and settled(one)
    ) as seen:
        project.write("models/second.py", "def model(x):\n    return x -\n")
    broken = target(seen[-1], SECOND)
    assert broken["reason"].startswith("models/second.py:2: SyntaxError")
    assert (broken["failure"]["file"], broken["failure"]["line"]) == ("models/second.py", 2)
    assert project.pcvctl("status").returncode == 3
    with after(project, lambda one: target(one, SECOND)["verdict"] == "agree" and settled(one)):
        project.write("models/second.py", "def model(x):\n    return x - 4.0\n")
    assert project.pcvctl("status").returncode == 0


def test_a_deleted_model_is_inconclusive_until_it_is_back(project, after):
    path = project.path("models", "second.py")
    with after(
        project, lambda one: target(one, SECOND)["verdict"] == "inconclusive" and settled(one)
    ) as seen:
        path.unlink()
    assert "there is no file models/second.py" in target(seen[-1], SECOND)["reason"]
    with after(project, lambda one: target(one, SECOND)["verdict"] == "agree" and settled(one)):
        project.write("models/second.py", "def model(x):\n    return x - 5.0\n")


def test_a_divergence_shows_and_goes_with_its_cause(project, after):
    with after(project, lambda one: target(one, SECOND)["verdict"] == "diverged" and settled(one)) as seen:
        project.write(
            "models/second.py",
            """
            import threading

            def model(x):
                main = threading.current_thread() is threading.main_thread()
                return x - (5.0 if main else 5.5)
            """,
        )
    assert target(seen[-1], SECOND)["first_stage"] == "jaxpr"
    assert project.pcvctl("status").returncode == 1
    assert "diverged" in project.pcvctl("status").stdout
    with after(project, lambda one: target(one, SECOND)["verdict"] == "agree" and settled(one)):
        project.write("models/second.py", "def model(x):\n    return x - 6.0\n")
    assert project.pcvctl("status").returncode == 0


def test_a_target_declared_in_code_comes_and_goes(project, after):
    names = lambda one: {each["target"] for each in one["targets"]}  # noqa: E731
    third = "models/third.py:cube"
    with after(project, lambda one: third in names(one) and settled(one)) as seen:
        project.write(
            "models/third.py", "import pcv\n\n@pcv.target('f32[3]')\ndef cube(x):\n    return x ** 3\n"
        )
    assert target(seen[-1], third)["verdict"] == "agree"
    with after(project, lambda one: "models/third.py:square" in names(one) and settled(one)) as seen:
        project.write(
            "models/third.py", "import pcv\n\n@pcv.target('f32[3]')\ndef square(x):\n    return x ** 2\n"
        )
    assert third not in names(seen[-1])
    with after(project, lambda one: names(one) == {FIRST, SECOND}):
        project.path("models", "third.py").unlink()


def test_a_declaring_file_that_breaks_is_a_problem_with_its_line(project, after):
    with after(project, lambda one: one["problems"] and one["daemon"]["state"] == "idle") as seen:
        project.write("models/fourth.py", "import pcv\n\n@pcv.target('f32[3'\ndef cube(x):\n    return x\n")
    (problem,) = seen[-1]["problems"]
    assert (problem["file"], problem["line"]) == ("models/fourth.py", 3)
    assert project.pcvctl("status").returncode == 3
    assert "models/fourth.py:3" in project.pcvctl("status").stdout
    with after(project, lambda one: not one["problems"]):
        project.path("models", "fourth.py").unlink()


def test_a_file_that_was_looked_for_in_vain_counts_when_it_comes(project, after):
    rounds = len(cohorts(project))
    with after(project, lambda one: settled(one) and len(cohorts(project)) > rounds):
        project.write(
            "models/second.py",
            """
            import os
            PATH = os.path.join(os.path.dirname(__file__), "override.txt")

            def model(x):
                try:
                    return x - float(open(PATH).read())
                except FileNotFoundError:
                    return x
            """,
        )
    rounds = len(cohorts(project))
    with after(project, lambda one: settled(one) and len(cohorts(project)) > rounds):
        project.write("models/override.txt", "1.5")
    assert cohorts(project)[rounds:] == [[SECOND]]
    assert "models/override.txt was saved" in project.rounds()[-1][0]


def test_a_module_that_could_not_be_imported_counts_when_it_comes(project, after):
    rounds = len(cohorts(project))
    with after(project, lambda one: settled(one) and len(cohorts(project)) > rounds):
        project.write(
            "models/second.py",
            """
            try:
                from models.extra import AMOUNT
            except ImportError:
                AMOUNT = 1.0

            def model(x):
                return x - AMOUNT
            """,
        )
    rounds = len(cohorts(project))
    project.write("models/extra.py", "AMOUNT = 2.0\n")
    with after(project, lambda one: settled(one) and len(cohorts(project)) > rounds):
        project.write("models/first.py", "def model(x):\n    return x * 8.0\n")  # by then it has seen both
    assert SECOND in {entry for cohort in cohorts(project)[rounds:] for entry in cohort}


def test_recheck_builds_what_has_not_changed(project):
    rounds = len(cohorts(project))
    document = project.json("recheck", SECOND, code=0)
    assert [one["target"] for one in document["targets"]] == [SECOND]
    assert project.rounds()[rounds:] == [("asked for", [SECOND])]
    assert target(document, SECOND)["evidence"]["rounds"] >= 2


def test_check_goes_through_the_daemon(project):
    rounds = len(cohorts(project))
    document = project.json("check", code=0)
    assert document["daemon"]["pid"] == project.started[0].pid
    assert cohorts(project)[rounds:] == [[FIRST, SECOND]]


def test_status_answers_while_builds_run(project, after):
    gate = str(project.path("gate"))
    with after(project, lambda one: target(one, SECOND)["state"] == "building"):
        project.write(
            "models/second.py",
            f"""
            import os, time

            def model(x):
                open({gate!r} + ".waits", "w").close()
                while not os.path.exists({gate!r}):
                    time.sleep(0.01)
                return x - 7.0
            """,
        )
    status = project.json("status", code=3)
    assert status["daemon"]["state"] == "busy"
    assert [(one["state"], one["fresh"]) for one in status["targets"]] == [
        ("idle", True),
        ("building", False),
    ]
    assert project.pcvctl("wait", "--timeout", "0").returncode == 6
    assert project.pcvctl("recheck", FIRST, "--no-wait").returncode == 4
    assert [one["state"] for one in project.json("status")["targets"]] == ["queued", "building"]
    project.write("gate", "")
    document = project.json("wait", "--timeout", "120", code=0)
    assert [one["state"] for one in document["targets"]] == ["idle", "idle"]


def test_a_save_during_a_build_makes_it_pointless_and_it_is_built_again(project, after, eventually):
    waits = project.path("gate.waits")
    waits.unlink()
    project.path("gate").unlink()
    rounds = len(cohorts(project))
    assert project.pcvctl("recheck", SECOND, "--no-wait").returncode == 4
    eventually(waits.exists, "the build is under way")
    given_up = len(project.log("abandoned"))
    with after(project, lambda one: target(one, SECOND)["verdict"] == "agree" and settled(one)):
        project.write("models/second.py", "def model(x):\n    return x - 8.0\n")
    assert len(project.log("abandoned")) == given_up + 1
    assert cohorts(project)[rounds:] == [[SECOND]]  # what was given up is not recorded


def test_the_status_files_hold_what_the_daemon_says(project, fresh):
    document = fresh(project)
    written = json.loads(project.path(".pcv", "status.json").read_text())
    assert written["targets"] == document["targets"]
    assert FIRST in project.path(".pcv", "status.txt").read_text()


def test_the_log_tells_what_happened(project):
    shown = project.pcvctl("logs", "-n", "1000")
    assert shown.returncode == 0
    assert "saved" in shown.stdout
    assert "judged" in shown.stdout
    assert project.log("started")[0]["pid"] == project.started[0].pid
