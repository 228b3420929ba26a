"""One daemon, and what edits of its settings do."""

from __future__ import annotations

import pytest

FIRST, SECOND = "models/first.py:model", "models/second.py:model"


def idle(document):
    return document["daemon"]["state"] == "idle"


def schedules(document):
    return {name for one in document["targets"] for name in one["evidence"]["schedules"]}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('platform = "cpu"\nschedule = ["serial"]\n', 2, 'unknown key "schedule"'),
        ('\n\ntimeout_s = "long"\n', 3, "timeout_s"),
        ('platform = "cpu"\nseed = = 3\n', 2, "not valid TOML"),
    ],
)
def test_wrong_settings_are_shown_and_the_old_ones_stay(text, line, words, project, after):
    rounds = len(project.rounds())
    with after(project, lambda one: [problem["line"] for problem in one["problems"]] == [line]) as seen:
        project.write("pcv.toml", text)
    (problem,) = seen[-1]["problems"]
    assert problem["file"] == "pcv.toml"
    assert words in problem["message"]
    assert [one["target"] for one in seen[-1]["targets"]] == [FIRST, SECOND]
    assert seen[-1]["daemon"]["state"] == "degraded"
    assert not any(one["fresh"] for one in seen[-1]["targets"])
    ended = project.pcvctl("status")
    assert ended.returncode == 3
    assert f"pcv.toml:{line}" in ended.stdout
    assert len(project.rounds()) == rounds


def test_builds_go_on_under_the_old_settings(project, after):
    rounds = len(project.rounds())

    def over(document):
        return document["daemon"]["state"] == "degraded" and len(project.rounds()) > rounds

    with after(project, over) as seen:
        project.write("models/second.py", "def model(x):\n    return x - 3.0\n")
    assert seen[-1]["problems"]
    assert schedules(seen[-1]) == {"serial", "threads:2"}
    assert not any(one["fresh"] for one in seen[-1]["targets"])


def test_a_check_says_that_it_was_held_under_the_old_settings(project):
    rounds = len(project.rounds())
    ended = project.pcvctl("check", SECOND, COLUMNS="200")
    assert ended.returncode == 3
    assert project.rounds()[rounds:] == [("asked for", [SECOND])]
    assert "pcv.toml:2: is not valid TOML" in ended.stdout
    assert "under the settings from before" in ended.stdout


def test_a_restart_does_not_stop_it_for_one_that_would_not_start(project):
    ended = project.pcvctl("restart")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "pcv.toml:2: is not valid TOML" in ended.stderr
    assert project.json("status", code=3)["daemon"]["pid"] == project.started[0].pid


def test_good_settings_are_taken_over(project, after, settings):
    def holds(document):
        return idle(document) and schedules(document) == {"serial", "threads:3"}

    with after(project, holds) as seen:
        project.write("pcv.toml", settings.replace("threads:2", "threads:3"))
    assert seen[-1]["problems"] == []
    assert all(one["fresh"] and one["verdict"] == "agree" for one in seen[-1]["targets"])
    assert project.rounds()[-1] == ("the settings changed", [FIRST, SECOND])


def test_what_is_no_setting_of_builds_builds_nothing(project, after, settings):
    rounds = len(project.rounds())
    with after(project, lambda one: len(project.log("settings")) > 4):
        project.write("pcv.toml", settings.replace("threads:2", "threads:3").replace("= 60", "= 61"))
        project.write("models/third.py", "import pcv\n@pcv.target\ndef ping():\n    return 1.0\n")
    assert project.log("settings")[-1]["changed"] == ["timeout_s"]
    assert [cohort for _, cohort in project.rounds()[rounds:]] in ([], [["models/third.py:ping"]])
    project.json("wait", code=0)


def test_targets_come_and_go_with_the_settings(project, after, settings):
    one_target = settings.replace("threads:2", "threads:3").partition("[[target]]")[0]
    with after(project, lambda one: idle(one) and len(one["targets"]) == 2) as seen:
        project.write("pcv.toml", one_target + f'[[target]]\nentry = "{SECOND}"\nargs = ["f32[7]"]\n')
    assert {one["target"] for one in seen[-1]["targets"]} == {SECOND, "models/third.py:ping"}
    with after(project, lambda one: idle(one) and len(one["targets"]) == 3 and all(
        each["fresh"] for each in one["targets"]
    )):  # fmt: skip
        project.write("pcv.toml", settings.replace("threads:2", "threads:3"))


def test_other_arguments_are_built_again(project, after, settings):
    rounds = len(project.rounds())
    text = settings.replace("threads:2", "threads:3")
    with after(project, lambda one: idle(one) and len(project.rounds()) > rounds):
        project.write("pcv.toml", text[::-1].replace("f32[4]"[::-1], "f32[5]"[::-1], 1)[::-1])
    assert project.rounds()[-1][1] == [SECOND]
    assert "declared otherwise" in project.rounds()[-1][0]


def test_an_interpreter_that_cannot_work_degrades_the_daemon(project, after, settings):
    with after(project, lambda one: one["daemon"]["state"] == "degraded") as seen:
        project.write("pcv.toml", 'python = "/bin/false"\n' + settings)
    assert any("/bin/false" in problem["message"] for problem in seen[-1]["problems"])
    assert project.pcvctl("status").returncode == 3
    with after(project, lambda one: idle(one) and not one["problems"]):
        project.write("pcv.toml", settings)
    assert project.pcvctl("wait", "--timeout", "120").returncode == 0


def test_settings_that_vanish_are_a_problem(project, after, settings):
    with after(project, lambda one: one["problems"]) as seen:
        project.path("pcv.toml").unlink()
    assert "no pcv.toml" in seen[-1]["problems"][0]["message"]
    with after(project, lambda one: not one["problems"]):
        project.write("pcv.toml", settings)
