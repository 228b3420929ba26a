"""`explain`, `diff` and `history` as commands, against a daemon's answers and against none."""

from __future__ import annotations

import base64
import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from pcv_config import places

F = "models/mlp.py:forward"
DIFF = "--- serial/object/one\n+++ threads:2/object/one\n@@ -1,1 +1,1 @@\n-\tmov\x1b\n+\tadd\n"


def stage(name, state="identical", **changes):
    return {
        "stage": name, "state": state, "tolerated": False, "rules": [], "why": None,
        "runs": {"threads:2": state}, "parts": [], "more_parts": 0, **changes,
    }  # fmt: skip


def explanation(**changes):
    part = {
        "name": "obj-file.one.o", "kernel": "one", "runs": ["threads:2"], "only": None, "added": 1,
        "removed": 2, "excerpt": ["@@ -1,2 +1,1 @@", "-mov", "-add", "+lea"], "remarks": ["cut \x1b[31m"],
    }  # fmt: skip
    return {
        "schema": 1, "target": F, "verdict": "equivalent", "fresh": True, "reason": None, "round": 4,
        "checked_at": "2026-01-01T00:00:00Z", "why": "saved", "cohort": [F, "b.py:g"],
        "first_stage": "object", "failure": None, "cause": {"kind": "compile-order"},
        "says": {
            "what": ["the object code differs first", "outputs are bit-identical"],
            "where": "models/mlp.py:41", "why": ["it differs in 5 of 5 builds in another order"],
            "do": ["XLA_FLAGS=x avoids it"],
        },
        "stages": [
            stage("object", "differs", tolerated=True, parts=[part]), stage("hlo"),
            stage("llvm", "absent", why="none"),
        ],
        "outputs": [], "output": {"bitwise": True}, "locations": {"identical": True, "runs": {}},
        "evidence": {"rounds": 3, "schedules": {"serial": {}, "threads:2": {}}}, "remarks": ["a remark"],
        **changes,
    }  # fmt: skip


def difference(**changes):
    part = {
        "name": "obj-file.one.o", "kernel": "one", "left": {"digest": "a", "size": 1},
        "right": {"digest": "b", "size": 1}, "leaf": None, "diff": DIFF,
        "cut": False, "remarks": ["one more thing"], "suffix": ".o",
        "bytes": [base64.b64encode(b"left bytes").decode(), base64.b64encode(b"right bytes").decode()],
    }  # fmt: skip
    return {
        "schema": 1, "target": F, "verdict": "equivalent", "round": 4, "stage": "object", "form": "canonical",
        "left": "serial", "right": "threads:2", "equal": False, "parts": [part], "remarks": [], **changes,
    }  # fmt: skip


def chapters(*verdicts):
    return {"schema": 1, "target": F, "more": False, "verdicts": list(verdicts)}


@pytest.fixture
def daemon(listen, http, root):
    """A daemon that gives one answer; its listener."""

    def start(value, status=200):
        return listen(places.socket_path(root), lambda _: http(status, value))

    return start


# -- explain -----------------------------------------------------------------------------------------


def test_explain_puts_the_first_cause_at_the_top(pcvctl, daemon):
    server = daemon(explanation())
    shown = pcvctl("explain", F)
    assert shown.returncode == 0, shown.stderr
    assert server.requests[0]["line"] == f"GET /v1/explain?target={F} HTTP/1.1"
    lines = shown.stdout.splitlines()
    assert lines[0].startswith(f"≈ {F}: equivalent, round 4, ")
    assert lines[0].endswith("saved, beside 1 more")
    assert [line[2:] for line in lines[1:6]] == [
        "what   the object code differs first",
        "       outputs are bit-identical",
        "where  models/mlp.py:41",
        "why    it differs in 5 of 5 builds in another order",
        "do     XLA_FLAGS=x avoids it",
    ]
    rest = "\n".join(lines[6:])
    assert "object differs under threads:2 (tolerated)" in rest
    assert "obj-file.one.o  +1 -2 lines" in rest
    assert "+lea" in rest
    assert "hlo: identical" in rest
    assert "llvm: absent everywhere: none" in rest
    assert "note: a remark" in rest
    assert "\x1b" not in shown.stdout


def test_explain_in_ascii(pcvctl, daemon):
    daemon(explanation())
    assert pcvctl("explain", F, "--ascii").stdout.isascii()
    assert pcvctl("explain", F, PYTHONUTF8="0", PYTHONIOENCODING="ascii").stdout.isascii()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"fresh": False}, 3),
        ({"verdict": "diverged"}, 1),
        ({"verdict": "unstable", "fresh": False}, 1),
        ({"verdict": "inconclusive"}, 3),
        ({"verdict": "agree", "evidence": {}}, 3),
        ({"verdict": "splendid"}, 3),
    ],
)
def test_its_exit_code_is_the_verdicts_as_in_status(pcvctl, daemon, changes, code):
    daemon(explanation(**changes))
    shown = pcvctl("explain", F, "--json")
    assert shown.returncode == code
    assert json.loads(shown.stdout) == explanation(**changes)


def test_an_explanation_with_nothing_in_it_is_still_shown(pcvctl, daemon):
    daemon(
        {
            "schema": 1,
            "stages": [{"state": "differs", "parts": [{}, None]}],
            "outputs": [{"bitwise": False}],
            "says": 3,
        }
    )
    shown = pcvctl("explain", F)
    assert shown.returncode == 3
    assert "Traceback" not in shown.stderr


def test_output_leaves_are_told_by_run(pcvctl, daemon):
    apart = {
        "bitwise": False, "elements": 6, "differing": 2, "max_abs": 1e-6, "max_rel": None, "max_ulps": 3.0,
        "samples": [{"index": "[0,1]", "left": "1.0", "right": "1.5"}], "remarks": ["measured in part"],
    }  # fmt: skip
    leaf = {
        "path": "['w']",
        "label": "float32[2,3]",
        "bitwise": False,
        "runs": {"threads:2": apart, "control": {"bitwise": True}},
    }
    daemon(explanation(outputs=[leaf]))
    shown = pcvctl("explain", F).stdout
    assert "['w']  float32[2,3]" in shown
    assert "threads:2: 2 of 6 elements, max abs 1e-06, ULPs 3" in shown
    assert "[0,1]  1.0  became  1.5" in shown
    assert "control: identical" in shown


@pytest.mark.parametrize(
    "answer",
    [b"no json", {"schema": 2}, [], {"targets": []}],
)
def test_an_answer_that_makes_no_sense_is_trouble(pcvctl, daemon, answer):
    daemon(answer)
    shown = pcvctl("explain", F)
    assert shown.returncode == 2
    assert "restart" in shown.stderr


def test_the_daemons_refusal_is_told(pcvctl, daemon):
    daemon({"error": {"message": 'there is no target "x"', "hint": 'did you mean "y"?'}}, 404)
    shown = pcvctl("history", "x", "--json")
    assert shown.returncode == 2
    assert 'did you mean "y"?' in shown.stderr
    assert json.loads(shown.stdout)["error"]["message"] == 'there is no target "x"'


# -- explain --repro ---------------------------------------------------------------------------------

REPRO = {
    "schema": 1, "target": F, "shows": "compiler", "remarks": ["left out: b.py:g"],
    "files": {"README.md": "# ü\n", "programs/00_f.mlir": "module {}\n", "repro.py": "print(1)\n"},
}  # fmt: skip


def test_a_reproduction_is_written(pcvctl, daemon, root):
    daemon(REPRO)
    shown = pcvctl("explain", F, "--repro", "out/repro")
    assert shown.returncode == 0, shown.stderr
    assert "left out: b.py:g" in shown.stdout
    folder = Path(root, "out", "repro")
    for name, body in REPRO["files"].items():
        assert (folder / name).read_text(encoding="utf-8") == body


def test_a_folder_that_is_not_empty_is_left_alone_without_force(pcvctl, daemon, root):
    daemon(REPRO)
    Path(root, "out").mkdir()
    Path(root, "out", "README.md").write_text("mine")
    refused = pcvctl("explain", F, "--repro", "out")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert os.listdir(Path(root, "out")) == ["README.md"]  # noqa: PTH208
    assert Path(root, "out", "README.md").read_text() == "mine"
    told = pcvctl("explain", F, "--repro", "out", "--force", "--json")
    assert json.loads(told.stdout)["files"] == sorted(REPRO["files"])
    assert Path(root, "out", "README.md").read_text() == "# ü\n"


def test_nothing_is_written_outside_the_folder(pcvctl, daemon, root):
    daemon({**REPRO, "files": {"../escaped": "x"}})
    refused = pcvctl("explain", F, "--repro", "out")
    assert refused.returncode == 2
    assert not Path(root, "escaped").exists()


def test_a_file_is_no_folder(pcvctl, daemon, root):
    daemon(REPRO)
    assert "is a file" in pcvctl("explain", F, "--repro", "pcv.toml").stderr
    assert "--repro" in pcvctl("explain", F, "--force").stderr


# -- diff --------------------------------------------------------------------------------------------


def test_the_stage_may_stand_behind_the_flags(pcvctl, daemon):
    server = daemon(difference())
    pcvctl("diff", F, "--schedule", "serial", "threads:2", "object")
    assert "stage=object&left=serial&right=threads:2" in server.requests[0]["line"]
    assert "unrecognized arguments: more" in pcvctl("diff", F, "object", "--raw", "more").stderr


def test_a_diff_goes_to_standard_output_and_remarks_do_not(pcvctl, daemon):
    server = daemon(difference())
    shown = pcvctl("diff", F, "object", "--schedule", "serial", "threads:2", "--raw", "--part", "one two")
    assert shown.returncode == 1
    assert server.requests[0]["line"].split()[1] == (
        f"/v1/diff?target={F}&stage=object&left=serial&right=threads:2&part=one%20two&form=raw"
    )
    assert shown.stdout.splitlines()[2:] == ["@@ -1,1 +1,1 @@", "-\tmov\\x1b", "+\tadd"]
    assert "one more thing" in shown.stderr


@pytest.mark.parametrize(("equal", "code"), [(True, 0), (False, 1), (None, 3), ("yes", 3)])
def test_its_exit_code_tells_whether_there_is_a_difference(pcvctl, daemon, equal, code):
    daemon(difference(equal=equal, parts=[]))
    assert pcvctl("diff", F).returncode == code
    assert json.loads(pcvctl("diff", F, "--json").stdout)["equal"] == equal


TOOL = """
import sys
left, right = (open(path, "rb").read() for path in sys.argv[1:])
print(left, right, sys.argv[1].endswith("serial.o"), sys.argv[2].endswith("threads:2.o"))
sys.exit({})
"""


@pytest.mark.parametrize(("status", "code"), [(0, 0), (1, 1), (2, 2), (77, 2)])
def test_another_tool_gets_both_sides_as_files(pcvctl, daemon, status, code):
    server = daemon(difference())
    shown = pcvctl(
        "diff", F, "--tool", f"{shlex.quote(sys.executable)} -c {shlex.quote(TOOL.format(status))}"
    )
    assert shown.returncode == code, shown.stderr
    assert shown.stdout.split() == ["b'left", "bytes'", "b'right", "bytes'", "True", "True"]
    assert "whole=1" in server.requests[0]["line"]


@pytest.mark.parametrize("tool", ["no-such-tool-anywhere", "'unbalanced", " "])
def test_a_tool_that_cannot_be_run_is_trouble(pcvctl, daemon, tool):
    daemon(difference())
    shown = pcvctl("diff", F, "--tool", tool)
    assert shown.returncode == 2
    assert "Traceback" not in shown.stderr


def test_a_side_that_is_lost_is_trouble_and_one_that_never_was_is_an_empty_file(pcvctl, daemon, http):
    (part,) = difference()["parts"]
    tool = f"{shlex.quote(sys.executable)} -c {shlex.quote(TOOL.format(1))}"
    server = daemon(difference(parts=[{**part, "bytes": [part["bytes"][0], None]}]))
    assert pcvctl("diff", F, "--tool", tool).returncode == 2
    alone = difference(parts=[{**part, "right": None, "bytes": [part["bytes"][0], None]}])
    server.answer = lambda _: http(200, alone)
    shown = pcvctl("diff", F, "--tool", tool)
    assert shown.returncode == 1
    assert "b''" in shown.stdout


def test_where_nothing_differs_the_tool_is_not_asked(pcvctl, daemon):
    daemon(difference(equal=True, parts=[], remarks=["no stage differs"]))
    shown = pcvctl("diff", F, "--tool", "no-such-tool-anywhere")
    assert (shown.returncode, shown.stdout) == (0, "")
    assert "no stage differs" in shown.stderr


@pytest.mark.parametrize(
    "arguments", [["--raw", "--canonical"], ["--schedule", "serial"], ["--tool", "x", "--json"]]
)
def test_options_that_exclude_each_other(pcvctl, arguments):
    assert pcvctl("diff", F, *arguments).returncode == 2


# -- history -----------------------------------------------------------------------------------------


def test_a_history_names_what_changed(pcvctl, daemon):
    changed = {
        "verdict": ["agree", "diverged"],
        "stages": ["hlo", "object"],
        "environment": {"jax": ["0.10.2", "0.12.0"], **{f"config.{n}": [n, None] for n in range(9)}},
        "cohort": {"added": ["a.py:f"], "removed": ["b.py:f", "c.py:f", "d.py:f", "e.py:f"]},
    }
    server = daemon(
        chapters(
            {
                "round": 7, "checked_at": "2026-01-02T03:04:05Z", "verdict": "diverged", "first_stage": "hlo",
                "why": "saved models/mlp.py", "changed": changed,
            },
            {"round": 6, "checked_at": "2026-01-01T00:00:00Z", "verdict": "agree", "why": "first"},
        )
    )  # fmt: skip
    shown = pcvctl("history", F, "--limit", "2")
    assert shown.returncode == 0
    assert server.requests[0]["line"].split()[1] == f"/v1/history?target={F}&limit=2"
    lines = shown.stdout.splitlines()
    assert lines[0] == "✗ 7  2026-01-02 03:04:05Z  diverged (first: hlo)  saved models/mlp.py"
    assert [line.strip() for line in lines[1:4]] == [
        "was agree", "the serial build changed: hlo, object", "jax: 0.10.2 → 0.12.0"
    ]  # fmt: skip
    assert "and 4 more of its environment" in shown.stdout
    assert "now built beside a.py:f" in shown.stdout
    assert "no longer built beside b.py:f, c.py:f, d.py:f and 1 more" in shown.stdout
    assert lines[-1] == "✓ 6  2026-01-01 00:00:00Z  agree  first"


def test_a_history_tells_when_a_verdict_was_confirmed(pcvctl, daemon):
    when = {"judged_at": "2026-01-01T00:00:00Z", "checked_at": "2026-01-02T03:04:05Z"}
    daemon(
        chapters(
            {"round": 8, **when, "verdict": "agree", "why": "new", "untraced": ["threads:4", "processes:2"]},
            {"round": 7, **when, "verdict": "agree", "why": "new"},
            {"round": 6, **when, "checked_at": when["judged_at"], "verdict": "agree", "why": "first"},
        )
    )
    lines = pcvctl("history", F).stdout.splitlines()
    assert [line.strip() for line in lines[:3]] == [
        "✓ 8  2026-01-01 00:00:00Z  agree  new",
        "confirmed 2026-01-02 03:04:05Z: edits since have left the program as it was; under threads:4 and",
        "processes:2 that was not seen",
    ]
    assert [line.strip() for line in lines[3:]] == [
        "✓ 7  2026-01-01 00:00:00Z  agree  new",
        "confirmed 2026-01-02 03:04:05Z: edits since have left the program as it was",
        "✓ 6  2026-01-01 00:00:00Z  agree  first",
    ]


def test_a_target_that_was_never_judged_exits_3(pcvctl, daemon):
    daemon(chapters())
    shown = pcvctl("history", F)
    assert shown.returncode == 3
    assert "not checked yet" in shown.stdout
    assert pcvctl("history", F, "--json").returncode == 3


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1e3", "10001"])
def test_a_limit_that_is_none(pcvctl, limit):
    assert pcvctl("history", F, "--limit", limit).returncode == 2


# -- without a daemon --------------------------------------------------------------------------------

CHILD = """
import json, os, sys
print("junk" if os.environ["ANSWER"] == "junk" else os.environ["ANSWER"])
if sys.argv[1:] != ["ask", "--root", os.environ["ROOT"], "--", os.environ["QUESTION"]]:
    sys.exit(f"asked {sys.argv[1:]}")
sys.exit(int(os.environ["CODE"]))
"""


@pytest.fixture
def child(tmp_path, pcvctl, root):
    """Run a command where `pcvd ask` gives this answer."""
    package = tmp_path / "child" / "pcvd"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(CHILD)

    def run(*arguments, answer, question, code=0):
        text = answer if isinstance(answer, str) else json.dumps(answer)
        env = {"ANSWER": text, "QUESTION": question, "CODE": str(code), "ROOT": root}
        return pcvctl(*arguments, path=[str(package.parent)], **env)

    return run


def test_the_records_are_asked_where_no_daemon_runs(child):
    shown = child("history", F, answer=chapters(), question=f"history?target={F}&limit=20")
    assert shown.returncode == 3, shown.stderr


def test_its_trouble_is_told_as_the_clients_own(child):
    trouble = {"schema": 1, "error": {"message": "no such target", "hint": "did you mean that?"}}
    shown = child("explain", F, answer=trouble, question=f"explain?target={F}", code=2)
    assert shown.returncode == 2
    assert shown.stderr == "pcvctl: no such target\n  did you mean that?\n"


@pytest.mark.parametrize("code", [0, 1, 3])
def test_one_that_breaks_down_is_trouble(child, code):
    shown = child("explain", F, answer="junk", question=f"explain?target={F}", code=code)
    assert shown.returncode == 2
    assert shown.stdout == ""
