"""`explain`, `diff` and `history` on real rounds, with a daemon and without one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = 'platform = "cpu"\nschedules = ["serial", "threads:2"]\n'
MODELS = """
    import itertools

    import jax
    import jax.numpy as jnp
    import pcv

    count = itertools.count(1)

    @pcv.target("f32[4]")
    def scaled(x):
        return x * next(count)

    @pcv.target("f32[4]")
    def shifted(x):
        return x + next(count)

    @pcv.target("f32[4,4]")
    def plain(x):
        return jnp.cos(x) + 1

    @pcv.target("u32[]")
    def noise(seed):
        return jax.random.normal(jax.random.key(seed), (8,))
"""
PLAIN, NOISE, SCALED = (f"models/m.py:{name}" for name in ("plain", "noise", "scaled"))


@pytest.fixture(scope="module")
def project(new_project):
    """A project that was checked once: `noise` gets other machine code in another order, `scaled` another
    program.
    """
    made = new_project({"pcv.toml": SETTINGS, "models/m.py": MODELS})
    made.pcvctl("check")
    return made


@pytest.fixture(scope="module")
def verdicts(project):
    return {one["target"]: one["verdict"] for one in project.json("status")["targets"]}


def test_the_models_are_what_these_tests_take_them_for(verdicts):
    assert verdicts[PLAIN] == "agree"
    assert verdicts[NOISE] == "equivalent"
    assert verdicts[SCALED] == "diverged"


def test_an_agreement_is_explained_by_its_evidence(project):
    document = project.json("explain", PLAIN, code=3)  # nothing is fresh without a daemon
    assert (document["verdict"], document["fresh"], document["first_stage"]) == ("agree", False, None)
    assert {one["state"] for one in document["stages"]} <= {"identical", "absent"}
    assert "executable" in document["evidence"]["rules"]
    shown = project.pcvctl("explain", PLAIN)
    assert shown.returncode == 3
    assert "had to be put into canonical form" in shown.stdout.replace("\n│          ", " ")


def test_machine_code_that_differs_is_shown_down_to_the_instruction(project):
    document = project.json("explain", NOISE)
    assert document["first_stage"] in {"llvm", "object"}
    first = document["stages"][0]
    assert (first["stage"], first["state"], first["tolerated"]) == (document["first_stage"], "differs", True)
    assert first["parts"][0]["kernel"]
    code = next(one for one in document["stages"] if one["stage"] == "object")
    assert all(part["excerpt"] or part["remarks"] for part in code["parts"][:8])
    assert all(leaf["bitwise"] for leaf in document["outputs"])
    assert document["says"]["do"]


def test_a_program_that_differs_is_shown_line_by_line(project):
    document = project.json("explain", SCALED, code=1)
    assert document["first_stage"] == "jaxpr"
    excerpt = document["stages"][0]["parts"][0]["excerpt"]
    assert any(line.startswith("-") for line in excerpt)
    assert any(line.startswith("+") for line in excerpt)
    (leaf,) = document["outputs"]
    apart = leaf["runs"]["threads:2"]
    assert (apart["differing"], apart["elements"], apart["within_tolerance"]) == (4, 4, False)
    (status,) = (one for one in project.json("status")["targets"] if one["target"] == SCALED)
    measured = [one for one in status["output"]["leaves"] if one["schedule"] == "threads:2"]
    assert apart["max_abs"] == max(one["max_abs"] for one in measured) > 0
    assert apart["max_ulps"] is not None
    shown = project.pcvctl("explain", SCALED)
    assert shown.returncode == 1
    assert "the jaxpr is what differs first" in shown.stdout


def test_diff(project):
    shown = project.pcvctl("diff", SCALED)
    assert shown.returncode == 1
    assert shown.stdout.startswith("--- serial/jaxpr/jaxpr.txt\n+++ ")
    assert project.pcvctl("diff", SCALED, "stablehlo").returncode == 1
    assert project.pcvctl("diff", PLAIN).returncode == 0
    assert project.pcvctl("diff", PLAIN, "hlo", "--schedule", "threads:2", "serial").stdout == ""
    assert project.pcvctl("diff", PLAIN, "executable", "--raw").returncode == 1  # raw ones always differ
    output = project.pcvctl("diff", SCALED, "output")
    assert "4 of 4 elements differ, at most " in output.stdout


def test_diff_through_another_tool(project):
    tool = f"{sys.executable} -c 'import sys; print([p[-5:] for p in sys.argv[1:]]); sys.exit(1)'"
    shown = project.pcvctl("diff", SCALED, "stablehlo", "--tool", tool)
    assert shown.returncode == 1
    assert shown.stdout.count(".mlir") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["explain", "models/m.py:plian"], 2, "did you mean"),
        (["history", "nobody"], 2, "no target"),
        (["diff", PLAIN, "hlo2"], 2, "no stage"),
        (["diff", PLAIN, "--schedule", "serial", "threads:9"], 2, "threads:2"),
        (["explain", PLAIN, "--repro", "out"], 2, "nothing differs"),
    ],
)
def test_questions_that_make_no_sense(project, arguments, code, word):
    shown = project.pcvctl(*arguments)
    assert (shown.returncode, shown.stdout) == (code, "")
    assert word in shown.stderr
    assert "Traceback" not in shown.stderr


def test_history(project):
    document = project.json("history", SCALED, code=0)
    assert [one["verdict"] for one in document["verdicts"]] == ["diverged"]
    assert document["verdicts"][0]["changed"] is None
    assert "diverged (first: jaxpr)" in project.pcvctl("history", SCALED).stdout


def reproduced(project, target, tmp_path, *arguments):
    """What comes of a reproduction's script, run where pcv cannot be imported."""
    written = project.pcvctl("explain", target, "--repro", str(tmp_path / "repro"), "--json")
    assert written.returncode == 0, written.stderr
    return json.loads(written.stdout), subprocess.run(
        [sys.executable, "-P", "repro.py", *arguments],
        cwd=tmp_path / "repro", env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_compilers_difference_shows_without_pcv(project, tmp_path):
    told, ended = reproduced(project, NOISE, tmp_path, "--repeat", "1")
    assert told["shows"] == "compiler"
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "differs in 1 of 1" in ended.stdout
    assert ".o\n" in ended.stdout
    assert project.root not in Path(tmp_path, "repro", "repro.json").read_text()


def test_a_traced_difference_shows_without_pcv_and_without_a_compiler(project, tmp_path):
    told, ended = reproduced(project, SCALED, tmp_path)
    assert told["shows"] == "tracing"
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "not of XLA" in ended.stdout


def test_with_a_program_that_no_compiler_takes_the_script_says_trouble(project, tmp_path):
    reproduced(project, NOISE, tmp_path, "--help")
    for program in Path(tmp_path, "repro", "programs").iterdir():
        program.write_text("no program")
    ended = subprocess.run(
        [sys.executable, "-P", "repro.py"],
        cwd=tmp_path / "repro",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2


def test_where_nothing_was_checked_everything_is_open(new_project):
    empty = new_project({"pcv.toml": SETTINGS + '[[target]]\nentry = "models/m.py:f"\nargs = []\n'})
    for command in ("explain", "history", "diff"):
        shown = empty.pcvctl(command, "models/m.py:f")
        assert shown.returncode == 3, (command, shown.stderr)
    assert not empty.path(".pcv").exists()


def test_a_daemon_answers_the_same_and_knows_what_is_fresh(project):
    before = {name: project.json("explain", name) for name in (PLAIN, SCALED)}
    project.start()
    try:
        project.json("wait", "--timeout", "100")
        for name, document in before.items():
            now = project.json("explain", name)
            assert now["fresh"] is True
            assert now["verdict"] == document["verdict"]
        assert project.pcvctl("explain", PLAIN).returncode == 0
        assert project.pcvctl("explain", "nobody").returncode == 2
        code, _, body = project.ask("GET", f"/v1/diff?target={SCALED}&stage=jaxpr&form=raw")
        assert (code, json.loads(body)["equal"]) == (200, False)
        assert project.ask("GET", f"/v1/history?target={SCALED}&limit=x")[0] == 404
    finally:
        project.end()
