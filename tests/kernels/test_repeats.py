"""Finding what repeats in a sequence of numbers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcvd.kernels.repeats import Run, find


def longest(sequence):
    return max(find(sequence), key=lambda run: run.stop - run.start, default=None)


@pytest.mark.parametrize("turns", [2, 3, 24])
def test_layers_between_a_head_and_a_tail_are_found(turns):
    block = list(range(100, 137))
    sequence = [1, 2, 3, *block * turns, 4, 5]
    assert find(sequence) == (Run(3, 3 + 37 * turns, 37),)


def test_a_forward_and_a_backward_pass_are_two_runs():
    forward, backward = list(range(10, 30)), list(range(50, 75))
    runs = find([0, *forward * 6, 1, *backward * 6, 2])
    assert [(run.start, run.period, run.turns) for run in runs] == [(1, 20, 6), (122, 25, 6)]


def test_what_repeats_within_a_layer_does_not_hide_the_layers():
    layer = [*[1, 2, 3] * 10, *range(10, 20), *[4, 5] * 6]
    run = longest(layer * 5)
    assert run.period == len(layer)
    assert run.turns == 5


def test_equal_parts_within_a_layer_do_not_hide_the_layers():
    norm = [1, 2, 3, 4, 5, 6, 7, 8]
    layer = [*norm, 20, 21, 22, *norm, 30, 31]
    run = longest(layer * 7)
    assert (run.period, run.turns) == (len(layer), 7)


def test_a_run_that_is_no_whole_number_of_turns_keeps_its_rest():
    block = list(range(9))
    [run] = find([77, *block * 3, *block[:5], 78])
    assert run == Run(1, 1 + 27 + 5, 9)
    assert run.turns == 3


@pytest.mark.parametrize("sequence", [[], [1], [1, 2, 3, 4], list(range(1000))])
def test_where_nothing_repeats_nothing_is_found(sequence):
    assert find(sequence) == ()


def test_short_runs_can_be_left_out():
    assert find([1, 1, 2, 3], shortest=3) == ()
    assert find([1, 1, 1, 2, 3], shortest=3) == (Run(0, 3, 1),)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 3), max_size=60))
def test_runs_are_disjoint_and_have_their_period(sequence):
    end = 0
    for run in find(sequence):
        assert end <= run.start
        assert run.turns >= 2
        shifted = zip(
            range(run.start, run.stop - run.period), range(run.start + run.period, run.stop), strict=True
        )
        assert all(sequence[one] == sequence[other] for one, other in shifted)
        end = run.stop
    assert end <= len(sequence)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(0, 99), min_size=4, max_size=12, unique=True),
    st.integers(3, 9),
    st.lists(st.integers(100, 199), max_size=5, unique=True),
    st.lists(st.integers(200, 299), max_size=5, unique=True),
)
def test_a_planted_run_is_found(block, turns, before, after):
    [run] = find([*before, *block * turns, *after])
    assert run == Run(len(before), len(before) + len(block) * turns, len(block))


def test_the_time_is_about_linear():
    def took(layers):
        sequence = [*range(500), *list(range(1000, 1100)) * layers]
        began = time.perf_counter()
        find(sequence)
        return time.perf_counter() - began

    took(10)
    assert min(took(400) for _ in range(3)) < 40 * max(min(took(40) for _ in range(3)), 1e-3)
