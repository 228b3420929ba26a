"""An element of an array as people read it, from its bytes; in plain Python: the daemon has no NumPy."""

from __future__ import annotations

import math
import re
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_FORMATS = {
    "float64": "d", "float32": "f", "float16": "e", "int64": "q", "int32": "i", "int16": "h", "int8": "b",
    "uint64": "Q", "uint32": "I", "uint16": "H", "uint8": "B", "bool": "?", "complex64": "2f",
    "complex128": "2d",
}  # fmt: skip
_NARROW_INTEGER = re.compile(r"(u?)int([124])")
_NARROW_FLOAT = re.compile(r"float(\d)_e(\d)m(\d)(?:b(\d+))?(fn)?(uz)?")


def shown(dtype: str, left: bytes, right: bytes) -> tuple[str, str]:
    """Both elements as people read them, with their bits where that alone would look alike (NaNs have
    payloads), and nothing but their bits where the type is not known.
    """
    bits = [f"0x{data[::-1].hex()}" for data in (left, right)]
    decode = _decoder(dtype, len(left))
    if decode is None:
        return bits[0], bits[1]
    a, b = (repr(decode(data)) for data in (left, right))
    return (a, b) if a != b else (f"{a} ({bits[0]})", f"{b} ({bits[1]})")


def _decoder(dtype: str, size: int) -> Callable[[bytes], Any] | None:
    """What decodes one element of the type; None where it is not known, or has another size than it says."""
    if dtype in _FORMATS:
        code = struct.Struct("<" + _FORMATS[dtype])
        if code.size != size:
            return None
        return lambda data: complex(*found) if len(found := code.unpack(data)) > 1 else found[0]
    if dtype == "bfloat16" and size == 2:  # the upper half of a float32
        return lambda data: struct.unpack("<f", b"\0\0" + data)[0]
    if size != 1:
        return None
    if narrow := _NARROW_INTEGER.fullmatch(dtype):  # one to a byte, in its lowest bits
        return lambda data: _integer(data[0], int(narrow[2]), signed=not narrow[1])
    if dtype == "float8_e8m0fnu":  # nothing but an exponent
        return lambda data: math.nan if data[0] == 0xFF else 2.0 ** (data[0] - 127)
    if floating := _NARROW_FLOAT.fullmatch(dtype):
        return lambda data: _float(data[0], floating)
    return None


def _integer(code: int, bits: int, *, signed: bool) -> int:
    value = code & ((1 << bits) - 1)
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _float(code: int, name: re.Match[str]) -> float:
    """A float of at most eight bits, by what the name of its type says: the widths of its exponent and
    mantissa, another bias than usual, whether it has no infinities (`fn`), and but one zero (`uz`).
    """
    exponents, mantissas = int(name[2]), int(name[3])
    finite, one_zero = bool(name[5]), bool(name[6])
    bias = int(name[4]) if name[4] else (1 << (exponents - 1)) - 1 + one_zero
    code &= (1 << (1 + exponents + mantissas)) - 1
    magnitude = code & ((1 << (exponents + mantissas)) - 1)
    sign = -1.0 if code != magnitude else 1.0
    exponent, mantissa = divmod(magnitude, 1 << mantissas)
    largest = exponent == (1 << exponents) - 1
    if one_zero:
        if sign < 0 and not magnitude:
            return math.nan
    elif not finite and largest:
        return math.nan if mantissa else sign * math.inf
    elif int(name[1]) == 8 and largest and mantissa == (1 << mantissas) - 1:
        return math.nan
    fraction = mantissa / (1 << mantissas) + (exponent > 0)
    return sign * fraction * 2.0 ** (max(exponent, 1) - bias)
