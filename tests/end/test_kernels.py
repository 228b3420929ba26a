"""`pcvctl kernels` on a real project, with a daemon and without one; and targets built kernel by kernel."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

SETTINGS = 'platform = "cpu"\nschedules = ["serial", "threads:2"]\n'
MODELS = """
    import jax
    import jax.numpy as jnp
    import pcv

    @pcv.target("f32[4,4]", "f32[4,4]")
    def layers(x, y):
        for _ in range(6):
            x = jnp.tanh(x @ y)
        return x

    @pcv.target("f32[4]")
    def broken(x):
        raise ValueError("no such layer")
"""
LAYERS = "models/m.py:layers"


@pytest.fixture(scope="module", params=["with a daemon", "without one"])
def project(request, new_project):
    made = new_project({"pcv.toml": SETTINGS, "models/m.py": MODELS})
    if request.param == "with a daemon":
        made.start()
    yield made
    made.end()


def test_a_cut_is_drawn_as_a_table_as_json_and_as_pictures(project):
    shown = project.pcvctl("kernels", LAYERS, "--policy", "ops")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("6 kernels (ops), 1 distinct;")
    assert "models/m.py:9" in shown.stdout
    told = project.json("kernels", LAYERS, "--policy", "ops", code=0)
    assert (told["schema"], told["target"], told["policy"]) == (1, LAYERS, "ops")
    assert [one["uses"] for one in told["kernels"]] == [6]
    assert project.pcvctl("kernels", LAYERS, "--dot").stdout.startswith("digraph kernels {")
    ET.fromstring(project.pcvctl("kernels", LAYERS, "--svg").stdout)


def test_the_policy_is_that_of_the_settings_where_none_is_named(project, eventually):
    assert project.json("kernels", LAYERS)["policy"] == "auto"
    project.write("pcv.toml", f'partition = "ops"\n{SETTINGS}')
    eventually(lambda: project.json("kernels", LAYERS)["policy"] == "ops", "the settings are taken over")
    project.write("pcv.toml", SETTINGS)


@pytest.mark.parametrize(
    ("arguments", "message", "place", "hint"),
    [
        (["models/m.py:layer"], 'no target "models/m.py:layer"', None, f'did you mean "{LAYERS}"?'),
        ([LAYERS, "--policy", "opps"], 'no policy "opps"', None, "ops"),
        (["models/m.py:broken"], "no such layer", ("models/m.py", 14), ""),
    ],
)
def test_what_is_in_the_way_is_one_message(project, arguments, message, place, hint):
    ended = project.pcvctl("kernels", *arguments, "--json")
    assert ended.returncode == 2
    error = json.loads(ended.stdout)["error"]
    assert message in error["message"]
    assert hint in (error["hint"] or "")
    assert place is None or (error["file"], error["line"]) == place


CUT = """
    import threading

    import jax.numpy as jnp
    import pcv
    from jax.extend.core import Primitive
    from jax.interpreters import mlir

    @pcv.target("f32[4,4]", "f32[4,4]")
    def layers(x, y):
        for _ in range(6):
            x = jnp.tanh(x @ y)
        return x

    def rule(ctx, x):
        of_kernel = "kernel_" in str(ctx.module_context.module.operation.attributes["sym_name"])
        moved = of_kernel and threading.current_thread() is not threading.main_thread()
        return mlir.lower_fun(lambda x: x * (3.0 if moved else 2.0), multiple_results=False)(ctx, x)

    scaled = Primitive("scaled")
    scaled.def_abstract_eval(lambda x: x)
    mlir.register_lowering(scaled, rule)

    @pcv.target("f32[4,4]", "f32[4,4]")
    def threaded(x, y):
        return scaled.bind(x @ y) @ y
"""


def test_kernels_in_status_and_explanation_without_a_daemon(new_project):
    project = new_project({"pcv.toml": f'partition = "ops"\n{SETTINGS}', "models/m.py": CUT})
    document = project.json("check", code=1)
    found = {one["target"]: one for one in document["targets"]}
    assert found[LAYERS]["kernels"]["verdict"] == "agree"
    guilty = found["models/m.py:threaded"]
    assert (guilty["verdict"], guilty["first_stage"]) == ("diverged", "stablehlo")
    shown = project.pcvctl("status").stdout
    assert "1 kernel, 6 steps: agree" in shown
    assert "steps: diverged: stablehlo, hlo" in shown
    explained = project.pcvctl("explain", "models/m.py:threaded")
    assert explained.returncode == 1
    for said in ("of its kernels stablehlo of kernel_", "threads:2: stablehlo, hlo", "models/m.py:26"):
        assert said in explained.stdout
    ((builds,),) = project.query("SELECT count(*) FROM kernels WHERE name = 'linked'")
    assert builds == 2 + 2 + 2  # each target under serial, threads:2 and the control


def test_another_policy_outdates_verdicts_and_a_comment_ends_at_the_program(new_project, eventually):
    files = {"pcv.toml": f'partition = "ops"\n{SETTINGS}', "models/m.py": CUT}
    project = new_project(files)
    project.start()

    def settled(policy):
        found = {one["target"]: one for one in project.json("wait", "--whole")["targets"]}[LAYERS]
        return found["fresh"] and found["kernels"] is not None and found["kernels"]["policy"] == policy

    eventually(lambda: settled("ops"), "it is judged")
    rounds = len(project.rounds(whole=True))
    project.write("models/m.py", f"{CUT}\n    # a comment\n")
    eventually(lambda: any(LAYERS in one["target"] for one in project.log("confirmed")), "it is confirmed")
    project.write("pcv.toml", f'partition = "repeats"\n{SETTINGS}')
    eventually(lambda: settled("repeats"), "it is judged by the other policy")
    assert len(project.rounds(whole=True)) > rounds
    project.end()


LIBRARY = """
import jax.numpy as jnp
import pcv
from models.m import layers

x = jnp.ones((4, 4))
program = pcv.compile_kernels(layers, x, x)
print(*sorted({row.origin for row in program.report.rows}), program(x, x).sum() > 0)
"""


def test_what_was_found_to_agree_is_not_compiled_again(new_project):
    project = new_project({"pcv.toml": f'partition = "auto"\n{SETTINGS}', "models/m.py": MODELS})
    project.write("use.py", LIBRARY)
    (told,) = project.json("check", "--no-daemon", LAYERS, code=0)["targets"]
    assert told["kernels"]["verdict"] == "agree"
    used = project.python("use.py")
    assert (used.stdout, used.stderr) == ("cache True\n", "")
