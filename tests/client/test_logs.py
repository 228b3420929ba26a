import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pcvctl import logs

EVENT = {
    "timestamp": "2026-01-01T00:00:00Z",
    "level": "info",
    "event": "round over",
    "targets": 3,
    "why": "a save",
}


@pytest.fixture
def log(root):
    path = Path(root, ".pcv", "pcvd.log")
    path.parent.mkdir()

    def write(*lines, mode="ab"):
        with path.open(mode) as file:
            file.writelines(
                line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines
            )
        return path

    return write


def test_an_event_on_one_line():
    line = logs.readable(json.dumps({**EVENT, "file": "a.py", "empty": "", "deep": {"x": [1]}}).encode())
    assert line == (
        '2026-01-01T00:00:00Z info     round over targets=3 why="a save" file=a.py empty="" deep={"x": [1]}'
    )


def test_an_exception_stands_below():
    assert logs.readable(
        json.dumps({"event": "x", "exception": "Traceback\n  boom"}).encode()
    ).splitlines() == [
        "- info     x",
        "    Traceback",
        "      boom",
    ]


@pytest.mark.parametrize("line", [b"not json", b"[1]", b"\xff\xfe", b'{"event": ', b"", b"\x1b[2J"])
def test_a_broken_line_is_shown_as_it_stands(line):
    assert logs.readable(line) == line.decode("utf-8", "backslashreplace").replace("\x1b", "\\x1b")


def test_the_last_lines(pcvctl, log):
    log(*[{**EVENT, "event": f"event {number}"} for number in range(3000)], b"half a li")
    shown = pcvctl("logs", "-n", "2")
    assert shown.returncode == 0
    assert [line.split("  ")[-1].strip().split(" targets")[0] for line in shown.stdout.splitlines()] == [
        "event 2998",
        "event 2999",
    ]
    assert len(pcvctl("logs").stdout.splitlines()) == 50
    assert len(pcvctl("logs", "-n", "100000").stdout.splitlines()) == 3000
    assert pcvctl("logs", "-n", "0").stdout == ""
    raw = [json.loads(line) for line in pcvctl("logs", "--json", "-n", "3").stdout.splitlines()]
    assert [event["event"] for event in raw] == ["event 2997", "event 2998", "event 2999"]


def test_an_empty_log_and_none(pcvctl, log, root):
    assert pcvctl("logs").returncode == 2
    log()
    assert (pcvctl("logs").returncode, pcvctl("logs").stdout) == (0, "")


def test_the_log_of_checks_without_a_daemon(pcvctl, log):
    path = log({**EVENT, "event": "of the daemon"})
    missing = pcvctl("logs", "--check")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "pcvctl check --no-daemon" in missing.stderr
    path.with_name("check.log").write_text(json.dumps({**EVENT, "event": "of a check"}) + "\n")
    assert "of a check" in pcvctl("logs", "--check").stdout
    assert "of the daemon" in pcvctl("logs").stdout


def test_following_through_a_rotation(log, root):
    path = log({**EVENT, "event": "one"}, b'{"event": "t')
    process = subprocess.Popen(
        [sys.executable, "-m", "pcvctl", "logs", "-f", "--json"],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert b'"one"' in process.stdout.readline()
        log(b'wo"}\n')
        assert process.stdout.readline() == b'{"event": "two"}\n'
        path.rename(path.with_suffix(".1"))
        log({"event": "three"})
        assert process.stdout.readline() == b'{"event": "three"}\n'
        log({"event": "4"}, mode="wb")  # truncated in place
        assert process.stdout.readline() == b'{"event": "4"}\n'
    finally:
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (130, b"")
