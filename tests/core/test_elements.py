"""Elements as people read them: what NumPy makes of the same bytes, and bits where that says too little."""

from __future__ import annotations

import math
import re

import ml_dtypes
import numpy as np
import pytest

from pcvd.core.elements import shown

NARROW = sorted(
    name for name in dir(ml_dtypes)
    if name.startswith(("float4", "float6", "float8", "int", "uint"))
)  # fmt: skip


def test_the_narrow_types_are_those_that_exist():
    assert {"float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz", "float8_e8m0fnu", "int4", "uint2"} <= {
        *NARROW
    }


@pytest.mark.parametrize("name", NARROW)
def test_every_value_of_a_narrow_type_is_read_as_it_is(name):
    dtype = np.dtype(getattr(ml_dtypes, name))
    used = 256 if name.startswith("float8") else 1 << int(re.search(r"\d+", name)[0])
    for code in range(used):
        data, other = bytes([code]), bytes([code ^ 1])
        value = np.frombuffer(data, dtype)[0]
        text = shown(name, data, other)[0].partition(" ")[0]
        read = float(text)
        assert read == float(value) or (math.isnan(read) and math.isnan(float(value))), (code, text)
        assert math.copysign(1, read) == math.copysign(1, float(value)) or math.isnan(read)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array(-3, "int8"), "-3"),
        (np.array(2**64 - 1, "uint64"), "18446744073709551615"),
        (np.array(0.1, "float64"), "0.1"),
        (np.array(-1.5, "float16"), "-1.5"),
        (np.array(True), "True"),
        (np.array(1 - 2j, "complex64"), "(1-2j)"),
        (np.array(1 - 2j, "complex128"), "(1-2j)"),
        (np.array(2.5, ml_dtypes.bfloat16), "2.5"),
        (np.array(-math.inf, ml_dtypes.bfloat16), "-inf"),
    ],
)
def test_wide_types(array, text):
    data = array.tobytes()
    assert shown(str(array.dtype), data, bytes(len(data)))[0] == text


def test_what_looks_alike_is_told_apart_by_its_bits():
    payloads = [np.array(bits, "uint32").tobytes() for bits in (0x7FC00000, 0x7FC00001)]
    assert shown("float32", *payloads) == ("nan (0x7fc00000)", "nan (0x7fc00001)")
    assert shown("float32", bytes(4), b"\0\0\0\x80") == ("0.0", "-0.0")
    assert shown("bool", b"\1", b"\2") == ("True (0x01)", "True (0x02)")


@pytest.mark.parametrize("name", ["key<fry>", "float32", "int4", "float8_e4m3fn", "float9_e9m9", "int3", ""])
def test_what_is_of_no_known_type_or_of_another_size_is_shown_by_its_bits(name):
    assert shown(name, b"\1\2\3", b"\0\0\0") == ("0x030201", "0x000000")
