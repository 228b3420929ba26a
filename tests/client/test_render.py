import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvctl.render import render
from pcvctl.table import span

NOW = datetime(2026, 1, 1, 0, 2, 5, tzinfo=UTC).timestamp()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TARGET_FIELDS = [
    "target",
    "verdict",
    "fresh",
    "state",
    "reason",
    "first_stage",
    "differing",
    "failure",
    "cause",
    "output",
    "evidence",
    "checked_at",
]
STATUS_FIELDS = ["schema", "daemon", "summary", "problems", "speed", "environment"]


def test_all_is_well(status, target):
    text = render(status(target(), target("models/mlp.py:loss", verdict="equivalent")), now=NOW, width=100)
    assert text.splitlines() == [
        "   target                 verdict     output         rounds  sched  peak    age",
        "=  models/mlp.py:forward  agree       bit-identical       3      2     2  2 min",
        "~  models/mlp.py:loss     equivalent  bit-identical       3      2     2  2 min",
        "",
        "2 targets: 1 agree, 1 equivalent",
        "speed-up over serial: threads:2 1.25x",
        "daemon: idle, pid 7, up 1 min, pcv 0.1.0",
    ]


def test_a_divergence_says_where_and_why(status, target):
    one = target(verdict="diverged", first_stage="object")
    one["output"] = {"bitwise": False, "max_abs": 1.2e-3, "max_rel": 0.5, "within_tolerance": False}
    one["evidence"]["schedules"]["threads:2"]["differing_stages"] = ["object", "executable"]
    one["cause"] = {
        "kind": "compile-order",
        "kernel": "fusion.3",
        "pass": "small-while-loop-hoisting",
        "file": "models/mlp.py",
        "line": 12,
        "text": "the code depends on what was compiled before",
    }
    text = render(status(one), now=NOW, width=100, unicode=True)
    assert "✗  models/mlp.py:forward  diverged  object      off by 1.2e-03" in text
    assert "models/mlp.py:12: compile-order: the code depends on what was compiled before" in text
    assert "object, executable differ under threads:2\n" in text
    assert "1.2e-03, 5.0e-01 relative: beyond tolerance" in text


def test_a_failure_says_where_and_what_to_do(status, target):
    failure = {
        "kind": "trace",
        "message": "TypeError: shapes (32,) and (64,)\nwhile adding",
        "file": "models/mlp.py",
        "line": 40,
        "hint": "see args",
    }
    one = target(
        verdict="inconclusive", failure=failure, reason="TypeError: shapes (32,) and (64,)\nwhile adding"
    )
    lines = render(status(one), now=NOW, width=100).splitlines()
    assert lines[2:5] == [
        "    models/mlp.py:40: TypeError: shapes (32,) and (64,)",
        "      while adding",
        "      -> see args",
    ]
    assert sum("TypeError" in line for line in lines) == 1  # the reason repeats the failure: said once


@pytest.mark.parametrize(
    ("changes", "cell"),
    [
        ({"fresh": False}, "agree, stale"),
        ({"fresh": False, "state": "building"}, "agree, building"),
        ({"state": "queued"}, "agree, queued"),
        ({"verdict": None, "fresh": False}, "not checked"),
        ({"verdict": None, "fresh": False, "state": "building"}, "building"),
        ({"verdict": "splendid"}, "splendid"),
    ],
)
def test_how_a_verdict_stands(status, target, changes, cell):
    row = render(status(target(**changes)), now=NOW).splitlines()[1]
    assert re.search(rf"models/mlp.py:forward  {cell}(  |$)", row)


def test_problems_come_with_place_and_remedy(status):
    problem = {"message": "invalid syntax", "file": "models/bad.py", "line": 3, "hint": "close the bracket"}
    text = render(status(problems=[problem]), now=NOW)
    assert "models/bad.py:3: invalid syntax\n  -> close the bracket\n" in text
    assert "0 targets: 1 problem" in text
    assert "No targets yet" in text


def test_without_a_daemon_stale_verdicts_say_so(status, target):
    down = {"pid": None, "state": "down", "version": None, "uptime_s": 0.0}
    assert "last verdicts (`pcvctl start`)" in render(status(target(fresh=False), daemon=down), now=NOW)
    assert render(status(target(), daemon=down), now=NOW).endswith("daemon: not running\n")


@pytest.mark.parametrize("width", [80, 100, 120])
def test_fits_the_terminal_and_never_cuts_a_place(status, target, width):
    deep = "models/a/rather/deep/folder/with/many/parts/network_definition.py"
    failure = {
        "kind": "import",
        "message": "No module named 'flax'",
        "file": deep,
        "line": 1234,
        "hint": None,
    }
    targets = [
        target(deep + ":forward", verdict="inconclusive", fresh=False, failure=failure),
        target(verdict="diverged", first_stage="executable"),
    ]
    text = render(status(*targets), now=NOW, width=width)
    assert max(map(span, text.splitlines())) <= width
    assert f"{deep}:1234: " in text


def test_ascii_unless_told_so(status, target):
    whole = status(target(verdict="diverged", first_stage="hlo"), problems=[{"message": "x", "hint": "y"}])
    assert render(whole, now=NOW, color=True).isascii()
    assert "✗" in render(whole, now=NOW, unicode=True)


def test_colour_changes_nothing_but_colour(status, target):
    whole = status(target(), target("b.py:g", verdict="unstable", first_stage="hlo", fresh=False))
    painted = render(whole, now=NOW, color=True)
    assert painted != render(whole, now=NOW)
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == render(whole, now=NOW)


def test_a_message_cannot_drive_the_terminal(status, target):
    evil = "\x1b]0;title\x07\x1b[2J"
    failure = {"message": evil, "file": evil, "line": 1, "hint": evil}
    text = render(status(target(evil, verdict=evil, first_stage=evil, reason=evil, failure=failure)), now=NOW)
    assert "\x1b" not in text
    assert "\x07" not in text


@pytest.mark.parametrize(
    "checked_at", ["2026-01-01T00:02:05Z", "2026-01-01T02:02:05+02:00", "2026-01-01T00:09:00Z"]
)
def test_age_in_any_zone_and_never_negative(status, target, checked_at):
    assert render(status(target(checked_at=checked_at)), now=NOW).splitlines()[1].endswith(" 0 s")


@given(whole=st.fixed_dictionaries({}, optional=dict.fromkeys(STATUS_FIELDS, JSON)), data=st.data())
def test_whatever_a_status_holds_it_can_be_shown(whole, data):
    targets = st.lists(
        st.fixed_dictionaries({}, optional=dict.fromkeys(TARGET_FIELDS, JSON)) | JSON, max_size=3
    )
    whole["targets"] = data.draw(targets | JSON)
    text = render(whole, now=NOW, width=data.draw(st.integers(0, 130)))
    assert text.endswith("\n")
    assert "\x1b" not in text
