"""What a project sets, in `pcv.toml` at its root or under `[tool.pcv]` in pyproject.toml, read and checked.

A misspelt key that is quietly ignored would leave its default in force, and a verdict would rest on something
that nobody chose. So every value has its type and its range, and whatever is unknown is an error that says
what, where and what to do.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcv_config.lines import Lines
from pcv_config.table import SettingsError, Source, Table, shown, suggestion
from pcv_config.targets import TargetSetting, read_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Settings", "SettingsError", "TargetSetting", "load", "template"]

# The daemon has its own lists; nothing of the daemon is imported here, and a test holds them together.
STAGES = ("jaxpr", "stablehlo", "hlo", "llvm", "object", "executable", "output")
POLICIES = ("auto", "repeats", "calls", "ops", "whole")
_SERIAL = ("serial", "control")
_POOL = re.compile(r"(?:threads|processes):([1-9][0-9]*)")
_MOST_WORKERS = 64
_SCHEDULES = f"known: serial, control, threads:N and processes:N with N from 1 to {_MOST_WORKERS}"
_DAY = 86_400.0
_LEAST_MEMORY = 256  # MB; importing JAX alone takes 215


@dataclass(frozen=True, slots=True)
class Settings:
    """A project's settings, complete: what the file leaves out has its default."""

    root: str
    """The project's folder, absolute and without symbolic links."""
    source: str
    """The file they come from, `pcv.toml` or `pyproject.toml`."""
    watch: tuple[str, ...] = (".",)
    """Folders whose saves count, relative to the root."""
    ignore: tuple[str, ...] = ()
    """Folders and glob patterns that are not watched, besides those nobody watches (`.git`, `.venv`, …)."""
    paths: tuple[str, ...] = (".",)
    """Import roots, put on `sys.path` of workers in this order. Left out: the root and, if there, `src`."""
    python: str = field(default_factory=lambda: sys.executable)
    """The interpreter with the project's packages: absolute, but not resolved: a venv's python is a link."""
    preload: tuple[str, ...] = ()
    """Installed modules that workers have imported before any of the project's code runs."""
    platform: str = "auto"
    """`auto` (what JAX finds), `cpu` or `cuda`."""
    schedules: tuple[str, ...] = ("serial", "threads:2", "threads:4", "processes:2")
    """How targets are built; `serial` is what the others are compared with."""
    partition: str = "whole"
    """By which policy targets are cut into kernels as well; `whole`: they are not."""
    atol: float = 1e-6
    rtol: float = 1e-6
    seed: int = 0
    """What arguments given as shapes are filled from."""
    timeout_s: float = 300.0
    """How long one build may take."""
    memory_mb: int = 0
    """What one worker may use; 0 stands for three quarters of the machine's memory."""
    settle_ms: int = 20
    """How long the files must have been quiet after a save."""
    soak: bool = True
    """Whether an idle machine is used to repeat rounds, so that evidence grows."""
    hosts: str = "local"
    tolerate: tuple[str, ...] = ("llvm", "object", "executable")
    """Stages whose differences are shown but do not make a divergence."""
    env: dict[str, str] = field(default_factory=dict)
    """Variables set in workers before JAX starts."""
    targets: tuple[TargetSetting, ...] = ()


def load(root: str) -> Settings:
    """The settings of the project in `root`.

    Raises:
        SettingsError: there are none, there are two sets of them, or something in them is wrong.
    """
    table = _find(str(Path(root).resolve()))
    _check_keys(table)
    values = {key: read(table, key) for key, read in _READERS.items() if key in table}
    if "target" in table:
        values["targets"] = read_targets(table, "target", _READERS)
    if "paths" not in values and Path(table.source.root, "src").is_dir():
        values["paths"] = (".", "src")
    return Settings(table.source.root, table.source.file, **values)


def template() -> str:
    """The pcv.toml to begin with: every setting explained, with its default, commented out."""
    return (resources.files("pcv_config") / "template.toml").read_text(encoding="utf-8")


def _find(root: str) -> Table:
    """The table of settings in `root`, from the one file that has it."""
    own = _parse(root, "pcv.toml")
    try:
        whole = _parse(root, "pyproject.toml")
        shared = _tool_table(whole) if whole else None
    except SettingsError:
        if own is None:
            raise
        shared = None  # a fault in a file that other tools read is theirs to report, where pcv has its own
    if own and shared and own.values and shared.values:
        message, hint = "[tool.pcv] has settings, and so has pcv.toml", "keep one of them"
        raise SettingsError(message, shared.source.file, shared.line(), hint)
    table = shared if shared and (own is None or shared.values) else own
    if table is None:
        message, hint = "no pcv.toml here, and no [tool.pcv] in pyproject.toml", "`pcvctl init` writes one"
        raise SettingsError(message, root, None, hint)
    return table


def _tool_table(whole: Table) -> Table | None:
    tools = whole.table("tool") if "tool" in whole else None
    return tools.table("pcv") if tools and "pcv" in tools else None


def _parse(root: str, file: str) -> Table | None:
    """Everything in `file`, or None where it does not exist."""
    text = _read(root, file)
    if text is None:
        return None
    try:
        values = tomllib.loads(text)
        return Table(Source(root, file, Lines(text)), (), values)
    except RecursionError as error:
        raise SettingsError("is nested too deeply", file) from error
    except ValueError as error:  # TOMLDecodeError, or a plain one for a number that Python won't convert
        message, line = _position(str(error), text)
        twice = message.startswith("Cannot")  # overwrite a value, declare a table twice, …
        hint = (
            "it stands there already: keep one"
            if twice
            else "mend this line, or the one before it: strings stand in quotes, lists in [ ]"
        )
        raise SettingsError(f"is not valid TOML: {message}", file, line, hint) from error


def _read(root: str, file: str) -> str | None:
    try:
        data = Path(root, file).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(
            f"can't be read: {error.strerror}", file, hint="it must be a readable file"
        ) from error
    try:
        return data.decode("utf-8-sig")  # some editors put a byte order mark in front, which tomllib refuses
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError("is not UTF-8", file, line, "save it as UTF-8") from error


def _position(message: str, text: str) -> tuple[str, int | None]:
    """A message of tomllib's without the position it ends in, and the line that this position names."""
    if message.endswith(" (at end of document)"):
        return message.removesuffix(" (at end of document)"), text.rstrip().count("\n") + 1
    found = re.search(r" \(at line (\d+), column \d+\)$", message)
    return (message[: found.start()], int(found[1])) if found else (message, None)


def _check_keys(table: Table) -> None:
    if table.source.file == "pcv.toml" and "tool" in table:
        hint = "in pcv.toml settings stand at the top, without [tool.pcv]"
        raise table.wrong('unknown key "tool"', "tool", hint=hint)
    table.only([*_READERS, "target"])


def _folders(table: Table, key: str) -> tuple[str, ...]:
    folders = table.distinct(key)
    for index, folder in enumerate(folders):
        if not Path(table.source.root, folder).is_dir():
            hint = "create it, or leave it out"
            raise table.wrong(f'"{key}" holds {shown(folder)}, which is no folder', key, index, hint=hint)
    return folders


def _watch(table: Table, key: str) -> tuple[str, ...]:
    folders = _folders(table, key)
    if not folders:
        raise table.wrong(f'"{key}" is empty, so no save would ever be noticed', key, hint=f'{key} = ["."]')
    return folders


def _python(table: Table, key: str) -> str:
    value = table.text(key)
    stated = f'"{key}" is {shown(value)}'
    path = Path(table.source.root, Path(value).expanduser() if value.startswith("~/") else value)
    if "/" not in value:
        found = shutil.which(value)
        if found is not None:
            return str(Path(found).absolute())
        if not path.is_dir():
            hint = "write the path of the interpreter"
            raise table.wrong(f"{stated}, and PATH has no such command", key, hint=hint)
    if path.is_dir():
        within = (path / "bin" / "python").exists()
        hint = f'did you mean "{value.rstrip("/")}/bin/python"?' if within else "name the interpreter itself"
        raise table.wrong(f"{stated}, which is a folder", key, hint=hint)
    if not path.is_file():
        hint = "create the environment, or name another interpreter"
        raise table.wrong(f"{stated}, which does not exist", key, hint=hint)
    if not os.access(path, os.X_OK):
        raise table.wrong(f"{stated}, which can't be executed", key, hint="name an interpreter")
    return str(path)


def _schedules(table: Table, key: str) -> tuple[str, ...]:
    names = table.distinct(key)
    for index, name in enumerate(names):
        if name == "hosts":
            raise table.wrong('the schedule "hosts" is not built yet', key, index, hint=_SCHEDULES)
        pool = _POOL.fullmatch(name)
        if pool is None and name not in _SERIAL:
            raise table.wrong(f"unknown schedule {shown(name)}", key, index, hint=_SCHEDULES)
        if pool is not None and (len(pool[1]) > 2 or int(pool[1]) > _MOST_WORKERS):  # digits
            raise table.wrong(f"{shown(name)} is too many workers", key, index, hint=_SCHEDULES)
    if "serial" not in names:
        message = f'"{key}" is without "serial", which the others are compared with'
        raise table.wrong(message, key, hint='add "serial"')
    if all(name in _SERIAL or name.endswith(":1") for name in names):
        hint = 'add "threads:2" or "processes:2"'
        raise table.wrong(f'"{key}" has nothing to compare with serial', key, hint=hint)
    return names


def _memory(table: Table, key: str) -> int:
    value = table.whole(key, 0, 1 << 24)
    if 0 < value < _LEAST_MEMORY:
        message = f'"{key}" is {value}, but JAX alone needs {_LEAST_MEMORY}'
        raise table.wrong(message, key, hint="0 leaves it to pcv")
    return value


def _hosts(table: Table, key: str) -> str:
    value = table.text(key)
    if value != "local":
        message = f'"{key}" is {shown(value)}, but only "local" is supported as yet'
        raise table.wrong(message, key, hint=f'{key} = "local"')
    return value


def _stages(table: Table, key: str) -> tuple[str, ...]:
    names = table.distinct(key)
    for index, name in enumerate(names):
        if name not in STAGES:
            hint = suggestion(name, list(STAGES))
            raise table.wrong(f"unknown stage {shown(name)}", key, index, hint=hint)
    return names


def _env(table: Table, key: str) -> dict[str, str]:
    variables = table.table(key)
    variables.without(_READERS, "[env]")
    env: dict[str, str] = {}
    for name, value in variables.values.items():
        if not name or "=" in name or "\0" in name:
            raise variables.wrong(f"{shown(name)} is no name for a variable", name, hint="rename it")
        if name == "PYTHONHASHSEED":
            # Reference and challengers differ in it on purpose, so that what depends on it shows.
            hint = "leave it out: pcv gives workers different ones"
            raise variables.wrong(f'"{name}" is not for a project to set', name, hint=hint)
        if not isinstance(value, str) or "\0" in value:
            message = f"the variable {shown(name)} must be a string"
            raise variables.wrong(message, name, hint=f'{name} = "…"')
        env[name] = value
    return env


def _modules(table: Table, key: str) -> tuple[str, ...]:
    names = table.distinct(key)
    for index, name in enumerate(names):
        if not all(part.isidentifier() for part in name.split(".")):
            raise table.wrong(f'"{key}" holds {shown(name)}, which is no module', key, index)
    return names


_READERS: Mapping[str, Callable[[Table, str], Any]] = {
    "watch": _watch,
    "ignore": Table.distinct,
    "paths": _folders,
    "python": _python,
    "preload": _modules,
    "platform": lambda table, key: table.choice(key, ("auto", "cpu", "cuda")),
    "schedules": _schedules,
    "partition": lambda table, key: table.choice(key, POLICIES),
    "atol": lambda table, key: table.number(key, 0, 1e9),
    "rtol": lambda table, key: table.number(key, 0, 1e9),
    "seed": lambda table, key: table.whole(key, 0, 2**32 - 1),
    "timeout_s": lambda table, key: table.number(key, 0.1, _DAY),
    "memory_mb": _memory,
    "settle_ms": lambda table, key: table.whole(key, 0, 10_000),
    "soak": lambda table, key: table.flag(key),
    "hosts": _hosts,
    "tolerate": _stages,
    "env": _env,
}
"""How each setting is read. Its default stands in `Settings`, and nowhere else."""
