import json
from pathlib import Path

import pytest

from pcvctl import Trouble, offline


@pytest.fixture
def record(root):
    def write(value):
        path = Path(root, ".pcv", "status.json")
        path.parent.mkdir()
        path.write_text(value if isinstance(value, str) else json.dumps(value))

    return write


def test_last_verdicts_are_stale_and_exit_3(pcvctl, record, status, target):
    record(status(target(), target("b.py:g", verdict="equivalent", state="building")))
    shown = pcvctl("status")
    assert shown.returncode == 3
    assert "stale" in shown.stdout
    assert "daemon: not running" in shown.stdout
    whole = json.loads(pcvctl("status", "--json").stdout)
    assert whole["daemon"] == {"pid": None, "state": "down", "version": "0.1.0", "uptime_s": 0.0}
    assert whole["summary"] == {
        "targets": 2,
        "agree": 1,
        "equivalent": 1,
        "diverged": 0,
        "unstable": 0,
        "inconclusive": 0,
        "stale": 2,
    }
    assert [(one["fresh"], one["state"]) for one in whole["targets"]] == [(False, "idle")] * 2


def test_a_recorded_divergence_exits_1(pcvctl, record, status, target):
    record(status(target(), target("b.py:g", verdict="diverged", first_stage="hlo")))
    assert pcvctl("status").returncode == 1
    assert pcvctl("status", "models/mlp.py:forward").returncode == 3
    assert pcvctl("status", "b.py:g", "b.py:g").stdout.count("b.py:g") == 1


def test_an_unknown_target_is_trouble_with_a_guess(pcvctl, record, status, target):
    record(status(target()))
    shown = pcvctl("status", "models/mlp.py:forwrd")
    assert shown.returncode == 2
    assert shown.stdout == ""
    assert shown.stderr == (
        'pcvctl: there is no target "models/mlp.py:forwrd"\n  did you mean "models/mlp.py:forward"?\n'
    )
    nothing_like_it = pcvctl("status", "x")
    assert "`pcvctl status` lists them" in nothing_like_it.stderr


def test_nothing_recorded_yet(pcvctl):
    shown = pcvctl("status")
    assert shown.returncode == 3
    assert "pcvctl check" in shown.stdout
    whole = json.loads(pcvctl("status", "--json").stdout)
    assert (whole["schema"], whole["targets"], whole["summary"]["targets"]) == (1, [], 0)


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "{}", '{"schema": 1}', '{"schema": 1, "targets": [1]}', "\x00"]
)
def test_a_damaged_record_is_trouble_that_names_the_file(pcvctl, record, text):
    record(text)
    shown = pcvctl("status")
    assert shown.returncode == 2
    assert ".pcv/status.json" in shown.stderr
    assert "pcvctl check" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_another_schema_is_not_guessed_at(root, record, status, target):
    record(status(target(), schema=2))
    with pytest.raises(Trouble, match="schema 1"):
        offline.recorded(root)
