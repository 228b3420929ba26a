"""A table of a settings file: every value has its type and range, every complaint its key, file and line."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcv_config.lines import Lines, Path


class SettingsError(Exception):
    """Something is wrong with a project's settings: what, where, and what to do about it.

    `file` is a name relative to the root, or an absolute path; `line` counts from 1.
    """

    def __init__(self, message: str, file: str, line: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, file, line, hint)
        self.message = message
        self.file = file
        self.line = line
        self.hint = hint

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.message}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, slots=True)
class Source:
    """The file that settings come from: the project root, the name for messages, where its keys stand."""

    root: str
    file: str
    lines: Lines


@dataclass(frozen=True, slots=True)
class Table:
    """The values of one TOML table. The readers raise SettingsError; they are for keys that are there."""

    source: Source
    path: Path
    values: Mapping[str, object]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def line(self, *path: str | int) -> int | None:
        """The line of something in this table, or of what is nearest around it."""
        return self.source.lines.of((*self.path, *path))

    def wrong(self, message: str, *path: str | int, hint: str | None = None) -> SettingsError:
        """The error that complains about `path` in this table, ready to be raised."""
        return SettingsError(message, self.source.file, self.line(*path), hint)

    def only(self, known: Iterable[str]) -> None:
        """Refuse every key that is not `known`, and guess which one was meant."""
        names = list(known)
        for key in self.values:
            if key not in names:
                raise self.wrong(f"unknown key {shown(key)}", key, hint=suggestion(key, names))

    def without(self, settings: Iterable[str], kind: str) -> None:
        """Refuse a project's `settings` here: TOML gives a header every key after it, wanted there or not."""
        for key in settings:
            if key in self.values:
                hint = "it is a setting of the whole project: move it above the first [header]"
                raise self.wrong(f"{shown(key)} stands in {kind}", key, hint=hint)

    def text(self, key: str) -> str:
        """A string that is not empty."""
        value = self.values[key]
        if not isinstance(value, str):
            raise self._unlike(key, "a string", value)
        if not value.strip() or "\0" in value:
            hint = "write something, or leave the line out"
            raise self.wrong(f'"{key}" is {shown(value)}, which names nothing', key, hint=hint)
        return value

    def flag(self, key: str) -> bool:
        """A boolean."""
        value = self.values[key]
        if not isinstance(value, bool):
            raise self._unlike(key, "true or false", value)
        return value

    def whole(self, key: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`. TOML's booleans are not numbers, though Python's are."""
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._unlike(key, "a whole number", value)
        if not low <= value <= high:
            raise self.wrong(f'"{key}" is {shown(value)}, but must be from {low} to {high}', key)
        return value

    def number(self, key: str, low: float, high: float) -> float:
        """A finite number from `low` to `high`, whole or not."""
        value = self.values[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._unlike(key, "a number", value)
        if not low <= value <= high:  # a NaN is in no range
            raise self.wrong(f'"{key}" is {shown(value)}, but must be from {low:g} to {high:g}', key)
        return float(value)

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings, none of them empty."""
        value = self.values[key]
        if not isinstance(value, list):
            hint = f"{key} = [{shown(value)}]" if isinstance(value, str) else None
            raise self._unlike(key, "a list of strings", value, hint)
        for index, item in enumerate(value):
            if not isinstance(item, str):
                raise self.wrong(f'"{key}" must be a list of strings, but holds {_kind(item)}', key, index)
            if not item.strip() or "\0" in item:
                raise self.wrong(f'"{key}" holds {shown(item)}, which names nothing', key, index)
        return tuple(value)

    def distinct(self, key: str) -> tuple[str, ...]:
        """A list of strings, none of them twice."""
        values = self.strings(key)
        for index, item in enumerate(values):
            if item in values[:index]:
                raise self.wrong(f'"{key}" holds {shown(item)} twice', key, index, hint="leave one out")
        return values

    def choice(self, key: str, known: Iterable[str]) -> str:
        """One of the `known` strings."""
        value, names = self.text(key), list(known)
        if value not in names:
            raise self.wrong(f'"{key}" is {shown(value)}', key, hint=f"known: {', '.join(names)}")
        return value

    def table(self, key: str) -> Table:
        """The table under `key`."""
        value = self.values[key]
        if not isinstance(value, dict):
            raise self._unlike(key, "a table", value, hint=f"write it as [{self._header(key)}]")
        return Table(self.source, (*self.path, key), value)

    def tables(self, key: str) -> list[Table]:
        """The tables of the array `key`, each written under a [[header]] of its own."""
        value = self.values[key]
        hint = f"write [[{self._header(key)}]] over each one"
        if not isinstance(value, list):
            raise self._unlike(key, "a list of tables", value, hint)
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                message = f'"{key}" must be a list of tables, but holds {_kind(item)}'
                raise self.wrong(message, key, index, hint=hint)
        return [Table(self.source, (*self.path, key, index), item) for index, item in enumerate(value)]

    def _header(self, key: str) -> str:
        return ".".join(str(part) for part in (*self.path, key))

    def _unlike(self, key: str, wanted: str, value: object, hint: str | None = None) -> SettingsError:
        return self.wrong(f'"{key}" must be {wanted}, but is {_kind(value)}', key, hint=hint)


def suggestion(word: str, known: list[str]) -> str:
    """What was probably meant by `word`, else everything that could be."""
    close = difflib.get_close_matches(word, known, 1)
    return f'did you mean "{close[0]}"?' if close else f"known: {', '.join(known)}"


def _kind(value: object) -> str:
    kinds = {
        bool: "a boolean",
        int: "a whole number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "a table",
    }
    return kinds.get(type(value), "a date or time")


def shown(value: str | float) -> str:
    """A value for a message of one line: as TOML spells it, without control characters, and not too long."""
    if isinstance(value, int) and value.bit_length() > 128:
        return "a number of that size"  # str() refuses what TOML may write in hexadecimal
    text = json.dumps(value, ensure_ascii=not (isinstance(value, str) and value.isprintable()))
    return text if len(text) <= 80 else f"{text[:76]}...{text[-1]}"
