import json
import os
from pathlib import Path

import pytest


def test_init_writes_a_file_that_loads_and_says_what_next(pcvctl, tmp_path):
    folder = tmp_path / "new" / "project"
    made = pcvctl("init", str(folder))
    assert made.returncode == 0
    assert "pcvctl check" in made.stdout
    from pcv_config import settings

    assert settings.load(os.path.realpath(folder)).targets == ()
    before = (folder / "pcv.toml").read_text()
    again = pcvctl("init", cwd=folder)
    assert (again.returncode, again.stdout) == (2, "")
    assert "already" in again.stderr
    assert (folder / "pcv.toml").read_text() == before


def test_init_beside_settings_in_pyproject(pcvctl, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.pcv]\n")
    made = pcvctl("init", cwd=tmp_path)
    assert made.returncode == 2
    assert "pyproject.toml" in made.stderr
    assert not (tmp_path / "pcv.toml").exists()


def test_init_in_a_file(pcvctl, tmp_path):
    (tmp_path / "file").write_text("")
    made = pcvctl("init", str(tmp_path / "file"))
    assert made.returncode == 2
    assert "Traceback" not in made.stderr


def test_init_in_json(pcvctl, tmp_path):
    made = pcvctl("init", "--json", cwd=tmp_path)
    assert json.loads(made.stdout) == {"file": os.path.realpath(tmp_path / "pcv.toml")}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["status", "--frobnicate"],
        ["wait", "--timeout", "soon"],
        ["wait", "--timeout", "-1"],
        ["wait", "--timeout", "nan"],
        ["logs", "-n", "-1"],
        ["logs", "-n", "x"],
        ["check", "--root"],
        ["stop", "now"],
    ],
)
def test_usage_is_2_and_silent_on_standard_output(pcvctl, arguments):
    shown = pcvctl(*arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "usage:" in shown.stderr


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["status", "--frobnicate"], ["stop", "now"]])
def test_usage_is_told_in_json_too(pcvctl, arguments):
    shown = pcvctl(*arguments, "--json")
    assert shown.returncode == 2
    whole = json.loads(shown.stdout)
    assert whole["schema"] == 1
    assert whole["error"].keys() == {"message", "file", "line", "hint"}
    assert f"pcvctl: {whole['error']['message']}" in shown.stderr


def test_trouble_is_told_in_json_too(pcvctl, tmp_path, root):
    for arguments in (["status"], ["check"], ["start"], ["stop"], ["logs"], ["wait"]):
        shown = pcvctl(*arguments, "--json", cwd=tmp_path)
        assert shown.returncode == 2
        error = json.loads(shown.stdout)["error"]
        assert "pcv.toml" in error["message"]
        assert "pcvctl init" in error["hint"]
        assert shown.stderr == f"pcvctl: {error['message']}\n  {error['hint']}\n"


def test_what_the_system_refuses_is_told_with_its_file(pcvctl, root):
    Path(root, ".pcv").mkdir()
    Path(root, ".pcv", "pcvd.log").mkdir()
    shown = pcvctl("logs", "--json")
    error = json.loads(shown.stdout)["error"]
    assert (shown.returncode, error["message"]) == (2, "Is a directory")
    assert error["file"].endswith(".pcv/pcvd.log")
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["status", "-h"], ["demo", "-h"], ["--version"]])
def test_help_is_0(pcvctl, arguments):
    shown = pcvctl(*arguments)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout


def test_demo_refuses_a_folder_with_something_in_it(pcvctl, tmp_path):
    shown = pcvctl("demo", str(tmp_path))
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "not empty" in shown.stderr


def test_demo_that_comes_to_no_round_leaves_nothing_behind(pcvctl, standin, tmp_path):
    (tmp_path / "temporary").mkdir()
    shown = pcvctl("demo", path=[standin.path], STANDIN="dies", TMPDIR=str(tmp_path / "temporary"))
    assert shown.returncode == 2
    assert "pcv.toml:3" in shown.stderr
    assert list((tmp_path / "temporary").iterdir()) == []
