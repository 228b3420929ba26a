from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pcv_config import demonstration, settings

if TYPE_CHECKING:
    from pathlib import Path

TRIAL = """
import functools, json, sys
import jax, numpy as np
import pcv
sys.path.insert(0, sys.argv[1])
from models import mlp

params = mlp.init_params()
random = np.random.default_rng(0)
x, y = random.normal(size=(mlp.BATCH, 128)).astype("f"), random.normal(size=(mlp.BATCH, 64)).astype("f")
z = np.asarray(x, "d")
for place, layer in enumerate(params):
    z = z @ np.asarray(layer["weights"], "d") + np.asarray(layer["biases"], "d")
    z = np.maximum(z, 0) if place < 3 else z
slopes = mlp.loss_gradient(params, x, y)
after, before = mlp.train_step(params, x, y)
step = jax.tree.map(lambda value, slope: value - mlp.LEARNING_RATE * slope, params, slopes)
same = jax.tree.map(lambda one, other: bool((one == other).all()), params, mlp.init_params())
close = jax.tree.map(lambda one, other: bool(np.allclose(one, other, atol=1e-6)), step, after)
example = jax.tree.map(lambda leaf: [list(leaf.shape), str(leaf.dtype)], mlp.example_step()[1:])
print(json.dumps({
    "count": mlp.count(params),
    "shapes": [[list(layer["weights"].shape), list(layer["biases"].shape)] for layer in params],
    "forward": float(np.abs(np.asarray(mlp.forward(params, x)) - z).max()),
    "deterministic": jax.tree.all(same),
    "step": jax.tree.all(close),
    "loss": [float(before), float(mlp.loss(params, x, y)), float(mlp.loss(after, x, y))],
    "example": example,
    "declared": [[one.name, one.module, one.line] for one in pcv.declared()],
}))
"""


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    demonstration.copy_to(str(tmp_path / "demo"))
    return tmp_path / "demo"


def test_the_copy_is_the_whole_project(demo: Path) -> None:
    files = sorted(str(path.relative_to(demo)) for path in demo.rglob("*") if path.is_file())
    assert files == ["models/mlp.py", "pcv.toml"]
    for path in (demo, demo / "models", demo / "pcv.toml", demo / "models" / "mlp.py"):
        assert os.access(path, os.W_OK)


def test_the_demo_is_a_project(demo: Path) -> None:
    found = settings.load(str(demo))
    assert found.schedules == ("serial", "control", "threads:1", "threads:2", "threads:4", "processes:2")
    assert [target.entry for target in found.targets] == [
        "models/mlp.py:forward",
        "models/mlp.py:loss_gradient",
    ]


def test_the_network_is_what_it_says(demo: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRIAL, str(demo)], capture_output=True, text=True, check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["count"] == 312_384
    assert said["shapes"] == [
        [[128, 256], [256]],
        [[256, 512], [512]],
        [[512, 256], [256]],
        [[256, 64], [64]],
    ]
    assert said["forward"] < 1e-3
    assert said["deterministic"]
    assert said["step"]
    before, loss, after = said["loss"]
    assert before == pytest.approx(loss)
    assert after < before
    assert said["example"] == [[[32, 128], "float32"], [[32, 64], "float32"]]
    # One target in the code, two in pcv.toml: the demo shows both ways.
    [[name, module, line]] = said["declared"]
    assert (name, module) == ("train_step", "models.mlp")
    assert (demo / "models" / "mlp.py").read_text().splitlines()[line - 1].startswith("@pcv.target")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(FileExistsError, match="is not empty"):
        demonstration.copy_to(str(tmp_path))
    with pytest.raises(FileExistsError, match="is a file"):
        demonstration.copy_to(str(tmp_path / "mine"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    demonstration.copy_to(str(tmp_path))
    assert (tmp_path / "pcv.toml").is_file()


def test_an_edit_changes_one_line_and_replaces_the_file(demo: Path) -> None:
    path = demo / "models" / "mlp.py"
    path.chmod(0o640)
    old, inode = path.read_text().splitlines(), path.stat().st_ino
    with path.open() as held:  # an inode that somebody holds is not given to the new file
        assert demonstration.edit(str(demo), "0.02") == str(path)
        assert path.stat().st_ino != inode
        assert held.read().splitlines() == old
    new = path.read_text().splitlines()
    assert [(one, other) for one, other in zip(old, new, strict=True) if one != other] == [
        ("LEARNING_RATE = 0.01", "LEARNING_RATE = 0.02")
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["mlp.py"]
    demonstration.edit(str(demo), "1e-3")
    assert "\nLEARNING_RATE = 1e-3\n" in path.read_text()


def test_an_edit_that_can_not_be_made_changes_nothing(demo: Path) -> None:
    path = demo / "models" / "mlp.py"
    text = path.read_text()
    with pytest.raises(ValueError, match="could not convert"):
        demonstration.edit(str(demo), "fast; import os")
    assert path.read_text() == text
    path.write_text(text.replace("LEARNING_RATE =", "RATE ="))
    with pytest.raises(ValueError, match=r"mlp\.py has 0 lines"):
        demonstration.edit(str(demo), "0.1")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        demonstration.edit(str(demo), "0.1")
