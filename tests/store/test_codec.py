"""The codec: what goes into a column comes out of it, whatever strings and numbers the records hold."""

from __future__ import annotations

import json
import math
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvd.core.model import Failure, Judgement
from pcvd.store import codec

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | TEXT | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, PLAIN, max_size=4)
FAILURES = st.builds(
    Failure, TEXT, TEXT, st.none() | TEXT, st.none() | st.integers(1, 10**6), st.none() | TEXT
)
JUDGEMENTS = st.builds(
    Judgement,
    target=TEXT,
    verdict=st.sampled_from(["agree", "equivalent", "diverged", "unstable", "inconclusive"]),
    reason=st.none() | TEXT,
    first_stage=st.none() | TEXT,
    differing=st.lists(TEXT, max_size=3).map(tuple),
    stages=st.dictionaries(TEXT, st.dictionaries(TEXT, st.none() | TEXT, max_size=3), max_size=3),
    output=st.none() | OBJECTS,
    evidence=OBJECTS,
    cause=st.none() | OBJECTS,
    failure=st.none() | FAILURES,
)


@given(JUDGEMENTS)
def test_a_judgement_comes_back_equal(judgement):
    assert codec.decode(codec.encode(judgement), Judgement) == judgement


@given(OBJECTS)
def test_equal_objects_have_one_text_whatever_the_order_of_their_keys(value):
    assert codec.encode(dict(reversed(value.items()))) == codec.encode(value)


def test_infinite_distances_survive_and_are_json_that_sqlite_understands():
    text = codec.encode(Judgement("t", "diverged", output={"max_abs": math.inf, "max_rel": -math.inf}))
    assert codec.decode(text, Judgement).output == {"max_abs": math.inf, "max_rel": -math.inf}
    with sqlite3.connect(":memory:") as connection:
        query = "SELECT json_valid(?), json_extract(?, '$.output.max_abs')"
        assert connection.execute(query, (text, text)).fetchone() == (1, math.inf)
    connection.close()


def test_a_nan_becomes_null_since_json_has_none():
    assert json.loads(codec.encode({"max_abs": math.nan})) == {"max_abs": None}


def test_text_with_bytes_that_are_no_utf8_is_stored_readably():
    quoted = b"caf\xe9.py".decode("utf-8", "surrogateescape")
    assert codec.encode([quoted]) == '["caf\\\\udce9.py"]'
    assert codec.row(quoted, "plain", 1, None) == ("caf\\udce9.py", "plain", 1, None)


@given(st.binary(min_size=1).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_any_path_comes_back_the_very_same(name):
    assert codec.name_of(codec.name_column(name)) == name


@pytest.mark.parametrize("text", ["{", "[]", '{"target": 1, "verdict": "agree"}', '{"verdict": "agree"}'])
def test_what_is_no_judgement_is_refused(text):
    with pytest.raises(Exception, match=r"Expect|missing|truncated"):
        codec.decode(text, Judgement)
