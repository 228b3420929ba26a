"""JSON as pcv writes it: infinities survive, and so does text that is no valid UTF-8."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pcvd.core.status import SCHEMA

if TYPE_CHECKING:
    from pcvd.core.errors import PcvError

# An infinite distance is a finding, yet msgspec writes infinity as null. JSON has no word for it, but a
# number too large for a double reads back as infinity in Python, in JavaScript and in SQLite's own JSON
# functions.
HUGE = "1e999"
_INFINITY = msgspec.Raw(HUGE.encode())
_MINUS_INFINITY = msgspec.Raw(f"-{HUGE}".encode())
_PACKED = tuple(msgspec.msgpack.encode(value) for value in (math.inf, -math.inf))


def encode(value: object, *, order: Literal["sorted"] | None = None) -> bytes:
    """A record, or plain values, as JSON; `order="sorted"` sorts keys. A NaN becomes null.

    Inside fields typed Any, tuples come back as lists and other keys than strings as strings: JSON knows no
    more.
    """
    builtins = msgspec.to_builtins(value, str_keys=True)
    if _is_odd(builtins):
        builtins = _plain(builtins)
    return msgspec.json.encode(builtins, order=order)


def trouble(error: PcvError) -> bytes:
    """What is wrong, as JSON: instead of an answer."""
    said = {"message": error.message, "file": error.file, "line": error.line, "hint": error.hint}
    return encode({"schema": SCHEMA, "error": said})


def clean(text: str) -> str:
    """`text` as valid UTF-8: it may quote a file name that is none, which Python holds as lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _is_odd(builtins: Any) -> bool:
    """Whether it may hold an infinity, or text that is no valid UTF-8. Looking at every value in Python
    would take most of the time, and hardly any document has one: msgpack, which can hold infinities, tells.
    """
    try:
        packed = msgspec.msgpack.encode(builtins)
    except (UnicodeEncodeError, OverflowError):  # or an integer beyond 64 bits
        return True
    return any(infinity in packed for infinity in _PACKED)


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
