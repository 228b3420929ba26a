import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pcvctl import child

STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
)


def test_output_and_code():
    assert child.run([sys.executable, "-c", "print('x'); exit(3)"]) == child.Ended(3, b"x\n")


def test_ended_by_a_signal():
    assert child.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]).code == -signal.SIGKILL


def test_time_over_ends_it_in_order(tmp_path):
    mark = tmp_path / "ended"
    command = ["sh", "-c", f"trap 'touch {mark}; exit' TERM; while :; do sleep 0.05; done"]
    assert child.run(command, timeout=1.0).code is None
    assert mark.exists()


def test_one_that_does_not_listen_is_killed():
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, process_group=0)
    assert process.stdout.readline() == b"up\n"
    child.conclude(process, grace=0.2)
    assert process.returncode == -signal.SIGKILL
    process.stdout.close()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_to_the_client_ends_the_round_first(root, standin, number, code):
    command = [sys.executable, "-m", "pcvctl", "check"]
    process = subprocess.Popen(
        command,
        cwd=root,
        env={**os.environ, "STANDIN": "hangs"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stderr.readline() == b"building\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, b"", b"ended in order\n")
    with pytest.raises(ProcessLookupError):
        os.kill(standin("check")["pid"], 0)


def test_the_projects_own_files_do_not_shadow_the_standard_library(root, pcvctl, standin, status, target):
    Path(root, "socket.py").write_text("raise SystemExit('shadowed')")
    ran = pcvctl("check", path=[standin.path], STANDIN_STATUS=json.dumps(status(target())))
    assert ran.returncode == 0
    assert standin("check")["path0"] != root
