"""A protocol buffer as text, without its schema: one field a line, messages indented, so that two of them can
be compared line by line.

What a length-delimited field holds is not written down in it. Text is taken for text, what decodes and
encodes to the same bytes for a message, and all else is told by its length and digest: a guess serves, as
both sides are read by the same rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcvd.core import wire
from pcvd.core.errors import WireError
from pcvd.core.model import digest
from pcvd.core.wire import FIXED32, FIXED64

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST = 100  # messages within messages: where protocol buffers themselves stop
_SHOWN = 32  # bytes that are written out in full
_LARGEST_NUMBER = 1 << 16  # XLA's own field numbers stay far below: above it, it was no message
_BINARIES = ((b"\x7fELF", "ELF file"), (b"\xcf\xfa\xed\xfe", "Mach-O file"), (b"BC\xc0\xde", "LLVM bitcode"))


def executable(data: bytes) -> list[str]:
    """A serialized executable: a message of its own length in front, then the one that holds the code.

    Raises WireError where it is of another format.
    """
    size, at = wire.read_varint(data, 0)
    if at + size > len(data):
        raise WireError("no header of a serialized executable")
    return ["header {", *_lines(data[at : at + size], 1), "}", "body {", *_lines(data[at + size :], 1), "}"]


def message(data: bytes) -> list[str]:
    """Any message. Raises WireError where `data` is none."""
    return list(_lines(data, 0))


def _lines(data: bytes, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for field in wire.decode(data):
        if isinstance(field.value, int):
            yield f"{indent}{field.number}: {field.value}"
        elif field.kind in {FIXED32, FIXED64}:
            yield f"{indent}{field.number}: 0x{field.value[::-1].hex()}"
        else:
            yield from _delimited(field.number, field.value, depth)


def _delimited(number: int, data: bytes, depth: int) -> Iterator[str]:
    indent = "  " * depth
    text = _text(data)
    if text is not None:
        lines = text.split("\n")
        if len(lines) == 1:
            yield f'{indent}{number}: "{lines[0]}"'
            return
        yield f"{indent}{number}: text {{"
        yield from (f"{indent}  | {line}" for line in lines)
        yield f"{indent}}}"
    elif depth < _DEEPEST and _is_message(data):
        yield f"{indent}{number} {{"
        yield from _lines(data, depth + 1)
        yield f"{indent}}}"
    elif len(data) <= _SHOWN:
        yield f"{indent}{number}: {len(data)} bytes {data.hex()}"
    else:
        what = next((name for magic, name in _BINARIES if data.startswith(magic)), "bytes")
        count = f"{len(data)} bytes" if what == "bytes" else f"{what}, {len(data)} bytes"
        yield f"{indent}{number}: {count}, SHA-256 {digest(data)}"


def _text(data: bytes) -> str | None:
    """`data` as text, or None where it is none: printable, with line ends and tabs."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if all(letter.isprintable() or letter in "\n\t" for letter in text) else None


def _is_message(data: bytes) -> bool:
    try:
        fields = wire.decode(data)
    except WireError:
        return False
    return (
        bool(fields)
        and all(field.number < _LARGEST_NUMBER for field in fields)
        and wire.encode(fields) == data
    )
