"""A daemon's life: it comes once, remembers, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

FIRST, SECOND = "models/first.py:model", "models/second.py:model"


def alive(processes):
    found = []
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def family(process, eventually):
    """The daemon and all its processes, once workers are waiting."""
    eventually(lambda: len(process.children(recursive=True)) >= 3, "zygotes and workers")
    return [process, *process.children(recursive=True)]


@pytest.fixture(scope="module")
def project(new_project, files):
    made = new_project(files)
    yield made
    made.end()


def test_without_a_daemon_commands_say_so(project):
    for verb in ("stop", "wait", "recheck"):
        ended = project.pcvctl(verb)
        assert ended.returncode == 2
        assert "no daemon runs" in ended.stderr
    ended = project.pcvctl("status")
    assert ended.returncode == 3
    assert "Nothing has been checked" in ended.stdout
    assert project.pcvctl("logs").returncode == 2


def test_the_first_start_judges_everything(project, fresh):
    daemon = project.start()
    assert project.json("start")["pid"] == daemon.pid  # one is enough
    document = fresh(project)
    assert [(one["target"], one["verdict"]) for one in document["targets"]] == [
        (FIRST, "agree"),
        (SECOND, "agree"),
    ]
    assert project.rounds() == [("new", [FIRST, SECOND])]
    assert "pcvd" in " ".join(daemon.cmdline())


def test_the_daemon_has_neither_jax_nor_the_project_in_it(project):
    mapped = Path(f"/proc/{project.started[0].pid}/maps").read_text()
    assert "jaxlib" not in mapped
    assert "numpy" not in mapped


def test_a_second_daemon_is_refused_with_the_firsts_pid(project):
    ended = project.pcvctl("daemon")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"a daemon already runs for {project.root} (pid {project.started[0].pid})" in ended.stderr
    assert "Traceback" not in ended.stderr
    ended = project.pcvd("serve", "--root", project.root)
    assert ended.returncode == 2
    assert f"a daemon already runs for {project.root} (pid {project.started[0].pid})" in ended.stderr
    assert project.json("status", code=0)["daemon"]["pid"] == project.started[0].pid


def test_stop_leaves_neither_process_nor_socket(project, eventually):
    processes = family(project.started[0], eventually)
    path = project.socket
    assert Path(path).exists()
    ended = project.pcvctl("stop")
    assert ended.returncode == 0
    assert not Path(path).exists()
    eventually(lambda: not alive(processes), "all processes are gone", within=30)
    assert project.log("stopped")


def test_the_verdicts_stay_as_stale(project):
    document = project.json("status", code=3)
    assert document["daemon"]["state"] == "down"
    assert [(one["verdict"], one["fresh"]) for one in document["targets"]] == [("agree", False)] * 2
    assert project.json("status", FIRST)["targets"][0]["target"] == FIRST


def test_a_restart_with_nothing_changed_builds_nothing(project, fresh):
    rounds = project.rounds()
    project.start()
    fresh(project)
    assert project.rounds() == rounds
    assert project.log("recovered")[-1]["fresh"] == 2


def test_killed_by_force_its_processes_go_with_it(project, eventually):
    daemon = project.started[-1]
    processes = family(daemon, eventually)
    os.kill(daemon.pid, signal.SIGKILL)
    eventually(lambda: not alive(processes), "zygotes and workers follow", within=30)
    ended = project.pcvctl("status")
    assert ended.returncode == 3  # the dead one's socket is no daemon
    assert FIRST in ended.stdout


def test_what_was_saved_meanwhile_is_built_at_the_start(project, fresh):
    rounds = len(project.rounds())
    project.write("models/second.py", "def model(x):\n    return x - 9.0\n")
    project.start()
    fresh(project)
    assert project.rounds()[rounds:] == [
        (f"{SECOND.partition(':')[0]} changed since it was judged", [SECOND])
    ]


def test_restart_is_another_process(project, fresh):
    rounds = len(project.rounds())
    before = project.started[-1]
    ended = project.json("restart", code=0)
    project.started.append(psutil.Process(ended["pid"]))
    assert ended["pid"] != before.pid
    assert not alive([before])
    fresh(project)
    assert len(project.rounds()) == rounds


def test_stopping_amid_a_build_leaves_nothing(project, after, eventually):
    daemon = project.started[-1]

    def building(document):
        return any(one["state"] == "building" for one in document["targets"])

    with after(project, building):
        project.write("models/second.py", "def model(x):\n    while True:\n        pass\n")
    processes = family(daemon, eventually)
    assert project.pcvctl("stop").returncode == 0
    eventually(lambda: not alive(processes), "all processes are gone", within=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_order(number, project, eventually):
    project.write("models/second.py", "def model(x):\n    return x - 9.0\n")
    process = project.begin("daemon")
    try:
        eventually(lambda: Path(project.socket).exists(), "it listens")
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(60) in {128 + number, 0}
    finally:
        process.kill()
        process.wait()
    assert not Path(project.socket).exists()
    eventually(lambda: not alive(children), "its processes follow", within=30)


def test_a_database_that_is_none_is_told_and_kept(new_project, files):
    made = new_project(files)
    path = made.write(".pcv/pcv.sqlite", "these are somebody's notes, which nobody may delete\n" * 100)
    ended = made.pcvctl("start")
    assert ended.returncode == 2
    assert "pcv.sqlite" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert path.read_text().startswith("these are somebody's notes")


def test_an_interpreter_that_says_nonsense_is_a_problem_not_the_end(new_project, files, settings):
    made = new_project(files | {"pcv.toml": 'python = "/bin/echo"\n' + settings})
    made.start()
    ended = made.pcvctl("wait", "--json", "--timeout", "60")
    assert ended.returncode == 3, ended.stderr
    document = json.loads(ended.stdout)
    assert document["daemon"]["state"] == "degraded"
    assert any("/bin/echo" in problem["message"] for problem in document["problems"])
    assert not any("fault inside pcv" in problem["message"] for problem in document["problems"])
    made.end()
