"""Targets as a settings file declares them: an entry and, where the model does not say them, arguments."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcv_config.table import Table, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHAPE = re.compile(r"[a-z][a-z0-9_]*\[(\d+(,\s*\d+)*)?\]")
_KEYS = ("entry", "args")


@dataclass(frozen=True, slots=True)
class TargetSetting:
    """One `[[target]]`.

    `args` holds one string an argument, each a shape (`f32[32,128]`) or the entry of a function that returns
    it; or it is the one entry of a function that returns all of them; or None where the decorator in the
    model says it. `line` is that of `entry`.
    """

    entry: str
    args: tuple[str, ...] | str | None
    line: int | None


def read_targets(table: Table, key: str, settings: Iterable[str]) -> tuple[TargetSetting, ...]:
    """The targets under `key`, in their order. `settings` are names that belong above the first header.

    Raises:
        SettingsError: a key, an entry or arguments are wrong, or an entry stands twice.
    """
    targets: dict[str, TargetSetting] = {}
    for declaration in table.tables(key):
        target = _target(declaration, settings)
        twin = targets.get(target.entry)
        if twin is not None:
            hint = f"it already stands on line {twin.line}" if twin.line else "leave one out"
            raise declaration.wrong(f"{shown(target.entry)} is declared twice", "entry", hint=hint)
        targets[target.entry] = target
    return tuple(targets.values())


def _target(table: Table, settings: Iterable[str]) -> TargetSetting:
    table.without(settings, "a target")
    table.only(_KEYS)
    if "entry" not in table:
        raise table.wrong('a target without "entry"', hint='add entry = "models/mlp.py:forward"')
    entry = table.text("entry")
    _check_entry(table, entry, "entry")
    return TargetSetting(entry, _args(table), table.line("entry"))


def _args(table: Table) -> tuple[str, ...] | str | None:
    if "args" not in table:
        return None
    if isinstance(table.values["args"], str):
        value = table.text("args")
        if _SHAPE.fullmatch(value):
            hint = f'write a list: args = ["{value}"]'
            raise table.wrong(f'"args" is the single shape "{value}"', "args", hint=hint)
        _check_entry(table, value, "args")
        return value
    values = table.strings("args")
    for index, value in enumerate(values):
        if not _SHAPE.fullmatch(value):
            _check_entry(table, value, "args", index)
    return values


def _check_entry(table: Table, entry: str, *where: str | int) -> None:
    """Refuse what is not `path.py:function` with a plain relative path: a target's name is its entry."""
    path, _, function = entry.rpartition(":")
    named = path.endswith(".py") and all(name.isidentifier() for name in function.split("."))
    if not named or "\\" in path:
        hint = 'write "models/mlp.py:forward"' + (
            ' or, for a shape, "f32[32,128]"' if where != ("entry",) else ""
        )
        raise table.wrong(f"{shown(entry)} names no function in a file", *where, hint=hint)
    plain = posixpath.normpath(path)
    if posixpath.isabs(path) or plain.startswith("../"):
        hint = "write the path from the project's root, without a leading / or .."
        raise table.wrong(f"{shown(entry)} points outside the project", *where, hint=hint)
    if plain != path:  # else one function could be two targets
        raise table.wrong(f"{shown(entry)} goes a detour", *where, hint=f'write "{plain}:{function}"')
