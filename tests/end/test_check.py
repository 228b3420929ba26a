"""`pcvctl check` from end to end: one round without a daemon, on the demo and whatever else it meets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pcv_config import demonstration

SCHEDULES = ["serial", "control", "threads:1", "threads:2", "threads:4", "processes:2"]
TARGETS = ["models/mlp.py:forward", "models/mlp.py:loss_gradient", "models/mlp.py:train_step"]


@pytest.fixture(scope="module")
def demo(new_project):
    """The demo project, not yet checked."""
    project = new_project()
    demonstration.copy_to(project.root)
    return project


@pytest.fixture(scope="module")
def checked(demo):
    """What `pcvctl check --json` says of the demo."""
    return demo.json("check", code=0)


def test_the_demos_targets_agree(checked):
    assert {one["target"]: one["verdict"] for one in checked["targets"]} == dict.fromkeys(TARGETS, "agree")
    assert all(one["fresh"] for one in checked["targets"])
    assert checked["summary"]["agree"] == 3
    assert checked["problems"] == []


def test_six_schedules_were_carried_out(checked):
    for one in checked["targets"]:
        schedules = one["evidence"]["schedules"]
        assert list(schedules) == SCHEDULES
        assert {name: each["peak_in_flight"] for name, each in schedules.items()} == {
            "serial": 1, "control": 1, "threads:1": 1, "threads:2": 2, "threads:4": 4, "processes:2": 2
        }  # fmt: skip
        # Of three targets one would be built alone; a copy is built beside it.
        assert {name: each["builds"] for name, each in schedules.items()} == {
            "serial": 3, "control": 3, "threads:1": 3, "threads:2": 4, "threads:4": 4, "processes:2": 4
        }  # fmt: skip


def test_every_stage_was_compared_and_stored(checked):
    for one in checked["targets"]:
        assert one["output"] == {"bitwise": True, "max_abs": 0.0, "max_rel": 0.0, "within_tolerance": True}
        assert one["evidence"]["repeat_runs_equal"] is True
        for stage in ("jaxpr", "stablehlo", "hlo", "object", "executable", "output"):
            digests = one["stages"][stage]
            assert list(digests) == SCHEDULES
            assert len(set(digests.values())) == 1
            assert len(digests["serial"]) == 64
        for each in one["evidence"]["schedules"].values():
            assert each["stored"]["identical"] is True
            assert each["stored"]["artifacts"] > 0
            assert each["output_bitwise"] is True


def test_the_round_is_in_the_database(demo, checked):
    assert demo.rounds() == [("asked for", TARGETS)]
    rows = demo.query(
        "SELECT entry, stage, schedule, canonical FROM stages JOIN builds ON builds.id = stages.build "
        "JOIN runs ON runs.id = builds.run JOIN targets ON targets.id = builds.target "
        "WHERE stage != 'locations'"
    )
    told = {one["target"]: one["stages"] for one in checked["targets"]}
    assert {(entry, schedule) for entry, _, schedule, _ in rows} == {
        (t, s) for t in TARGETS for s in SCHEDULES
    }
    for entry, stage, schedule, canonical in rows:
        assert told[entry][stage][schedule] == canonical
    assert dict(
        demo.query("SELECT entry, verdict FROM verdicts JOIN targets ON targets.id = verdicts.target")
    ) == {one["target"]: one["verdict"] for one in checked["targets"]}


def test_the_check_is_what_status_shows_afterwards(demo, checked):
    document = demo.json("status", code=3)
    assert [one["target"] for one in document["targets"]] == TARGETS
    assert [one["stages"] for one in document["targets"]] == [one["stages"] for one in checked["targets"]]
    assert document["daemon"]["state"] == "down"


def test_it_left_no_process_and_no_other_files(demo, checked):
    assert sorted(path.name for path in demo.path().iterdir()) == [".pcv", "models", "pcv.toml"]
    assert [path.name for path in demo.path("models").iterdir()] == ["mlp.py"]
    for process in psutil.process_iter():
        try:
            assert demo.root not in " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue


def test_another_check_of_one_target_gives_the_same_bytes(demo, checked):
    ended = demo.pcvctl("check", TARGETS[0])
    assert ended.returncode == 0, ended.stderr
    assert TARGETS[0] in ended.stdout
    assert TARGETS[1] not in ended.stdout
    assert "agree" in ended.stdout
    assert "Traceback" not in ended.stderr
    assert demo.rounds()[1:] == [("asked for", [TARGETS[0]])]
    (again,) = demo.json("status", TARGETS[0])["targets"]
    (before,) = (one for one in checked["targets"] if one["target"] == TARGETS[0])
    for stage in ("jaxpr", "stablehlo", "hlo", "output"):
        assert again["stages"][stage]["serial"] == before["stages"][stage]["serial"]


# -- trouble ---------------------------------------------------------------------------------------

GOOD = "def model(x):\n    return x + 1\n"
SETTINGS = 'platform = "cpu"\nschedules = ["serial", "threads:2"]\n'
TARGET = '[[target]]\nentry = "m.py:model"\nargs = ["f32[4]"]\n'


def refused(project, *words, code=2, verb="check", **options):
    """The command fails with one message, which holds `words`, and prints nothing else."""
    ended = project.pcvctl(verb, **options)
    assert ended.returncode == code, (ended.stdout, ended.stderr)
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in ended.stderr, ended.stderr


@pytest.mark.parametrize("verb", ["check", "start", "status", "daemon"])
def test_no_project_here(verb, new_project):
    refused(new_project(), "pcv.toml", "pcvctl init", verb=verb)


@pytest.mark.parametrize("verb", ["check", "start", "daemon"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("platform = 'cpu'\nschedule = ['serial']\n", ("pcv.toml:2", "schedule", "schedules")),
        ("\ntimeout_s = 'long'\n", ("pcv.toml:2", "timeout_s")),
        ("a = = 1\n", ("pcv.toml:1", "TOML")),
        ('[[target]]\nentry = "m.py"\n', ("pcv.toml:2", '"m.py"')),
        ('python = "nowhere/python"\n', ("pcv.toml:1", "nowhere/python")),
    ],
    ids=["key", "type", "syntax", "entry", "python"],
)
def test_wrong_settings_name_file_and_line(verb, text, words, new_project):
    refused(new_project({"pcv.toml": text}), *words, verb=verb)


def test_a_project_without_targets(new_project):
    project = new_project({"pcv.toml": SETTINGS, "m.py": GOOD})
    ended = project.pcvctl("check")
    assert ended.returncode == 3  # nothing compared is no agreement
    assert "Traceback" not in ended.stderr
    assert project.json("check", code=3)["targets"] == []


def test_a_target_that_is_not_declared(new_project):
    project = new_project({"pcv.toml": SETTINGS + TARGET, "m.py": GOOD})
    ended = project.pcvctl("check", "m.py:modle")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        'pcvctl: there is no target "m.py:modle"\n  did you mean "m.py:model"?\n'  # and nothing was built
    )
    assert project.json("check", "m.py:modle", code=2) == {
        "schema": 1,
        "error": {
            "message": 'there is no target "m.py:modle"',
            "file": None,
            "line": None,
            "hint": 'did you mean "m.py:model"?',
        },
    }
    assert [one["event"] for one in project.log("discovering", "check.log")] == []
    # In a file that may declare it, the model is asked first.
    project.write("n.py", "import pcv\n\n@pcv.target('f32[4]')\ndef other(x):\n    return x\n")
    ended = project.pcvctl("check", "n.py:othre")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-2:] == [
        'pcvctl: there is no target "n.py:othre"',
        '  did you mean "n.py:other"?',
    ]
    assert project.rounds() == []


def test_how_far_it_is(new_project):
    project = new_project({"pcv.toml": SETTINGS + TARGET, "m.py": GOOD})
    words = [line.split() for line in project.pcvctl("check").stderr.splitlines()]
    assert [line[:4] for line in words] == [
        ["serial", "1", "build", "in"],
        ["threads:2", "2", "builds", "in"],
    ]
    for flag in ("--quiet", "--json"):
        assert project.pcvctl("check", flag).stderr == ""


def test_beside_a_daemon_it_says_who_judged(new_project):
    project = new_project({"pcv.toml": SETTINGS + TARGET, "m.py": GOOD})
    alone = project.json("check", "--no-daemon", code=0)
    assert (alone["judged_by"], alone["daemon"]["state"], alone["daemon"]["pid"]) == ("check", "down", None)
    pid = project.start().pid
    project.pcvctl("wait")
    beside = project.json("check", "--no-daemon", code=0)
    assert (beside["judged_by"], beside["daemon"]["state"], beside["daemon"]["pid"]) == ("check", "idle", pid)
    assert "judged_by" not in project.json("check", code=0)
    ended = project.pcvctl("check", "--no-daemon")
    assert f"daemon: idle, pid {pid}" in ended.stdout
    assert f"Judged by this command: the daemon (pid {pid})" in ended.stdout
    project.end()


def test_only_what_was_asked_for_is_built(new_project):
    other = '[[target]]\nentry = "other.py:model"\nargs = ["f32[4]"]\n'
    project = new_project({"pcv.toml": SETTINGS + other + TARGET, "m.py": GOOD, "other.py": GOOD})
    document = project.json("check", "m.py:model", code=0)
    assert [one["target"] for one in document["targets"]] == ["m.py:model"]
    assert [cohort for _, cohort in project.rounds()] == [["m.py:model"]]


def test_targets_that_cannot_be_built_beside_one_that_can(new_project):
    project = new_project(
        {
            "m.py": GOOD,
            "broken.py": "def model(x):\n    return x +\n",
            "dead.py": "import os\n\ndef model(x):\n    os.abort()\n",
            "pcv.toml": SETTINGS
            + TARGET
            + "".join(
                f'[[target]]\nentry = "{entry}"\nargs = ["f32[4]"]\n'
                for entry in ("m.py:modle", "none.py:model", "broken.py:model", "dead.py:model")
            ),
        }
    )
    document = project.json("check", code=3)
    found = {one["target"]: one for one in document["targets"]}
    assert found["m.py:model"]["verdict"] == "agree"
    assert {entry for entry, one in found.items() if one["verdict"] == "inconclusive"} == {
        "m.py:modle", "none.py:model", "broken.py:model", "dead.py:model"
    }  # fmt: skip
    assert found["m.py:modle"]["failure"]["hint"] == "did you mean 'model'?"
    assert "there is no file none.py" in found["none.py:model"]["reason"]
    assert found["broken.py:model"]["reason"].startswith("broken.py:2: SyntaxError")
    assert "SIGABRT" in found["dead.py:model"]["reason"]
    shown = project.pcvctl("status")
    assert "broken.py:2" in shown.stdout
    assert "did you mean 'model'?" in shown.stdout


def test_a_divergence_is_the_exit_code(new_project):
    project = new_project(
        {
            "pcv.toml": SETTINGS + TARGET,
            "m.py": """
                import threading

                def model(x):
                    return x + (threading.current_thread() is threading.main_thread())
            """,
        }
    )
    document = project.json("check", code=1)
    assert document["targets"][0]["verdict"] == "diverged"
    assert project.pcvctl("status").returncode == 1


def test_the_settings_may_stand_in_pyproject(new_project):
    text = '[tool.pcv]\nplatform = "cpu"\nschedules = ["serial", "threads:2"]\n[[tool.pcv.target]]\n'
    text += 'entry = "src/m.py:model"\nargs = ["f32[4]"]\n'
    project = new_project(
        {"pyproject.toml": text, "src/m.py": "import other\nmodel = other.model\n", "src/other.py": GOOD}
    )
    document = project.json("check", code=0)
    assert document["targets"][0]["verdict"] == "agree"


def test_a_file_stands_where_the_state_should_go(new_project):
    project = new_project({"pcv.toml": SETTINGS + TARGET, "m.py": GOOD, ".pcv": "mine"})
    refused(project, ".pcv")


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_that_may_not_be_written(new_project):
    project = new_project({"pcv.toml": SETTINGS + TARGET, "m.py": GOOD})
    project.path().chmod(0o500)
    try:
        refused(project, ".pcv", "Permission denied")
    finally:
        project.path().chmod(0o700)


@pytest.mark.skipif(
    not Path("/proc/self").is_dir(), reason="this system has no folder that nobody can write to"
)
def test_a_folder_that_nobody_can_write_to(new_project):
    # /proc/PID/cwd is fine to read, but /proc itself takes no new folder, even from root.
    project = new_project({"pcv.toml": SETTINGS + TARGET, "m.py": GOOD})
    project.path(".pcv").symlink_to("/proc/nowhere/.pcv")
    refused(project, ".pcv")


@pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0
    if shutil.which("unshare")
    else True,
    reason="mounts are not for this user to make",
)
@pytest.mark.parametrize("verb", ["check", "start", "daemon", "restart"])
def test_a_file_system_that_is_read_only(verb, new_project):
    project = new_project({"pcv.toml": SETTINGS + TARGET, "m.py": GOOD, ".pcv/.gitignore": "*"})
    command = (
        f"mount --bind . . && mount -o remount,ro,bind . && cd . && exec {sys.executable} -P -m pcvctl {verb}"
    )
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", command],
        cwd=project.root, env=project.env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ".pcv" in ended.stderr
    assert "Read-only file system" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_folders_too_deep_for_a_socket_are_not_used(new_project, tmp_path):
    project = new_project({"pcv.toml": SETTINGS + TARGET, "m.py": GOOD})
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    project.env |= {"XDG_RUNTIME_DIR": str(deep), "TMPDIR": str(deep)}
    assert project.json("check", code=0)["targets"][0]["verdict"] == "agree"
    project.start()
    document = project.json("wait", code=0)
    assert document["daemon"]["pid"] == project.started[0].pid
    assert project.pcvctl("stop").returncode == 0
    assert list(deep.iterdir()) == []


def interrupted(project, eventually, number, holds):
    """`pcvctl check`, sent a signal once `holds()`: its exit code, and the processes it had."""
    process = project.begin("check", start_new_session=True)
    try:
        eventually(lambda: holds() or process.poll() is not None, "the check is under way")
        assert process.poll() is None
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        return process.wait(60), family
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_leaves_nothing(number, new_project, eventually):
    project = new_project(
        {
            "pcv.toml": SETTINGS + TARGET,
            "m.py": "def model(x):\n    open(__file__ + '.on', 'w').close()\n    while True:\n        pass\n",
        }
    )
    mark = project.path("m.py.on")
    code, family = interrupted(project, eventually, number, mark.exists)
    assert code == 128 + number
    assert len(family) >= 3  # pcvd, a zygote, a worker
    eventually(
        lambda: not any(one.is_running() and one.status() != "zombie" for one in family), "all are gone", 30
    )
    assert project.rounds() == []


def test_a_check_that_takes_too_long_is_ended(new_project, eventually):
    project = new_project(
        {"pcv.toml": SETTINGS + TARGET, "m.py": "def model(x):\n    while True:\n        pass\n"}
    )
    ended = project.pcvctl("check", "--timeout", "4")
    assert (ended.returncode, ended.stdout) == (6, "")
    assert "4 s" in ended.stderr


def test_init_and_check(new_project):
    project = new_project()
    assert project.pcvctl("init").returncode == 0
    with project.path("pcv.toml").open("a") as file:
        file.write("\n" + TARGET)
    project.write("m.py", GOOD)
    document = json.loads(project.pcvctl("check", "--json", JAX_PLATFORMS="cpu").stdout)
    assert document["targets"][0]["verdict"] == "agree"
    assert list(document["targets"][0]["evidence"]["schedules"]) == [
        "serial",
        "threads:2",
        "threads:4",
        "processes:2",
    ]
