"""Logging is set up for a whole process, so each test has one of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.fixture
def logged(tmp_path):
    """Run code with logging into a file: its lines, and what went to standard error."""

    def run(code, terminal="NOTHING"):
        file = tmp_path / "pcvd.log"
        head = (
            "import logging, pathlib, structlog\nfrom pcvd import logs\n"
            f"logs.configure(pathlib.Path({str(file)!r}), terminal=logs.Terminal.{terminal})\n"
            "log = structlog.get_logger()\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", head + code], capture_output=True, text=True, check=True
        )
        return [json.loads(line) for line in file.read_text().splitlines()], ended.stderr

    return run


def test_events_are_json_lines(logged):
    lines, said = logged("log.info('order', targets=['m.py:f'], why=None)\nlog.debug('no')")
    (event,) = lines
    assert (event["event"], event["level"], event["targets"], event["why"]) == (
        "order",
        "info",
        ["m.py:f"],
        None,
    )
    assert event["timestamp"].endswith("Z")
    assert said == ""


@pytest.mark.parametrize("terminal", ["LINES", "PROGRESS"])
def test_a_terminal_gets_readable_lines(terminal, logged):
    lines, said = logged("log.warning('order failed', error='no JAX')", terminal)
    assert len(lines) == 1
    assert "order failed" in said
    assert "no JAX" in said
    assert "\x1b" not in said  # not a terminal after all: no colours


def test_progress_is_a_line_for_each_step_and_nothing_else(logged):
    lines, said = logged(
        "log.info('recovered', targets=3, fresh=0)\n"
        "log.info('discovered', files=['m.py', 'n.py'], targets=['m.py:f'])\n"
        "log.info('validating', targets=['m.py:f'], why='new')\n"
        "log.info('built', schedule='serial', builds=1, wall_s=1.23456, peak=1, failed=None)\n"
        "log.info('built', schedule='threads:4', builds=4, wall_s=0.5, peak=4, failed=2)\n"
        "log.info('judged', target='m.py:f', verdict='agree', reason=None)\n"
        "logging.getLogger('uvicorn').warning('uvicorn warns')\n",
        "PROGRESS",
    )
    assert len(lines) == 7
    assert said.splitlines() == [
        "  found        1 target declared in 2 model files",
        "  serial       1 build in 1.23 s",
        "  threads:4    4 builds in 0.50 s, 4 at once, 2 failed",
        "  uvicorn warns",
    ]


def test_nothing_is_said_where_nothing_is_to_be_said(logged):
    lines, said = logged("log.error('order failed', error='no JAX')")
    assert (len(lines), said) == (1, "")


def test_progress_shows_a_fault_with_its_trace(logged):
    _, said = logged("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('broken')", "PROGRESS")
    assert "ZeroDivisionError: division by zero" in said


def test_exceptions_come_with_their_trace_on_one_line(logged):
    lines, _ = logged("try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('broken')")
    assert "ZeroDivisionError" in lines[0]["exception"]


def test_libraries_are_heard_when_they_warn(logged):
    lines, _ = logged(
        "logging.getLogger('uvicorn').info('chat')\nlogging.getLogger('uvicorn').warning('uvicorn warns')\n"
        "logging.getLogger('asyncio').debug('chat')"
    )
    assert [line["event"] for line in lines] == ["uvicorn warns"]
