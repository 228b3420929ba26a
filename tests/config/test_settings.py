from __future__ import annotations

import os
import pickle
import re
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pcv_config import settings
from pcv_config.settings import SettingsError, TargetSetting
from pcvd.core import builds, schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    Load = Callable[..., settings.Settings]


def complaint(load: Load, text: str | bytes, file: str = "pcv.toml") -> str:
    with pytest.raises(SettingsError) as caught:
        load(textwrap.dedent(text) if isinstance(text, str) else text, file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_empty_file_leaves_every_default(load: Load, tmp_path: Path) -> None:
    found = load("")
    assert found == settings.Settings(root=os.path.realpath(tmp_path), source="pcv.toml")
    assert found.python == sys.executable
    assert found.schedules == ("serial", "threads:2", "threads:4", "processes:2")


def test_every_setting_arrives(load: Load, tmp_path: Path) -> None:
    for folder in ("models", "lib"):
        (tmp_path / folder).mkdir()
    text = """
        watch = ["models"]
        ignore = ["*.tmp", "out"]
        paths = ["lib", "."]
        platform = "cpu"
        schedules = ["processes:64", "serial", "control", "threads:1"]
        atol = 1
        rtol = 0.0
        seed = 4294967295
        timeout_s = 1.5
        memory_mb = 4096
        settle_ms = 0
        hosts = "local"
        tolerate = []
        [env]
        XLA_FLAGS = ""
        JAX_ENABLE_X64 = "1"
        [[target]]
        entry = "models/a.py:Model.apply"
        args = ["bf16[2, 3]", "f32[]", "models/a.py:make"]
        [[target]]
        args = "a.py:all"
        entry = "models/b.py:f"
        [[target]]
        entry = "models/c.py:f"
        [[target]]
        entry = "models/d.py:f"
        args = []
    """
    assert load(textwrap.dedent(text)) == settings.Settings(
        root=os.path.realpath(tmp_path),
        source="pcv.toml",
        watch=("models",),
        ignore=("*.tmp", "out"),
        paths=("lib", "."),
        platform="cpu",
        schedules=("processes:64", "serial", "control", "threads:1"),
        atol=1.0,
        rtol=0.0,
        seed=4294967295,
        timeout_s=1.5,
        memory_mb=4096,
        settle_ms=0,
        tolerate=(),
        env={"XLA_FLAGS": "", "JAX_ENABLE_X64": "1"},
        targets=(
            TargetSetting("models/a.py:Model.apply", ("bf16[2, 3]", "f32[]", "models/a.py:make"), 19),
            TargetSetting("models/b.py:f", "a.py:all", 23),
            TargetSetting("models/c.py:f", None, 25),
            TargetSetting("models/d.py:f", (), 27),
        ),
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('shedules = ["serial"]', 'unknown key "shedules" (did you mean "schedules"?)'),
        ("targets = []", 'unknown key "targets" (did you mean "target"?)'),
        ("xyzzy = 1", 'unknown key "xyzzy" (known: watch, ignore,'),
        ('"a\\nb" = 1', r'unknown key "a\nb"'),
        ("[tool.pcv]", 'unknown key "tool" (in pcv.toml settings stand at the top'),
        ("seed = true", '"seed" must be a whole number, but is a boolean'),
        ("seed = 1.0", '"seed" must be a whole number, but is a number'),
        ("seed = -1", '"seed" is -1, but must be from 0 to 4294967295'),
        (f"seed = 0x{'f' * 5000}", '"seed" is a number of that size'),
        ("atol = false", '"atol" must be a number, but is a boolean'),
        ('atol = "1e-6"', '"atol" must be a number, but is a string'),
        ("atol = -1e-6", '"atol" is -1e-06, but must be from 0'),
        ("rtol = nan", '"rtol" is NaN, but must be'),
        ("rtol = inf", '"rtol" is Infinity, but must be'),
        ("timeout_s = 0", '"timeout_s" is 0, but must be from 0.1 to 86400'),
        ("timeout_s = 07:32:00", '"timeout_s" must be a number, but is a date or time'),
        ("memory_mb = 100", '"memory_mb" is 100, but JAX alone needs 256 (0 leaves it to pcv)'),
        ("settle_ms = 60000", '"settle_ms" is 60000, but must be from 0 to 10000'),
        ("watch = []", '"watch" is empty'),
        ('watch = "."', '"watch" must be a list of strings, but is a string (watch = ["."])'),
        ('watch = ["modles"]', '"watch" holds "modles", which is no folder'),
        ('paths = [".", "modles"]', '"paths" holds "modles", which is no folder'),
        ('paths = [".", "."]', '"paths" holds "." twice'),
        ('ignore = ["a", 1]', '"ignore" must be a list of strings, but holds a whole number'),
        ('ignore = [" "]', '"ignore" holds " ", which names nothing'),
        ('platform = "gpu"', '"platform" is "gpu" (known: auto, cpu, cuda)'),
        ('platform = "tpu-v5"', '"platform" is "tpu-v5" (known: auto, cpu, cuda)'),
        ('hosts = "tcp://10.0.0.1:8786"', 'only "local" is supported as yet (hosts = "local")'),
        ('schedules = ["serial", "thread:2"]', 'unknown schedule "thread:2" (known: serial, control,'),
        ('schedules = ["serial", "threads"]', 'unknown schedule "threads"'),
        ('schedules = ["serial", "threads:0"]', 'unknown schedule "threads:0"'),
        ('schedules = ["serial", "threads:02"]', 'unknown schedule "threads:02"'),
        ('schedules = ["serial", "threads:٢"]', 'unknown schedule "threads:٢"'),
        ('schedules = ["serial", "threads:65"]', '"threads:65" is too many workers'),
        (f'schedules = ["serial", "threads:{"9" * 5000}"]', "is too many workers"),
        ('schedules = ["serial", "hosts"]', 'the schedule "hosts" is not built yet'),
        ('schedules = ["threads:2"]', '"schedules" is without "serial", which the others are compared with'),
        ('schedules = ["serial", "control"]', '"schedules" has nothing to compare with serial'),
        ("schedules = []", '"schedules" is without "serial"'),
        ('schedules = ["serial", "threads:2", "threads:2"]', '"schedules" holds "threads:2" twice'),
        (
            'partition = "atuo"',
            '"partition" is "atuo" (known: auto, repeats, calls, ops, whole)',
        ),
        ('tolerate = ["lvm"]', 'unknown stage "lvm" (did you mean "llvm"?)'),
        ('tolerate = ["locations"]', 'unknown stage "locations" (known: jaxpr, stablehlo,'),
        ("env = 1", '"env" must be a table, but is a whole number (write it as [env])'),
        ("env.A = 1", 'the variable "A" must be a string (A = "…")'),
        ('env."A=B" = "1"', '"A=B" is no name for a variable'),
        ('env.A = "\\u0000"', 'the variable "A" must be a string'),
        ('env.PYTHONHASHSEED = "0"', '"PYTHONHASHSEED" is not for a project to set'),
        ('env.python = "python3"', '"python" stands in [env] (it is a setting of the whole project'),
        ("target = 1", '"target" must be a list of tables, but is a whole number (write [[target]]'),
        ("[target]", '"target" must be a list of tables, but is a table'),
        ("target = [1]", '"target" must be a list of tables, but holds a whole number'),
        ("[[target]]", 'a target without "entry" (add entry ='),
        ('python = ""', '"python" is "", which names nothing'),
        ('python = "no-such-python"', "and PATH has no such command"),
        ('python = ".venv/bin/python"', 'which does not exist (create the environment'),
        ('python = "./"', "which is a folder (name the interpreter itself)"),
        ('python = "./pcv.toml"', "which can't be executed"),
        ("seed = ", "is not valid TOML: Invalid value (mend this line, or the one before it"),
        ("seed = 1\nseed = 2", "pcv.toml:3: is not valid TOML: Cannot overwrite a value (it stands there"),
        ('seed = """\n\n', "pcv.toml:2: is not valid TOML: Unterminated string"),
        (f"seed = {'9' * 5000}", "is not valid TOML: Exceeds the limit"),
        (f"seed = {'[' * 5000}", "nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(load: Load, line: str, said: str) -> None:
    found = complaint(load, "# seed = 1\n" + line)
    assert said in found
    assert found.startswith(("pcv.toml:2: ", "pcv.toml:3: ", "pcv.toml: is no", "pcv.toml: is nested"))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("entri = 'a.py:f'", '5: unknown key "entri" (did you mean "entry"?)'),
        ("entry = 1", '5: "entry" must be a string, but is a whole number'),
        ("args = []", '4: a target without "entry"'),
        ("entry = 'a.py:f'\nseed = 1", '6: "seed" stands in a target (it is a setting of the whole project'),
        ("entry = 'a.py'", '5: "a.py" names no function in a file (write "models/mlp.py:forward")'),
        ("entry = 'a.py:'", '5: "a.py:" names no function'),
        ("entry = ':f'", '5: ":f" names no function'),
        ("entry = 'a.mlir:f'", '5: "a.mlir:f" names no function'),
        ("entry = 'a.py:f()'", '5: "a.py:f()" names no function'),
        ("entry = 'a.py:A..f'", '5: "a.py:A..f" names no function'),
        (r"entry = 'models\a.py:f'", "names no function"),
        (r'entry = "a\n.py:f"' + "\nargs = 1", '6: "args" must be a list of strings'),
        ("entry = '/etc/a.py:f'", '5: "/etc/a.py:f" points outside the project'),
        ("entry = '../a.py:f'", '5: "../a.py:f" points outside the project'),
        ("entry = 'm/../../a.py:f'", "points outside the project"),
        ("entry = './a.py:f'", '5: "./a.py:f" goes a detour (write "a.py:f")'),
        ("entry = 'm//a.py:f'", 'goes a detour (write "m/a.py:f")'),
        ("entry = 'first.py:f'", '5: "first.py:f" is declared twice (it already stands on line 2)'),
        ("entry = 'a.py:f'\nargs = 'f32[3]'", 'the single shape "f32[3]" (write a list: args = ["f32[3]"])'),
        ("entry = 'a.py:f'\nargs = 'make'", '6: "make" names no function in a file'),
        ("entry = 'a.py:f'\nargs = [\n'f32[3]',\n'f32[3'\n]", '8: "f32[3" names no function in'),
        ("entry = 'a.py:f'\nargs = ['f32[3]',\n'/a.py:g']", '7: "/a.py:g" points outside'),
        ("entry = 'a.py:f'\nargs = ['f32[-1]']", 'or, for a shape, "f32[32,128]")'),
        ("entry = 'a.py:f'\nargs = ['F32[1]']", "names no function"),
        ("entry = 'a.py:f'\nargs = [1]", '6: "args" must be a list of strings, but holds a whole number'),
        ("entry = 'a.py:f'\nargs = {}", '6: "args" must be a list of strings, but is a table'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_target_is_said(load: Load, lines: str, said: str) -> None:
    assert said in complaint(load, f"[[target]]\nentry = 'first.py:f'\n\n[[target]]\n{lines}\n")


def test_the_error_has_its_parts(load: Load) -> None:
    with pytest.raises(SettingsError) as caught:
        load("\n\n\n\n\n\nshedules = []")
    error = caught.value
    assert (error.message, error.file, error.line) == ('unknown key "shedules"', "pcv.toml", 7)
    assert error.hint == 'did you mean "schedules"?'
    assert str(error) == 'pcv.toml:7: unknown key "shedules" (did you mean "schedules"?)'
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_pyproject_holds_the_same_settings(load: Load) -> None:
    text = """
        [project]
        name = "seed"
        [tool.pcv]
        seed = 7
        [tool.pcv.env]
        A = "1"
        [[tool.pcv.target]]
        entry = "a.py:f"
    """
    found = load(textwrap.dedent(text), "pyproject.toml")
    assert (found.source, found.seed, found.env) == ("pyproject.toml", 7, {"A": "1"})
    assert found.targets == (TargetSetting("a.py:f", None, 9),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = 1\n[tool.pcv]\nsede = 1", 'pyproject.toml:3: unknown key "sede" (did you mean "seed"?)'),
        (
            "[tool]\npcv = 1",
            'pyproject.toml:2: "pcv" must be a table, but is a whole number (write it as [tool.pcv])',
        ),
        ("[[tool.pcv.target]]\nentry = 'a'", 'pyproject.toml:2: "a" names no function'),
        ("[tool.pcv]\ntarget = 1", "write [[tool.pcv.target]] over each one"),
        ("[project", "pyproject.toml:1: is not valid TOML"),
    ],
)
def test_pyproject_has_the_same_errors(load: Load, text: str, said: str) -> None:
    assert said in complaint(load, text, "pyproject.toml")


def test_settings_in_two_files_are_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("\n[tool.pcv]\nseed = 1\n")
    assert load("# nothing set").source == "pyproject.toml"
    expected = "pyproject.toml:2: [tool.pcv] has settings, and so has pcv.toml (keep one of them)"
    assert complaint(load, "seed = 1") == expected


@pytest.mark.parametrize("other", ["[tool.pcv]\n", "[tool.black]\n", "[broken", "tool = 1", ""])
def test_a_pyproject_without_settings_does_not_matter(load: Load, tmp_path: Path, other: str) -> None:
    (tmp_path / "pyproject.toml").write_text(other)
    found = load("seed = 3")
    assert (found.source, found.seed) == ("pcv.toml", 3)


def test_a_folder_without_settings_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.black]\n")
    for root in (tmp_path, tmp_path / "missing", tmp_path / "pyproject.toml"):
        with pytest.raises(SettingsError, match=r"no pcv\.toml here, .*pcvctl init") as caught:
            settings.load(str(root))
        assert caught.value.file == os.path.realpath(root)


def test_a_file_that_can_not_be_read(load: Load, tmp_path: Path) -> None:
    assert (
        complaint(load, b"# caf\xc3\xa9\n\nhosts = 'caf\xe9'\n")
        == "pcv.toml:3: is not UTF-8 (save it as UTF-8)"
    )
    (tmp_path / "pcv.toml").unlink()
    (tmp_path / "pcv.toml").mkdir()
    with pytest.raises(SettingsError, match=r"pcv\.toml: can't be read: Is a directory"):
        settings.load(str(tmp_path))


def test_a_byte_order_mark_and_windows_newlines_are_no_fault(load: Load) -> None:
    assert load(b"\xef\xbb\xbfseed = 1\r\n").seed == 1
    assert complaint(load, b"\xef\xbb\xbfseed = 1\r\nsede = 1\r\n").startswith(
        'pcv.toml:2: unknown key "sede"'
    )


def test_src_is_an_import_root_where_it_exists(load: Load, tmp_path: Path) -> None:
    (tmp_path / "src").touch()
    assert load("").paths == (".",)
    (tmp_path / "src").unlink()
    (tmp_path / "src").mkdir()
    assert load("").paths == (".", "src")
    assert load('paths = ["."]').paths == (".",)


def test_the_root_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "pcv.toml").touch()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert settings.load("link") == settings.load(os.path.realpath(tmp_path / "real"))


def test_the_interpreter_is_found_but_not_resolved(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(os.path.realpath(tmp_path))
    (root / ".venv" / "bin").mkdir(parents=True)
    link = root / ".venv" / "bin" / "python"
    link.symlink_to(sys.executable)
    assert load('python = ".venv/bin/python"').python == str(link)
    assert load('python = "./.venv/bin/python"').python == str(link)
    assert load(f'python = "{link}"').python == str(link)
    monkeypatch.setenv("HOME", str(root))
    assert load('python = "~/.venv/bin/python"').python == str(link)
    for folder in (".venv", ".venv/"):
        assert 'did you mean ".venv/bin/python"?' in complaint(load, f'python = "{folder}"')
    monkeypatch.setenv("PATH", str(link.parent))
    assert load('python = "python"').python == str(link)
    monkeypatch.chdir(root)
    monkeypatch.setenv("PATH", ".venv/bin")
    assert load('python = "python"').python == str(link)
    link.unlink()
    link.symlink_to("missing")
    assert "does not exist" in complaint(load, 'python = ".venv/bin/python"')


def test_stages_and_schedules_are_the_daemons(load: Load) -> None:
    assert settings.STAGES == builds.STAGES
    assert load(f"tolerate = {list(builds.STAGES)}").tolerate == builds.STAGES
    names = ["serial", "control", "threads:1", "threads:64", "processes:10"]
    assert [schedule.parse(name).name for name in load(f"schedules = {names}").schedules] == names


def test_the_template_changes_nothing(load: Load, tmp_path: Path) -> None:
    assert load(settings.template()) == settings.Settings(root=os.path.realpath(tmp_path), source="pcv.toml")


def test_the_template_shows_every_setting_with_its_default(load: Load, tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(shutil.which("true") or "/bin/true")
    text = re.sub(r"(?m)^#(?=[\w[])", "", settings.template())
    found = load(text)
    assert found.python.endswith("/.venv/bin/python")
    assert [target.entry for target in found.targets] == ["models/mlp.py:forward"]
    assert found.env == {"XLA_FLAGS": ""}
    expected = settings.Settings(
        root=found.root, source="pcv.toml", python=found.python, env=found.env, targets=found.targets
    )
    assert found == expected
    assert all(re.search(rf"(?m)^{key} = |^\[{key}\]", text) for key in settings._READERS)
