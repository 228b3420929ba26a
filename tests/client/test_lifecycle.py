import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pcv_config import lock, places
from pcvctl import Trouble, lifecycle
from pcvctl.door import NoDaemon


def test_start_status_restart_stop(pcvctl, standin, root):
    started = pcvctl("start", path=[standin.path])
    pid = standin("serve")["pid"]
    assert (started.returncode, started.stdout) == (0, f"daemon started (pid {pid})\n")
    assert standin("serve")["argv"] == ["serve", "--root", root]
    assert os.getsid(pid) == pid  # the terminal's Ctrl-C does not reach it

    again = pcvctl("start", "--json", path=[standin.path])
    assert (again.returncode, json.loads(again.stdout)) == (0, {"pid": pid, "started": False})
    assert pcvctl("status").returncode == 3

    assert pcvctl("restart", path=[standin.path]).returncode == 0
    assert standin("serve")["pid"] != pid

    stopped = pcvctl("stop")
    assert (stopped.returncode, stopped.stdout) == (0, f"daemon stopped (pid {standin('serve')['pid']})\n")
    assert not lock.held(root)
    again = pcvctl("stop")
    assert (again.returncode, again.stdout) == (2, "")
    message = f"no daemon runs for {root}, so there is none to stop"
    assert again.stderr == f"pcvctl: {message}\n  `pcvctl status` shows its last verdicts\n"
    assert pcvctl("restart", path=[standin.path]).returncode == 0


def test_a_daemon_that_dies_at_the_start_is_quoted(pcvctl, standin, root):
    shown = pcvctl("start", path=[standin.path], STANDIN="dies")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "pcv.toml:3: unknown key" in shown.stderr
    assert Path(places.state(root, "start.log")).read_text() == "pcvd: pcv.toml:3: unknown key\n"


def test_a_daemon_that_is_killed_at_the_start_names_the_signal(root, monkeypatch):
    monkeypatch.setattr(lifecycle.child, "pcvd", lambda *_: ["sh", "-c", "echo starting; kill -9 $$"])
    with pytest.raises(Trouble, match=r"was ended by signal 9 \(SIGKILL\) as it started:\n  starting"):
        lifecycle.launch(root)


def test_one_that_listens_and_never_answers_is_ended(root, standin, monkeypatch):
    monkeypatch.setenv("STANDIN", "mute")
    with pytest.raises(Trouble, match="did not answer within 3 s and was ended") as caught:
        lifecycle.launch(root, timeout=3)
    assert caught.value.code == 6
    with pytest.raises(ProcessLookupError):
        os.kill(standin("serve")["pid"], 0)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_read_only_project_says_so(pcvctl, standin, root):
    Path(root).chmod(0o500)
    shown = pcvctl("start", path=[standin.path])
    Path(root).chmod(0o700)
    assert shown.returncode == 2
    assert ".pcv" in shown.stderr


def test_a_file_where_the_state_should_be_says_so(pcvctl, standin, root):
    Path(places.state(root)).touch()
    shown = pcvctl("start", path=[standin.path])
    assert shown.returncode == 2
    assert ".pcv" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_one_that_never_answers_is_ended(root, tmp_path, monkeypatch):
    note = tmp_path / "pid"
    monkeypatch.setattr(
        lifecycle.child, "pcvd", lambda *_: ["sh", "-c", f"echo $$ > {note}; exec sleep 1000"]
    )
    with pytest.raises(Trouble, match="did not answer within 1 s") as caught:
        lifecycle.launch(root, timeout=1)
    assert caught.value.code == 6
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_a_lock_without_a_listener_is_not_no_daemon(root):
    Path(places.runtime_folder()).mkdir(mode=0o700)
    with pytest.raises(NoDaemon):
        lifecycle.halt(root)
    with (
        lock.holding(root),
        pytest.raises(Trouble, match=rf"\(pid {os.getpid()}\) holds this project's lock"),
    ):
        lifecycle.halt(root)


def test_stop_waits_for_the_lock(root, listen, http):
    answer = http(200, {"daemon": {"pid": 7}})
    listen(places.socket_path(root), lambda request: answer)
    with lock.holding(root), pytest.raises(Trouble, match=r"pid 7.*still holds its lock") as caught:
        lifecycle.halt(root, timeout=0.1)
    assert caught.value.code == 6
    assert lifecycle.halt(root) == 7


def test_restart_reads_the_settings_before_it_stops_a_daemon_that_works(pcvctl, standin, root):
    pcvctl("start", path=[standin.path])
    Path(root, "pcv.toml").write_text("\nseed = = 3\n")
    refused = pcvctl("restart", "--json", path=[standin.path])
    error = json.loads(refused.stdout)["error"]
    assert (refused.returncode, error["file"], error["line"]) == (2, "pcv.toml", 2)
    assert "not valid TOML" in error["message"]
    assert error["hint"]
    assert json.loads(pcvctl("start", "--json").stdout) == {"pid": standin("serve")["pid"], "started": False}


def test_a_daemon_can_be_asked_and_stopped_without_settings(pcvctl, standin, root, tmp_path):
    pcvctl("start", path=[standin.path])
    pid = standin("serve")["pid"]
    Path(root, "models").mkdir()
    Path(root, "pcv.toml").unlink()
    for where in (root, f"{root}/models"):
        assert pcvctl("status", cwd=where).stdout
        assert pcvctl("wait", cwd=where).returncode == 3
    shutil.rmtree(places.state(root))  # its socket alone tells of it
    assert pcvctl("status", "--root", root, cwd=tmp_path).stdout
    started = pcvctl("start", cwd=root)
    assert (started.returncode, started.stdout) == (2, "")
    assert "pcvctl init" in started.stderr
    stopped = pcvctl("stop", "--json", cwd=f"{root}/models")
    assert json.loads(stopped.stdout) == {"pid": pid, "stopped": True}


def test_a_second_daemon_in_the_foreground_is_refused(pcvctl, root):
    with lock.holding(root):
        shown = pcvctl("daemon", "--json")
    assert shown.returncode == 2
    message = f"a daemon already runs for {root} (pid {os.getpid()})"
    assert json.loads(shown.stdout)["error"]["message"] == message
    assert shown.stderr == f"pcvctl: {message}\n  `pcvctl stop` ends it\n"


def test_daemon_becomes_the_daemon(root, standin):
    command = [sys.executable, "-m", "pcvctl", "daemon"]
    process = subprocess.Popen(
        command, cwd=root, env={**os.environ, "STANDIN": "dies"}, stderr=subprocess.PIPE
    )
    assert process.communicate(timeout=60)[1] == b"pcvd: pcv.toml:3: unknown key\n"
    assert standin("serve")["pid"] == process.pid
