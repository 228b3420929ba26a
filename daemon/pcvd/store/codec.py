"""Values as SQLite columns hold them: records as JSON, text that is valid UTF-8, paths of any bytes."""

from __future__ import annotations

import json
import math
import os
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

# An infinite distance is a finding, yet msgspec writes infinity as null. JSON has no word for it, but a
# number too large for a double reads back as infinity in Python, in JavaScript and in SQLite's own JSON
# functions.
_INFINITY = msgspec.Raw(b"1e999")
_MINUS_INFINITY = msgspec.Raw(b"-1e999")


def encode(value: object) -> str:
    """A record, or plain values, as JSON text with sorted keys. Infinities survive; a NaN becomes null.

    Inside fields typed Any, tuples come back as lists and other keys than strings as strings: JSON knows no
    more.
    """
    return msgspec.json.encode(_plain(msgspec.to_builtins(value, str_keys=True)), order="sorted").decode()


def decode(text: str, kind: type[T]) -> T:
    """The record that `encode` wrote. Raises msgspec.ValidationError or json.JSONDecodeError."""
    return msgspec.convert(json.loads(text), type=kind)


def strings(text: str) -> tuple[str, ...]:
    """A JSON list of strings."""
    return decode(text, tuple[str, ...])


def row(*values: object) -> tuple[object, ...]:
    """`values` as the parameters of a statement; text is made valid UTF-8."""
    return tuple([clean(value) if isinstance(value, str) else value for value in values])


def clean(text: str) -> str:
    """`text` as valid UTF-8: it may quote a file name that is none, which Python holds as lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def name_column(name: str) -> str | bytes:
    """A path or variable as a column: bytes where it is not UTF-8, since the very same has to come back."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def name_of(column: str | bytes) -> str:
    """The path or variable that `name_column` stored."""
    return column if isinstance(column, str) else os.fsdecode(column)


def _plain(value: Any) -> Any:  # any JSON value
    match value:
        case str():
            return clean(value)
        case float():
            if math.isinf(value):
                return _INFINITY if value > 0 else _MINUS_INFINITY
            return value
        case dict():
            return {clean(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value
