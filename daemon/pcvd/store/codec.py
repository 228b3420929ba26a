"""Values as SQLite columns hold them: records as JSON, text that is valid UTF-8, paths of any bytes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, TypeVar

import msgspec

from pcvd import jsontext
from pcvd.core import status
from pcvd.jsontext import clean

if TYPE_CHECKING:
    from pcvd.core.model import Judgement

T = TypeVar("T")


def encode(value: object) -> str:
    """A record, or plain values, as JSON text with sorted keys."""
    return jsontext.encode(value, order="sorted").decode()


def said(judgement: Judgement) -> str:
    """A judgement as JSON text, as a status tells it."""
    return jsontext.encode(status.target(judgement)).decode()


def decode(text: str, kind: type[T]) -> T:
    """The record that `encode` wrote. Raises msgspec.DecodeError or json.JSONDecodeError."""
    if jsontext.HUGE in text:  # msgspec takes no number that is too large for a double
        return msgspec.convert(json.loads(text), type=kind)
    return msgspec.json.decode(text, type=kind)


def strings(text: str) -> tuple[str, ...]:
    """A JSON list of strings."""
    return decode(text, tuple[str, ...])


def row(*values: object) -> tuple[object, ...]:
    """`values` as the parameters of a statement; text is made valid UTF-8."""
    return tuple([clean(value) if isinstance(value, str) else value for value in values])


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
