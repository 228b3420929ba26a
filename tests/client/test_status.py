import json
import subprocess
import sys
from pathlib import Path

import pytest

from pcv_config import places
from pcvctl import status as verb

LIGHT = {
    "__future__",
    "_blake2",
    "_socket",
    "pcv_config",
    "pcv_config.places",
    "pcvctl",
    "pcvctl.__main__",
    "pcvctl.door",
    "pcvctl.project",
    "pcvctl.status",
    "pcvctl.terminal",
}


@pytest.fixture
def daemon(root, listen, http):
    """A daemon that answers /v1/status."""

    def start(reply=None):
        return listen(
            places.socket_path(root), lambda request: reply or http(200, b"all is well\n", X_Pcv_Exit="0")
        )

    return start


def test_the_short_path_loads_nothing_heavy(root, daemon):
    daemon()
    script = (
        "import os, sys\n"
        "before = set(sys.modules)\n"
        "from pcvctl.__main__ import main\n"
        "code = main(['status', '--no-color'])\n"
        "print(code, *sorted(set(sys.modules) - before), file=sys.stderr)\n"
    )
    # -S: what an installation's .pth files load would hide what the client loads.
    ran = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    code, *loaded = ran.stderr.split()
    assert (code, ran.stdout) == ("0", "all is well\n")
    assert set(loaded) <= LIGHT
    assert "pcvctl.door" in loaded


def test_the_daemon_renders_and_names_the_exit_code(pcvctl, daemon, http):
    listener = daemon(http(200, "ein Strich — ✗\n".encode(), X_Pcv_Exit="1"))
    shown = pcvctl("status", "a b.py:f&g", "models/ü.py:h", COLUMNS="93")
    assert (shown.returncode, shown.stdout, shown.stderr) == (1, "ein Strich — ✗\n", "")
    line = (
        "GET /v1/status?width=93&color=0&unicode=1&target=a%20b.py:f%26g&target=models/%C3%BC.py:h HTTP/1.1"
    )
    assert listener.requests[0]["line"] == line
    assert listener.requests[0]["headers"]["accept"] == "text/plain"


def test_json_is_passed_on_as_it_comes(pcvctl, daemon, http, status, target):
    listener = daemon(http(200, status(target()), X_Pcv_Exit="0"))
    shown = pcvctl("status", "--json", "--fresh")
    assert (shown.returncode, json.loads(shown.stdout)) == (0, status(target()))
    assert "fresh=1" in listener.requests[0]["line"]
    assert listener.requests[0]["headers"]["accept"] == "application/json"


def test_before_the_verb_and_with_an_equals_sign_root_means_the_same(pcvctl, daemon, root, tmp_path):
    daemon()
    for arguments in (
        ["--root", root, "status"],
        ["status", f"--root={root}"],
        ["status", "--root", "project"],
    ):
        assert pcvctl(*arguments, cwd=tmp_path).stdout == "all is well\n"


def test_a_terminal_that_knows_no_unicode_is_not_sent_any(pcvctl, daemon, http):
    listener = daemon(http(200, "ü\n".encode(), X_Pcv_Exit="0"))
    shown = pcvctl("status", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (shown.returncode, shown.stdout) == (0, "\\xfc\n")
    assert "unicode=0" in listener.requests[0]["line"]


@pytest.mark.parametrize(
    "headers", [{}, {"X_Pcv_Exit": ""}, {"X_Pcv_Exit": "ok"}, {"X_Pcv_Exit": "-1"}, {"X_Pcv_Exit": "256"}]
)
def test_an_answer_that_names_no_exit_code_is_trouble(pcvctl, daemon, http, headers):
    daemon(http(200, b"all is well\n", **headers))
    shown = pcvctl("status")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "X-Pcv-Exit" in shown.stderr


def test_a_refusal_is_told_in_the_daemons_words(pcvctl, daemon, http):
    daemon(http(404, {"error": {"message": "no target 'x'", "hint": "did you mean 'y'?"}}, X_Pcv_Exit="0"))
    shown = pcvctl("status", "x")
    assert (shown.returncode, shown.stderr) == (2, "pcvctl: no target 'x'\n  did you mean 'y'?\n")


@pytest.mark.parametrize("body", [b"", b"oops", b"[]", b'{"error": 1}', b'{"error": {"message": 3}}'])
def test_a_refusal_without_words(pcvctl, daemon, http, body):
    daemon(http(500, body))
    shown = pcvctl("status")
    assert shown.returncode == 2
    assert "answered 500" in shown.stderr


def test_garbage_at_the_door(pcvctl, daemon):
    daemon(b"\x16\x03\x01 not http")
    shown = pcvctl("status")
    assert shown.returncode == 2
    assert "Traceback" not in shown.stderr


def test_no_project(pcvctl, tmp_path, root):
    for arguments in (["status"], ["status", "--root", str(tmp_path)], ["check"], ["start"], ["logs"]):
        shown = pcvctl(*arguments, cwd=tmp_path)
        assert (shown.returncode, shown.stdout) == (2, "")
        assert "pcvctl init" in shown.stderr
    Path(root, "models").mkdir()
    inside = pcvctl("status", "--root", "models")  # a folder inside a project is not that project's root
    assert inside.returncode == 2


def test_settings_that_are_gone_do_not_hide_what_is_recorded(pcvctl, root, tmp_path, status, target):
    Path(root, "pcv.toml").unlink()
    assert pcvctl("status").returncode == 2
    Path(root, ".pcv").mkdir()
    Path(root, ".pcv", "status.json").write_text(json.dumps(status(target())))
    Path(root, "models").mkdir()
    shown = pcvctl("status", cwd=f"{root}/models")
    assert shown.returncode == 3
    assert "models/mlp.py:forward" in shown.stdout
    Path(root, "models", "pcv.toml").write_text("")  # nearer, and it has settings
    assert "Nothing has been checked" in pcvctl("status", cwd=f"{root}/models").stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_long_answer_arrives_whole(pcvctl, daemon, http, unbuffered):
    daemon(http(200, b"line\n" * 100_000, X_Pcv_Exit="0"))
    assert pcvctl("status", PYTHONUNBUFFERED=unbuffered).stdout == "line\n" * 100_000


def test_a_reader_that_has_gone_is_no_traceback(root, daemon, http):
    daemon(http(200, b"line\n" * 100_000, X_Pcv_Exit="0"))
    command = [sys.executable, "-m", "pcvctl", "status"]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(4)
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(60) == 141


def test_without_a_standard_output(root, daemon):
    daemon()
    ran = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m pcvctl status >&-"],
        cwd=root,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert ran.stderr == b""


@pytest.mark.parametrize("arguments", [["-h"], ["--root"], ["--fres"], ["--json=1"], ["-x"]])
def test_what_the_short_path_leaves_to_the_full_parser(arguments):
    assert verb.parse(arguments) is None
