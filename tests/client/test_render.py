import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvctl.render import render, summary
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
        "   target                 verdict     output         schedules  at once  rounds    checked",
        "=  models/mlp.py:forward  agree       bit-identical          2        2       3  2 min ago",
        "~  models/mlp.py:loss     equivalent  bit-identical          2        2       3  2 min ago",
        "",
        "2 targets: 1 agree, 1 equivalent",
        "speed-up over serial: threads:2 1.25x",
        "daemon: idle, pid 7, up 1 min, pcv 0.1.0",
    ]


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
    ("changes", "mark", "cells"),
    [
        ({}, "✓", ["agree"]),
        ({"fresh": False}, "○", ["stale (was agree)"]),
        ({"fresh": False, "verdict": "diverged"}, "○", ["stale (was diverged)"]),
        ({"fresh": False, "state": "building"}, "○", ["stale (was agree)", "building"]),
        ({"state": "queued"}, "✓", ["agree", "queued"]),
        ({"verdict": None, "fresh": False}, "?", ["not checked"]),
        ({"verdict": "inconclusive", "fresh": False, "checked_at": None}, "?", ["not checked"]),
        ({"verdict": None, "fresh": False, "state": "building"}, "?", ["not checked", "building"]),
        ({"verdict": "splendid"}, "?", ["splendid"]),
    ],
)
def test_how_a_verdict_stands(status, target, changes, mark, cells):
    row = render(status(target(**changes)), now=NOW, unicode=True).splitlines()[1]
    assert re.split("  +", row)[: 2 + len(cells)] == [mark, "models/mlp.py:forward", *cells]


def test_a_stale_verdict_is_never_green(status, target):
    fresh, stale = (
        render(status(target(fresh=fresh)), now=NOW, color=True, unicode=True).splitlines()[1]
        for fresh in (True, False)
    )
    assert "\x1b[32m✓" in fresh
    assert "\x1b[32m" not in stale
    assert "✓" not in stale


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (["agree", "agree!", "agree!"], "3 targets: 1 agree · 2 stale (were agree)"),
        (["agree!"], "1 target: 1 stale (was agree)"),
        (
            ["diverged!", "agree!", "agree!", "diverged"],
            "4 targets: 1 diverged · 3 stale (2 were agree, 1 was diverged)",
        ),
        (["splendid", "splendid!", None], "3 targets: 1 unknown · 1 stale (was unknown) · 1 not checked"),
        ([], "0 targets"),
    ],
)
def test_the_summary_counts_every_target_once(target, targets, told):
    made = [
        target(verdict=name and name.rstrip("!"), fresh=bool(name) and not name.endswith("!"))
        for name in targets
    ]
    assert summary(made, unicode=True) == told
    assert summary(made, 2).endswith("2 problems")


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
    assert render(status(target(checked_at=checked_at)), now=NOW).splitlines()[1].endswith(" 0 s ago")


def test_a_text_that_is_kept_has_dates_and_no_ages(status, target):
    text = render(status(target(checked_at="2026-01-01T02:02:05+02:00")), now=None)
    assert text.splitlines()[1].endswith("  2026-01-01 00:02 UTC")
    assert " up " not in text
    assert " ago" not in text


@pytest.mark.parametrize(("wall_s", "told"), [(1.0, True), (0.9, False), (None, False)])
def test_speed_ups_of_tiny_builds_and_of_serial_ones_are_not_told(status, target, wall_s, told):
    one = target()
    one["evidence"]["schedules"]["serial"]["wall_s"] = wall_s
    before = target("b.py:g", checked_at="2025-01-01T00:00:00Z")  # of a round before that one
    before["evidence"]["schedules"]["serial"]["wall_s"] = 60.0
    speed = {"serial": 1.0, "control": 1.1, "threads:2": 1.25, "processes:2": None}
    text = render(status(before, one, speed=speed), now=NOW)
    assert ("speed-up over serial: threads:2 1.25x\n" in text) == told
    assert "control" not in text


def test_a_failure_that_targets_share_is_said_once(status, target):
    failure = {"kind": "import", "message": "ModuleNotFoundError: flax", "file": "b.py", "line": 2}
    broken = [
        target(f"b.py:{name}", verdict="inconclusive", failure=failure, reason="b.py:2: …") for name in "fgh"
    ]
    elsewhere = target("c.py:f", verdict="inconclusive", failure=failure)
    text = render(status(*broken, target(), problems=[failure]), now=NOW)
    assert text.count("ModuleNotFoundError") == 1
    assert "    b.py:2: ModuleNotFoundError: flax (and 2 more targets of this file)\n" in text
    assert "(and 1 more target)\n" in render(status(broken[0], elsewhere), now=NOW)


def test_at_once_is_told_of_the_target_and_not_of_its_neighbours(status, target):
    one = target()
    for schedule, own in zip(one["evidence"]["schedules"].values(), (1, 3), strict=True):
        schedule.update(peak_in_flight=8, own_in_flight=own)
    heading, row = render(status(one), now=NOW, width=120).splitlines()[:2]
    assert row[heading.index("at once") :][: len("at once")].strip() == "3"


def test_schedules_that_have_not_traced_an_edit_are_not_counted(status, target):
    one = target()
    one["evidence"]["untraced"] = ["threads:2"]
    heading, row = render(status(one), now=NOW, width=120).splitlines()[:2]
    assert row[heading.index("schedules") :][: len("schedules")].strip() == "1"


@given(whole=st.fixed_dictionaries({}, optional=dict.fromkeys(STATUS_FIELDS, JSON)), data=st.data())
def test_whatever_a_status_holds_it_can_be_shown(whole, data):
    targets = st.lists(
        st.fixed_dictionaries({}, optional=dict.fromkeys(TARGET_FIELDS, JSON)) | JSON, max_size=3
    )
    whole["targets"] = data.draw(targets | JSON)
    text = render(whole, now=NOW, width=data.draw(st.integers(0, 130)))
    assert text.endswith("\n")
    assert "\x1b" not in text


def test_while_targets_are_looked_for_nobody_is_asked_to_declare_any(status):
    busy = {"pid": 7, "state": "busy", "version": "0.1.0", "uptime_s": 0.1}
    assert "it is being found out which there are" in render(status(daemon=busy), now=NOW)


def test_model_files_that_are_being_imported_are_named(status, target):
    shown = render(status(target(), asking=["models/a.py", "b\x1b.py"]), now=NOW)
    assert "importing, to see which targets there are: models/a.py, b\\x1b.py\n" in shown
    shown = render(status(target(), asking=[f"{name}.py" for name in "abcde"]), now=NOW)
    assert "a.py, b.py, c.py and 2 more\n" in shown
    assert "importing" not in render(status(target(), asking=[]), now=NOW)


def test_on_a_narrow_terminal_names_and_verdicts_are_left(status, target):
    lines = render(status(target("a.py:f", first_stage="object")), now=NOW, width=24).splitlines()
    assert lines[:2] == ["   target  verdict", "=  a.py:f  agree"]
