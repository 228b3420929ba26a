"""Protocol buffers on the wire, without their schema: enough to take a serialized executable apart and put it
together again.

XLA ships no Python classes for the messages inside a serialized executable, and generating them would tie pcv
to one version of XLA. The wire format (https://protobuf.dev/programming-guides/encoding/) needs no schema: a
message is a list of (number, wire type, value). Encoding what was decoded gives the same bytes, which is
checked at every use.
"""

from __future__ import annotations

from typing import NamedTuple

from pcvd.core.errors import WireError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 10  # bytes of a 64-bit varint
_ONE_BYTE = [bytes((value,)) for value in range(0x80)]
"""The varints of one byte: nearly all of them, so they have a quicker way."""


class Field(NamedTuple):
    """One field: its number, its wire type, and an int (VARINT) or bytes (all others)."""

    number: int
    kind: int
    value: int | bytes

    @property
    def data(self) -> bytes:
        """The bytes of a length-delimited field. Raises WireError for any other kind."""
        if self.kind != BYTES or not isinstance(self.value, bytes):
            raise WireError(f"field {self.number} holds no bytes")
        return self.value


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The varint that starts at `at`, and where the next byte stands. Raises WireError."""
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1
    value = 0
    for count in range(_MAX_VARINT):
        if at + count >= len(data):
            break
        byte = data[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise WireError(f"no varint at byte {at}")


def write_varint(value: int) -> bytes:
    """`value` as a varint."""
    if 0 <= value < len(_ONE_BYTE):
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(data: bytes) -> list[Field]:
    """The fields of a message, in order. Raises WireError where `data` is no message."""
    fields: list[Field] = []
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        value: int | bytes
        if kind == VARINT:
            value, at = read_varint(data, at)
        else:
            if kind == BYTES:
                size, at = read_varint(data, at)
            elif kind in {FIXED32, FIXED64}:
                size = 4 if kind == FIXED32 else 8
            else:
                raise WireError(f"wire type {kind} at byte {at}")
            value = data[at : at + size]
            at += size
            if at > len(data):
                raise WireError("a field runs past the end")
        if number == 0:
            raise WireError(f"field number 0 at byte {at}")
        fields.append(Field(number, kind, value))
    return fields


def encode(fields: list[Field]) -> bytes:
    """The message that holds `fields`."""
    out = bytearray()
    for field in fields:
        out += write_varint(field.number << 3 | field.kind)
        if isinstance(field.value, int):
            out += write_varint(field.value)
        else:
            if field.kind == BYTES:
                out += write_varint(len(field.value))
            out += field.value
    return bytes(out)
