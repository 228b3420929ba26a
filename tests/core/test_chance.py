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


@pytest.mark.parametrize(
    ("made", "differs", "pays"),
    [
        (2, 2, True),  # 13 are needed, which is too many, and then 7
        (3, 3, True),  # 7, and then 5
        (4, 4, False),  # 5, and then 4: as many builds
        (6, 6, False),
        (4, 3, True),  # too many, and then 8
        (8, 5, True),
        (5, 1, False),  # too many, whatever the next one shows
    ],
)
def test_one_comparison_more_pays_where_it_spares_more_or_makes_it_possible(made, differs, pays):
    assert Tally(made, differs).pays(0.01, 8) == pays
