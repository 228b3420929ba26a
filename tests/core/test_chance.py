"""Chance: when a difference that went away did not do so by itself."""

from __future__ import annotations

from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvd.core.chance import Tally


def test_comparisons_add_up():
    assert Tally().plus(differs=True).plus(differs=False) == Tally(2, 1)


@given(st.integers(0, 12), st.data(), st.integers(1, 12))
def test_a_coincidence_is_one_arrangement_among_all(made, data, equal):
    differs = data.draw(st.integers(0, made))
    total = made + equal
    assert Tally(made, differs).coincidence(equal) * comb(total, differs) == pytest.approx(
        comb(made, differs)
    )


def test_what_never_differed_proves_nothing():
    assert Tally(5, 0).coincidence(100) == 1.0
    assert Tally(5, 0).needed(0.01, 100) is None


@pytest.mark.parametrize(
    ("tally", "needed"), [(Tally(6, 6), 4), (Tally(3, 3), 7), (Tally(6, 5), 6), (Tally(6, 2), None)]
)
def test_how_many_it_takes(tally, needed):
    assert tally.needed(0.01, 8) == needed
    if needed is not None:
        assert tally.coincidence(needed) < 0.01 <= tally.coincidence(needed - 1)


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_outdoing_is_counted_over_all_arrangements(made, others, data):
    one = Tally(made, data.draw(st.integers(0, made)))
    other = Tally(others, data.draw(st.integers(0, others)))
    total = range(made + others)
    arrangements = list(combinations(total, one.differs + other.differs))
    extreme = sum(sum(place < made for place in chosen) >= one.differs for chosen in arrangements)
    assert one.outdoes(other) == pytest.approx(extreme / len(arrangements))


def test_one_comparison_more_pays_while_it_spares_more_than_itself():
    def total(tally, more):
        needed = Tally(tally.made + more, tally.differs + more).needed(0.01, 8)
        return more + (needed or 9)

    for made in range(1, 8):
        for differs in range(1, made + 1):
            tally = Tally(made, differs)
            assert tally.pays(0.01, 8) == (total(tally, 1) < total(tally, 0))
    assert Tally(2, 2).pays(0.01, 8)
    assert not Tally(4, 4).pays(0.01, 8)
