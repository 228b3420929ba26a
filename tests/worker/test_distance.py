"""How far two stored results are apart."""

from __future__ import annotations

import math

import jax
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pcvd.core.builds import Part
from pcvd.core.model import digest
from pcvd.worker.collect import leaf_bytes
from pcvd.worker.distance import distance


def delta(left, right, atol=1e-6, rtol=1e-6):
    sides = []
    for value in (left, right):
        label, data = leaf_bytes(value)
        sides.append((Part("result", digest(data), digest(data), len(data), label), data))
    (one, first), (other, second) = sides
    return distance("threads:2", one, other, (first, second), atol=atol, rtol=rtol)


def f32(*values):
    return np.array(values, np.float32)


def test_equal_bits():
    found = delta(f32(1, math.nan, -0.0), f32(1, math.nan, -0.0))
    assert (found.bitwise, found.max_abs, found.max_rel, found.max_ulps, found.within_tolerance) == (
        True, 0.0, 0.0, 0.0, True,
    )  # fmt: skip


def test_one_step_apart():
    found = delta(f32(1), np.nextafter(f32(1), f32(2)))
    assert found.bitwise is False
    assert found.max_ulps == 1
    assert found.max_abs == found.max_rel == 2.0**-23
    assert found.within_tolerance


def test_the_largest_distance_counts():
    found = delta(f32(1, 100, 0), f32(1.5, 99, 0))
    assert (found.max_abs, found.max_rel) == (1.0, 0.5)
    assert not found.within_tolerance
    assert delta(f32(1, 100, 0), f32(1.5, 99, 0), atol=1.0).within_tolerance
    assert delta(f32(1, 100), f32(1.5, 99), atol=0, rtol=0.5).within_tolerance


def test_signed_zeros_differ_in_bits_only():
    found = delta(f32(0.0), f32(-0.0))
    assert (found.bitwise, found.differing, found.first) == (False, 1, (0,))
    assert (found.max_abs, found.max_rel, found.max_ulps, found.within_tolerance) == (0.0, 0.0, 0.0, True)


def test_nans_of_other_bits_are_no_distance():
    quiet = np.array([0x7FC00000], np.uint32).view(np.float32)
    other = np.array([0x7FC00001], np.uint32).view(np.float32)
    found = delta(quiet, other)
    assert found.bitwise is False
    assert (found.max_abs, found.max_ulps, found.within_tolerance) == (0.0, 0.0, True)
    assert found.differing == 1


@pytest.mark.parametrize(
    ("left", "right"),
    [(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (1.0, math.inf), (math.inf, -math.inf)],
)
def test_finite_on_one_side_only_is_infinitely_far(left, right):
    found = delta(f32(left), f32(right))
    assert (found.max_abs, found.max_rel, found.max_ulps) == (math.inf, math.inf, math.inf)
    assert not found.within_tolerance
    assert not delta(f32(left), f32(right), atol=math.inf, rtol=math.inf).within_tolerance


def test_the_same_infinities_are_no_distance():
    found = delta(f32(math.inf, 1), f32(math.inf, 2))
    assert (found.max_abs, found.max_rel) == (1.0, 1.0)


def test_away_from_zero_is_infinitely_far_in_relation():
    found = delta(f32(0), f32(1e-9))
    assert found.max_rel == math.inf
    assert found.within_tolerance  # within atol


@pytest.mark.parametrize(
    ("dtype", "one", "next_"),
    [
        (np.float16, 1.0, 1.0009765625),
        (ml_dtypes.bfloat16, 1.0, 1.0078125),
        (ml_dtypes.float8_e4m3fn, 1.0, 1.125),
        (ml_dtypes.float8_e5m2, 1.0, 1.25),
        (ml_dtypes.float8_e3m4, 1.0, 1.0625),
        (ml_dtypes.float8_e4m3b11fnuz, 1.0, 1.125),
        (ml_dtypes.float8_e8m0fnu, 1.0, 2.0),  # no sign, no zero
        (ml_dtypes.float4_e2m1fn, 1.0, 1.5),  # half a byte
        (np.float64, 1.0, 1.0 + 2.0**-52),
        (np.float64, 1e308, float(np.nextafter(1e308, math.inf))),
    ],
)
def test_neighbours_are_one_step_apart_in_every_format(dtype, one, next_):
    found = delta(np.array([one], dtype), np.array([next_], dtype))
    assert (found.max_ulps, found.max_abs, found.differing) == (1, next_ - one, 1)


@pytest.mark.parametrize(
    "dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fnuz]
)
def test_nans_of_narrow_floats(dtype):
    nan, one = np.array([math.nan], dtype), np.array([1], dtype)
    assert delta(nan, nan).bitwise
    found = delta(one, nan)
    assert (found.max_abs, found.max_rel, found.max_ulps) == (math.inf, math.inf, math.inf)
    assert not found.within_tolerance


def test_across_zero_every_value_counts():
    tiny = np.array([1], np.uint32).view(np.float32)
    assert delta(tiny, -tiny).max_ulps == 2


def test_integers_and_flags_have_no_steps():
    found = delta(np.array([3, 4], np.int32), np.array([3, 9], np.int32))
    assert (found.max_abs, found.max_ulps, found.within_tolerance) == (5.0, None, False)
    found = delta(np.array([True, False]), np.array([True, True]))
    assert (found.max_abs, found.max_ulps, found.within_tolerance) == (1.0, None, False)


@pytest.mark.parametrize(
    ("dtype", "left", "right", "apart"),
    [
        (np.int64, 2**53, 2**53 + 1, 1.0),
        (np.int64, -(2**63), 2**63 - 1, 2.0**64),
        (np.uint64, 2**64 - 1, 2**64 - 2, 1.0),
        (np.uint8, 0, 255, 255.0),
        (np.int8, -128, 127, 255.0),
        (ml_dtypes.int4, -8, 7, 15.0),
        (ml_dtypes.uint4, 15, 0, 15.0),
    ],
)
def test_integers_are_subtracted_exactly(dtype, left, right, apart):
    one, other = np.array([left], dtype), np.array([right], dtype)
    for found in (delta(one, other, rtol=0), delta(other, one, rtol=0)):
        assert (found.bitwise, found.max_abs, found.max_ulps) == (False, apart, None)
        assert not found.within_tolerance


def test_complex_numbers_are_measured_as_such():
    found = delta(np.array([3 + 4j], np.complex64), np.array([0j], np.complex64))
    assert (found.max_abs, found.max_rel) == (5.0, 1.0)
    step = np.nextafter(np.float32(4), np.float32(5))
    found = delta(np.array([3 + 4j], np.complex64), np.array([3 + 1j * step], np.complex64))
    assert found.max_ulps == 1


def test_parts_of_complex_numbers_count_by_themselves():
    found = delta(np.array([complex(math.nan, 1)]), np.array([complex(math.nan, 3)]))
    assert (found.max_abs, found.within_tolerance) == (2.0, False)
    found = delta(np.array([complex(math.inf, 1)]), np.array([complex(math.inf, 3)]))
    assert (found.max_abs, found.within_tolerance) == (2.0, False)
    found = delta(np.array([complex(1, 1)]), np.array([complex(1, math.nan)]))
    assert (found.max_abs, found.max_ulps) == (math.inf, math.inf)


def test_keys_tell_how_many_differ_and_of_which_kind_they_are():
    keys = jax.random.split(jax.random.key(1), (2, 3))
    others = keys.at[1, 2].set(jax.random.key(9))
    found = delta(keys, others)
    assert (found.bitwise, found.label) == (False, "key<fry>[2,3]")
    assert (found.differing, found.elements, found.first) == (1, 6, (1, 2))
    assert (found.max_abs, found.max_ulps, found.within_tolerance) == (None, None, False)
    found = delta(jax.random.key(0), jax.random.key(0, impl="rbg"))
    assert (found.bitwise, found.label) == (False, "key<fry>[] against key<rbg>[]")


def test_where_the_first_difference_is_and_how_many_there_are():
    left = np.zeros((4, 5, 6), np.float32)
    right = left.copy()
    right[1, 2, 3] = right[3, 4, 5] = 1
    found = delta(left, right)
    assert (found.differing, found.elements, found.first) == (2, 120, (1, 2, 3))
    found = delta(left, left)
    assert (found.differing, found.elements, found.first) == (0, 120, None)


def test_a_single_number():
    found = delta(np.float32(1), np.float32(2))
    assert (found.label, found.differing, found.elements, found.first) == ("float32[]", 1, 1, ())


@settings(deadline=None)
@given(*[arrays(np.float32, (2, 3), elements=st.floats(width=32))] * 2)
def test_distances_are_the_same_from_both_sides(left, right):
    found, back = delta(left, right), delta(right, left)
    assert (found.bitwise, found.max_abs, found.max_ulps) == (back.bitwise, back.max_abs, back.max_ulps)
    assert found.differing == back.differing == int((left.view("i4") != right.view("i4")).sum())
    assert found.bitwise == (found.differing == 0)
    assert (found.max_ulps == 0) == bool(((left == right) | (np.isnan(left) & np.isnan(right))).all())


@pytest.mark.parametrize("other", [f32(1, 2, 3), np.array([1, 2], np.int32), np.array([[1, 2]], np.float32)])
def test_unlike_shapes_and_types_have_no_distance(other):
    found = delta(f32(1, 2), other)
    assert (found.bitwise, found.max_abs, found.within_tolerance) == (False, None, False)
    assert (found.differing, found.first) == (None, None)


def test_unlike_types_of_the_same_bytes_are_unlike():
    found = delta(f32(0, 0), np.array([0, 0], np.int32))
    assert (found.bitwise, found.within_tolerance) == (False, False)


def test_empty_results_are_equal():
    found = delta(f32(), f32())
    assert (found.bitwise, found.differing, found.elements) == (True, 0, 0)


@pytest.mark.parametrize("label", ["Mesh", "f32[2", "float33[2]", "float32[2]"])
def test_bytes_that_do_not_fit_their_label_have_no_distance(label):
    sides = [Part("result", digest(data), digest(data), len(data), label) for data in (b"abc", b"abcd")]
    found = distance("threads:2", *sides, (b"abc", b"abcd"), atol=1, rtol=1)
    assert (found.bitwise, found.max_abs, found.within_tolerance) == (False, None, False)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_whole_numbers_do_not_round(dtype):
    one, other = np.array([100], dtype), np.array([101], dtype)
    assert not delta(one, other, rtol=0.1).within_tolerance
    assert delta(one, other, atol=1.0, rtol=0).within_tolerance
    assert not delta(np.array([3_000_000]), np.array([3_000_001])).within_tolerance
