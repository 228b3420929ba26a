"""JSON as pcv writes it: infinities survive, and so does text that is no valid UTF-8."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pcvd.core.status import SCHEMA

if TYPE_CHECKING:
    from pcvd.core.errors import PcvError

# An infinite distance is a finding, yet msgspec writes infinity as null. JSON has no word for it, but a
# number too large for a double reads back as infinity in Python, in JavaScript and in SQLite's own JSON
# functions.
_INFINITY = msgspec.Raw(b"1e999")
_MINUS_INFINITY = msgspec.Raw(b"-1e999")
_SURROGATE = "\\ud"  # how json escapes what is no valid UTF-8, and what lies beyond 16 bits


def encode(value: object, *, order: Literal["sorted"] | None = None) -> bytes:
    """A record, or plain values, as JSON; `order="sorted"` sorts keys. A NaN becomes null.

    Inside fields typed Any, tuples come back as lists and other keys than strings as strings: JSON knows no
    more.
    """
    builtins = msgspec.to_builtins(value, str_keys=True)
    # Looking at every value in Python takes most of the time, and hardly any document needs it.
    told = json.dumps(builtins)
    needed = "Infinity" in told or _SURROGATE in told
    return msgspec.json.encode(_plain(builtins) if needed else builtins, order=order)


def trouble(error: PcvError) -> bytes:
    """What is wrong, as JSON: instead of an answer."""
    said = {"message": error.message, "file": error.file, "line": error.line, "hint": error.hint}
    return encode({"schema": SCHEMA, "error": said})


def clean(text: str) -> str:
    """`text` as valid UTF-8: it may quote a file name that is none, which Python holds as lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


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
