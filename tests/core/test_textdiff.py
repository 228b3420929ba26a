"""Diffs: whatever the texts, applying a diff to the left one must give the right one."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcvd.core.textdiff import compare

LINES = st.lists(st.sampled_from(["a", "b", "c", "", "}", "add"]), max_size=30)


def patched(left, diff):
    """`left` with the hunks of a unified diff applied, which must fit exactly."""
    out, at = [], 0
    for line in diff:
        header = re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@", line)
        if header:
            start, count, _, _ = map(int, header.groups())
            start -= bool(count)
            out += left[at:start]
            at = start
        elif line[0] == "+":
            out.append(line[1:])
        else:
            assert left[at] == line[1:]
            if line[0] == " ":
                out.append(left[at])
            at += 1
    return out + left[at:]


@settings(max_examples=300, deadline=None)
@given(LINES, LINES, st.integers(0, 4))
def test_a_diff_leads_from_one_text_to_the_other(left, right, context):
    delta = compare(left, right)
    assert patched(left, delta.unified(context=context)) == right
    assert (delta.added - delta.removed) == len(right) - len(left)
    assert bool(delta.blocks) == (left != right)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_edits_of_a_long_text_are_found_where_they_are(seed, edits):
    chance = random.Random(seed)
    left = [f"%{n} = add %{n - 1}, %{chance.randrange(9)}" if n % 3 else "}" for n in range(600)]
    right = list(left)
    for _ in range(edits):
        place = chance.randrange(len(right))
        right[place : place + chance.randrange(2)] = [f"new {n}" for n in range(chance.randrange(3))]
    delta = compare(left, right)
    assert patched(left, delta.unified()) == right
    assert delta.added + delta.removed <= 6 * edits


def test_counts_and_hunks():
    left = [str(n) for n in range(20)]
    right = [*left[:3], "x", "y", *left[4:15], *left[16:]]
    delta = compare(left, right)
    assert (delta.removed, delta.added) == (2, 2)
    assert list(delta.unified(context=1)) == [
        "@@ -3,3 +3,4 @@", " 2", "-3", "+x", "+y", " 4", "@@ -15,3 +16,2 @@", " 14", "-15", " 16"
    ]  # fmt: skip


def test_an_empty_side_is_named_by_the_line_before_it():
    assert list(compare([], ["a"]).unified()) == ["@@ -0,0 +1,1 @@", "+a"]
    assert list(compare(["a"], []).unified()) == ["@@ -1,1 +0,0 @@", "-a"]


def test_texts_of_megabytes_with_repeated_lines_come_to_an_end():
    # Nothing here is unique, and no line is alike: what difflib alone would chew on for hours.
    left = ["}", "add"] * 60_000
    right = ["}", "mul"] * 60_000
    delta = compare(left, right)
    assert delta.removed == delta.added
    assert patched(left, delta.unified()) == right


def test_a_long_line_is_shown_where_it_differs():
    left = "constant dense<" + "0" * 1_000_000 + "1" + "0" * 100_000
    right = "constant dense<" + "0" * 1_000_000 + "2" + "0" * 100_000
    _, removed, added = compare([left], [right]).unified(width=90)
    assert len(removed) <= 95
    assert removed.startswith("-…")
    assert removed.endswith("…")
    assert "1" in removed
    assert "2" in added
    assert removed.replace("1", "2")[1:] == added[1:]


@pytest.mark.parametrize("text", [[], ["a"], ["a", "", "a"]])
def test_equal_texts_have_no_diff(text):
    assert list(compare(text, list(text)).unified()) == []
