"""Distances of output leaves, in plain Python, against NumPy's."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from pcvd.core.leaves import Leaf, measure, told


def leaf(left, right, label=None):
    """How two arrays differ."""
    label = label or f"{left.dtype}{list(left.shape)}".replace(" ", "")
    return measure(label, left.tobytes(), label, right.tobytes())


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_floats_have_absolute_relative_distances_and_ulps(dtype):
    left = np.linspace(-2, 3, 24, dtype=dtype).reshape(4, 6)
    right = left.copy()
    right[1, 2] = np.nextafter(np.nextafter(right[1, 2], np.inf, dtype=dtype), np.inf, dtype=dtype)
    right[3, 5] = np.nextafter(right[3, 5], -np.inf, dtype=dtype)
    found = leaf(left, right)
    apart = np.abs(left.astype("float64") - right.astype("float64"))
    assert (found.elements, found.differing, found.max_ulps) == (24, 2, 2.0)
    assert found.max_abs == apart.max()
    assert found.max_rel == pytest.approx((apart / np.abs(left.astype("float64"))).max())
    assert [sample.index for sample in found.samples] == ["[1,2]", "[3,5]"]
    assert [float(sample.left) for sample in found.samples] == [float(left[1, 2]), float(left[3, 5])]


def test_ulps_cross_zero():
    tiny = float(np.nextafter(np.float32(0), np.float32(1)))
    found = leaf(np.array([tiny, 0.0], "float32"), np.array([-tiny, -0.0], "float32"))
    assert found.differing == 2
    assert found.max_ulps == 2.0
    assert "0x80000000" in found.samples[1].right  # -0.0 and 0.0 are told apart by their bits


def test_infinities_and_nans():
    inf = leaf(np.array([1.0, math.inf], "float32"), np.array([1.0, 2.0], "float32"))
    assert (inf.differing, inf.max_abs, inf.max_rel) == (1, math.inf, math.inf)
    payload = np.array([0x7FC00000, 0], "uint32"), np.array([0x7FC00001, 0], "uint32")
    nan = leaf(payload[0].view("float32"), payload[1].view("float32"))
    assert (nan.differing, nan.max_abs, nan.max_ulps) == (1, 0.0, 0.0)
    assert nan.samples[0].left != nan.samples[0].right


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", "int64"])
def test_integers_have_no_ulps(dtype):
    found = leaf(np.array([1, 2, 3], dtype), np.array([1, 5, 3], dtype))
    assert (found.differing, found.max_abs, found.max_ulps) == (1, 3.0, None)
    assert (found.samples[0].left, found.samples[0].right) == ("2", "5")


def test_booleans_complex_numbers_and_bfloat16():
    assert leaf(np.array([True, False]), np.array([True, True])).max_abs == 1.0
    found = leaf(np.array([3 + 4j], "complex64"), np.array([0j], "complex64"))
    assert (found.max_abs, found.max_rel) == (5.0, 1.0)
    one, next_one = struct.pack("<f", 1.0)[2:], struct.pack("<f", 1.0078125)[2:]
    found = measure("bfloat16[1]", one, "bfloat16[1]", next_one)
    assert (found.max_abs, found.max_ulps) == (0.0078125, 1.0)


def test_the_largest_integers_do_not_overflow():
    found = leaf(np.array([2**64 - 1], "uint64"), np.array([0], "uint64"))
    assert found.max_abs == pytest.approx(2.0**64)


def test_a_scalar_and_an_empty_leaf():
    assert leaf(np.array(1.0), np.array(2.0)).samples[0].index == "[]"
    assert leaf(np.zeros((0, 3)), np.zeros((0, 3))) == Leaf(0, 0, (), 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("left", "right", "word"),
    [
        (("float32[2]", b"\0" * 8), ("int32[2]", b"\0" * 8), "int32[2] on the other"),
        (("float32[2]", b"\0" * 8), ("float32[2]", b"\0" * 4), "4 on the other"),
        (("float8_e4m3fn[1]", b"\0"), ("float8_e4m3fn[1]", b"\1"), "float8_e4m3fn"),
        (("", b"\0"), ("", b"\1"), "no type"),
        (("float32[1]", b"\0\0\0"), ("float32[1]", b"\0\0\1"), "3 bytes"),
    ],
)
def test_what_cannot_be_measured_says_so(left, right, word):
    found = measure(*left, *right)
    assert found.differing is None
    assert word in " ".join(found.remarks)
    assert told(found) == []


def test_differences_on_both_sides_of_a_block_are_found():
    left = np.zeros(100_000, "float32")
    right = left.copy()
    right[[0, 16_383, 16_384, 99_999]] = 1
    found = leaf(left, right)
    assert found.differing == 4
    assert [sample.index for sample in found.samples] == ["[0]", "[16383]", "[16384]", "[99999]"]


def test_told_as_a_diff():
    assert told(leaf(np.array([1, 2], "int32"), np.array([1, 4], "int32"))) == [
        "@@ 1 of 2 elements differ, at most 2 apart, 1 relative @@", "-[1] 2", "+[1] 4"
    ]  # fmt: skip
