"""Elements of output leaves: which differ, how many, and what they are on both sides."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from pcvd.core.leaves import Leaf, Sample, compare, is_array, plain, told


def leaf(left, right, label=None):
    """How two arrays differ."""
    label = label or f"{left.dtype}{list(left.shape)}".replace(" ", "")
    return compare(label, left.tobytes(), label, right.tobytes())


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8", "complex128", ml_dtypes.bfloat16])
def test_what_differs_is_counted_and_shown(dtype):
    left = np.arange(24).astype(dtype).reshape(4, 6)
    right = left.copy()
    right[1, 2], right[3, 5] = 100, 101
    found = leaf(left, right)
    assert (found.elements, found.differing, found.remarks) == (24, 2, ())
    assert [sample.index for sample in found.samples] == ["[1,2]", "[3,5]"]
    shown = [(complex(sample.left), complex(sample.right)) for sample in found.samples]
    assert shown == [(8, 100), (23, 101)]


def test_bits_count_not_values():
    zeros, nans = np.array([0.0, 1.0]), np.array([np.nan, 1.0])
    assert leaf(zeros, -zeros * [1, -1]).differing == 1
    assert leaf(nans, nans.copy()) == Leaf(2, 0)


def test_only_the_first_are_shown_of_many():
    found = leaf(np.zeros(1000, "int32"), np.ones(1000, "int32"))
    assert (found.differing, len(found.samples), found.samples[-1].index) == (1000, 8, "[7]")


def test_a_scalar_and_an_empty_leaf():
    assert leaf(np.array(1.0), np.array(2.0)).samples == (Sample("[]", "1.0", "2.0"),)
    assert leaf(np.zeros((0, 3)), np.zeros((0, 3))) == Leaf(0, 0)


def test_elements_of_an_unknown_type_are_counted_by_their_shape():
    found = compare("key<fry>[2]", bytes(16), "key<fry>[2]", bytes(8) + b"\1" + bytes(7))
    assert (found.elements, found.differing) == (2, 1)
    assert found.samples == (Sample("[1]", "0x0000000000000000", "0x0000000000000001"),)


@pytest.mark.parametrize(
    ("left", "right", "word"),
    [
        (("float32[2]", b"\0" * 8), ("int32[2]", b"\0" * 8), "int32[2] on the other"),
        (("float32[2]", b"\0" * 8), ("float32[2]", b"\0" * 4), "4 on the other"),
        (("float32[2]", b"\0\0\0"), ("float32[2]", b"\0\0\1"), "3 bytes"),
        (("float32[0]", b"\0"), ("float32[0]", b"\1"), "1 bytes"),
        (("float32[2]", b"\0" * 8), ("Mesh", b"text"), "Mesh on the other"),
        (("Mesh", b"\0"), ("Mesh", b"\1"), "Mesh is no array"),
        (("", b"\0"), ("", b"\1"), "no label"),
    ],
)
def test_what_cannot_be_compared_by_element_says_so(left, right, word):
    found = compare(*left, *right)
    assert (found.differing, found.samples) == (None, ())
    assert word in " ".join(found.remarks)
    assert told(found) == []


@pytest.mark.parametrize(
    "label", ["", "Mesh", "float32[", "list[int]", "float32[-1]", "float32[2,]", "f[2] x"]
)
def test_what_is_no_array(label):
    assert not is_array(label)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_differences_on_both_sides_of_a_block_are_found(size):
    left = np.zeros((100_000, size), "uint8")
    right = left.copy()
    right[[0, 65_535, 65_536, 99_999], [0, size // 2, 0, size - 1]] = 1
    found = leaf(left, right, "unknown[1000,100]")
    assert found.differing == 4
    assert [sample.index for sample in found.samples] == ["[0,0]", "[655,35]", "[655,36]", "[999,99]"]


DISTANCE = {
    "elements": 2, "differing": 1, "max_abs": 2.0, "max_rel": 1.0, "max_ulps": None, "within_tolerance": False
}  # fmt: skip


def test_told_as_a_diff():
    found = leaf(np.array([1, 2], "int32"), np.array([1, 4], "int32"))
    assert told(found) == ["@@ 1 of 2 elements differ @@", "-[1] 2", "+[1] 4"]
    apart = "@@ 1 of 2 elements differ, at most 2 apart, 1 relative @@"
    assert told(found, DISTANCE) == [apart, "-[1] 2", "+[1] 4"]
    ulps = "@@ 1 of 2 elements differ, at most inf apart, inf relative, inf ULPs @@"
    inf = float("inf")
    assert told(found, {"max_abs": inf, "max_rel": inf, "max_ulps": inf})[0] == ulps


def test_what_was_seen_and_what_was_measured_make_one_record():
    unknown = dict.fromkeys(("max_abs", "max_rel", "max_ulps", "within_tolerance"))
    seen = Leaf(2, 1, (Sample("[1]", "2", "4"),), ("a remark",))
    as_seen = {
        "elements": 2, "differing": 1, "samples": [{"index": "[1]", "left": "2", "right": "4"}],
        "remarks": ["a remark"],
    }  # fmt: skip
    assert plain(seen) == as_seen | unknown
    assert plain(seen, DISTANCE) == as_seen | DISTANCE
    assert plain(Leaf(), DISTANCE) == {"samples": [], "remarks": [], **DISTANCE}
