"""`pcvctl kernels` on a real project, with a daemon and without one."""

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
