"""How far two stored results are apart."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from pcvd.core.model import Part, digest
from pcvd.worker.collect import leaf_bytes
from pcvd.worker.outputs import distance


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
    assert found.bitwise is False
    assert (found.max_abs, found.max_rel, found.max_ulps, found.within_tolerance) == (0.0, 0.0, 0.0, True)


def test_nans_of_other_bits_are_no_distance():
    quiet = np.array([0x7FC00000], np.uint32).view(np.float32)
    other = np.array([0x7FC00001], np.uint32).view(np.float32)
    found = delta(quiet, other)
    assert found.bitwise is False
    assert (found.max_abs, found.max_ulps, found.within_tolerance) == (0.0, 0.0, True)


@pytest.mark.parametrize(
    ("left", "right"),
    [(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (1.0, math.inf), (math.inf, -math.inf)],
)
def test_finite_on_one_side_only_is_infinitely_far(left, right):
    found = delta(f32(left), f32(right))
    assert (found.max_abs, found.max_rel) == (math.inf, math.inf)
    assert not found.within_tolerance


def test_the_same_infinities_are_no_distance():
    found = delta(f32(math.inf, 1), f32(math.inf, 2))
    assert (found.max_abs, found.max_rel) == (1.0, 1.0)


def test_away_from_zero_is_infinitely_far_in_relation():
    found = delta(f32(0), f32(1e-9))
    assert found.max_rel == math.inf
    assert found.within_tolerance  # within atol


def test_narrow_floats():
    one, next_ = (np.array([value], ml_dtypes.bfloat16) for value in (1.0, 1.0078125))
    found = delta(one, next_)
    assert (found.max_ulps, found.max_abs) == (1, 0.0078125)
    low = np.array([1.0], ml_dtypes.float8_e4m3fn)
    assert delta(low, np.array([1.125], ml_dtypes.float8_e4m3fn)).max_ulps == 1


def test_across_zero_every_value_counts():
    tiny = np.array([1], np.uint32).view(np.float32)
    assert delta(tiny, -tiny).max_ulps == 2


def test_integers_and_flags_have_no_steps():
    found = delta(np.array([3, 4], np.int32), np.array([3, 9], np.int32))
    assert (found.max_abs, found.max_ulps, found.within_tolerance) == (5.0, None, False)
    found = delta(np.array([True, False]), np.array([True, True]))
    assert (found.max_abs, found.max_ulps, found.within_tolerance) == (1.0, None, False)


def test_complex_numbers_are_measured_as_such():
    found = delta(np.array([3 + 4j], np.complex64), np.array([0j], np.complex64))
    assert (found.max_abs, found.max_rel, found.max_ulps) == (5.0, 1.0, None)


@pytest.mark.parametrize("other", [f32(1, 2, 3), np.array([1, 2], np.int32), np.array([[1, 2]], np.float32)])
def test_unlike_shapes_and_types_have_no_distance(other):
    found = delta(f32(1, 2), other)
    assert (found.bitwise, found.max_abs, found.within_tolerance) == (False, None, False)


def test_unlike_types_of_the_same_bytes_are_unlike():
    found = delta(f32(0, 0), np.array([0, 0], np.int32))
    assert (found.bitwise, found.within_tolerance) == (False, False)


def test_empty_results_are_equal():
    assert delta(f32(), f32()).bitwise
