from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvd.core import looks

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@given(st.dictionaries(NAMES, st.booleans(), max_size=5), st.randoms())
def test_a_listing_has_no_order(entries, random):
    shuffled = list(entries.items())
    random.shuffle(shuffled)
    assert looks.listing_digest(shuffled) == looks.listing_digest(entries.items())


@given(st.dictionaries(NAMES, st.booleans(), max_size=4), st.dictionaries(NAMES, st.booleans(), max_size=4))
def test_listings_are_equal_where_what_counts_in_them_is(one, other):
    counting = [
        {name: kind for name, kind in found.items() if looks.is_listed(name)} for found in (one, other)
    ]
    equal = looks.listing_digest(one.items()) == looks.listing_digest(other.items())
    assert equal == (counting[0] == counting[1])


@pytest.mark.parametrize("folder", ["/p", "/p/", "/"])
def test_names_lead_back_to_their_folder(folder):
    plain = folder.rstrip("/")
    assert looks.path_of(looks.presence(folder)) == plain
    assert looks.path_of(looks.tree(folder)) == plain
    assert len({looks.presence(folder), looks.tree(folder), plain}) == 3


def test_names_that_are_no_utf8_count():
    odd = b"\xff".decode(errors="surrogateescape")
    assert looks.listing_digest([(odd, False)]) != looks.listing_digest([])
    assert looks.place_digest(f"/{odd}") != looks.place_digest("/")
