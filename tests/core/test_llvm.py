"""The canonical form of LLVM IR: how its metadata is numbered, and where it is left as it is."""

from __future__ import annotations

import re

import pytest
from artifacts import LLVM, NOWHERE
from hypothesis import given
from hypothesis import strategies as st

from pcvd.core.canonical import canonicalize


def test_metadata_is_numbered_as_it_is_used_and_all_else_stays_as_it_is():
    kept = LLVM.replace("'__compute_module_while.1_kernel_module'", "", 1)
    kept = kept.replace('"__compute_module_while.1_kernel_module"', "", 1)
    for old, new in (
        ("4, !noalias !3\n", "4, !noalias !0\n"),
        ("!alias.scope !3, !noalias !4", "!alias.scope !0, !noalias !1"),
        ("flags = !{!0, !1}", "flags = !{!2, !3}"),
    ):
        assert old in kept
        kept = kept.replace(old, new)
    kept = kept[: kept.index("!0 = ")] + (
        "!0 = !{!4}\n"
        '!1 = distinct !{!1, !"buffer: {index:2}", !5}\n'
        '!2 = !{i32 2, !"Debug Info Version", i32 3}\n'
        '!3 = !{i32 1, !"xla_dylib_index", i64 1}\n'
        '!4 = distinct !{!4, !"buffer: {index:3}", !5}\n'
        '!5 = !{!"!4 = !{!0}"}\n'
    )
    assert canonicalize("llvm", LLVM.encode(), NOWHERE)[0].decode() == kept


@pytest.mark.parametrize(
    "text",
    [
        "ret void, !dbg !7\n!3 = !{}\n",
        "ret void, !dbg !3\n!3 = !{}\n!3 = !{i32 1}\n",
        "!3 = !{!4}\n",
        'c"!3", !"!3" ; !3\n',
        " !3 = !{}\n",
        "!3abc = !{}\n",
    ],
    ids=["no such node", "two of one number", "node without its node", "texts", "indented", "a name"],
)
def test_metadata_that_is_no_whole_module_stays(text):
    assert canonicalize("llvm", text.encode(), NOWHERE) == (text.encode(), ())


@given(st.data(), st.integers(1, 12))
def test_no_numbering_of_metadata_counts(data, count):
    # Nodes refer to any nodes, themselves included; some may be referred to by nothing.
    places = st.integers(0, count - 1)
    refers = [data.draw(st.lists(places, max_size=3)) for _ in range(count)]
    used = data.draw(st.lists(places, max_size=5))

    def module(numbers: list[int]) -> str:
        uses = "".join(f"  load ptr %{place}, !x !{numbers[one]}\n" for place, one in enumerate(used))
        nodes = {
            numbers[place]: f'!{{!"{place} !0", {", ".join(f"!{numbers[one]}" for one in others)}}}'
            for place, others in enumerate(refers)
        }
        return uses + "".join(f"!{number} = {nodes[number]}\n" for number in sorted(nodes))

    reached, waiting = set(), [*used]
    while waiting:
        one = waiting.pop()
        waiting += [] if one in reached else refers[one]
        reached.add(one)
    left, right = (
        canonicalize("llvm", module(data.draw(st.permutations(range(count)))).encode(), NOWHERE)[0]
        for _ in range(2)
    )
    if len(reached) == count:
        assert left == right
    assert canonicalize("llvm", left, NOWHERE) == (left, ())
    assert sorted(re.findall(rb'"(\d+) !0"', left)) == sorted(b"%d" % place for place in range(count))
