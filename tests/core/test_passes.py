"""Passes: what of their dumps is compared, which differs first, and which pass is suspected."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvd.core.model import digest
from pcvd.core.passes import RULES, canonical, first_difference, suspects

DATA = Path(__file__).with_name("data")


def dumps(version: str) -> list[tuple[str, str]]:
    return [(file.name, file.read_text()) for file in sorted((DATA / version).iterdir())]


def digests(texts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, digest(canonical(text.encode()))) for name, text in texts]


MODULE = b"""HloModule jit_f, is_scheduled=true

FileNames
1 "/project/models/loop.py"

FunctionNames
1 "f"

FileLocations
1 {file_name_id=1 function_name_id=1 line=21 end_line=21 column=44 end_column=54}

StackFrames
1 {file_location_id=1 parent_frame_id=1}


ENTRY %main (x: f32[2]) -> f32[2] {
  %x = f32[2]{0} parameter(0), metadata={op_name="x"}
  ROOT %s = f32[2]{0} sine(%x), frontend_attributes={note="a, metadata={b}"}, metadata={op_name="jit(f)/s\\"}" stack_frame_id=1}
}
"""  # noqa: E501


IRRELEVANT = {
    "stack-frames": (b"line=21", b"line=22"),
    "metadata": (b"jit(f)/s", b"jit(f)/layer_7/s"),
    "instruction-names": (b"%s =", b"%sine.7 ="),
}


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_each_rule_removes_what_says_only_where_it_comes_from(rule):
    change = IRRELEVANT[rule]
    assert MODULE.replace(*change) != MODULE
    assert canonical(MODULE.replace(*change)) == canonical(MODULE)


@pytest.mark.parametrize(
    "change",
    [
        (b"sine(", b"cosine("),
        (b"{0} sine", b"{} sine"),
        (b"a, metadata={b}", b"a, metadata={c}"),
        (b"is_scheduled=true", b"is_scheduled=false"),
        (b"(%x)", b"(%y)"),
    ],
)
def test_no_rule_removes_what_may_run(change):
    assert MODULE.replace(*change) != MODULE
    assert canonical(MODULE.replace(*change)) != canonical(MODULE)


@given(st.binary())
def test_canonical_is_idempotent(text):
    assert canonical(canonical(text)) == canonical(text)


@pytest.mark.parametrize("version", ["jax-0.10", "jax-0.12"])
def test_equal_builds_differ_nowhere(version):
    left = dumps(version)
    right = [
        (name.replace("module_0004", "module_0019"), text.replace("line=21", "line=7")) for name, text in left
    ]
    assert right != left
    assert first_difference(digests(left), digests(right)) is None


def _side(*dumped: str) -> list[tuple[str, str]]:
    """`p:A` is a dump after pass p that holds A."""
    pairs = [one.split(":") for one in dumped]
    return [
        (f"{number:04d}.line.after_{name}.before_x.txt", text) for number, (name, text) in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("left", "right", "pass_name", "only"),
    [
        (("a:1", "b:2", "c:3"), ("a:1", "b:9", "c:8"), "b", ""),
        (("a:1", "b:2", "c:3"), ("a:1", "c:4"), "b", "left"),
        (("a:1", "c:3"), ("a:1", "b:2", "c:4"), "b", "right"),
        (("a:1",), ("a:1", "b:2"), "b", "right"),
        (("a:1", "b:2", "a:3", "b:4"), ("a:1", "b:2", "a:3", "b:5"), "b", ""),
        (("a:1", "p-7:2"), ("a:1", "p-31:3"), "p", ""),
    ],
)
def test_the_first_pass_that_differs(left, right, pass_name, only):
    found = first_difference(_side(*left), _side(*right))
    assert found is not None
    assert found.pass_name == pass_name
    assert (found.left is None, found.right is None) == (only == "right", only == "left")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((), ()),
        (("a:1", "b:2"), ("a:1", "b:2")),
        (
            ("a:1", "pipeline-start:1", "b:2"),
            ("a:1", "b:2"),
        ),  # a pipeline that started on one side, and did nothing
        (("a:1", "p-7:2"), ("a:1", "p-31:2")),
    ],
)
def test_no_pass_differs(left, right):
    assert first_difference(_side(*left), _side(*right)) is None
    assert first_difference(_side(*right), _side(*left)) is None


@pytest.mark.parametrize("version", ["jax-0.10", "jax-0.12"])
def test_a_hoisted_loop_is_suspected_of_its_hoisting(version):
    found = suspects(dumps(version), "call_computation")
    assert found[0] == "small-while-loop-hoisting"
    assert "fusion" in found
    assert not {"copy-insertion", "pipeline-start", ""} & set(found)
    assert len(found) <= 6
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("version", ["jax-0.10", "jax-0.12"])
def test_without_a_known_kernel_the_latest_change_comes_first(version):
    # What propagates metadata changes nothing that is compared.
    assert suspects(dumps(version), "nothing_like_it")[0] == "small-while-loop-hoisting"


def test_what_expands_is_never_disabled():
    texts = [
        ("before_optimizations.txt", "ENTRY %m () -> f32[] {\n  ROOT %a = f32[] rng()\n}"),
        ("0001.p.after_rng-expander.before_x.txt", "ENTRY %m () -> f32[] {\n  ROOT %b = f32[] add()\n}"),
        ("0002.p.after_topk-decomposer.before_x.txt", "ENTRY %m () -> f32[] {\n  ROOT %c = f32[] add()\n}"),
        ("0003.p.after_algsimp.before_x.txt", "ENTRY %m () -> f32[] {\n  ROOT %d = f32[] add()\n}"),
    ]
    assert suspects(texts, "d") == ["algsimp"]


def test_nothing_to_suspect_without_dumps():
    assert suspects([], "call_computation") == []
    assert suspects([("jaxpr.txt", "")], "call_computation") == []


@given(st.lists(st.tuples(st.sampled_from([name for name, _ in dumps("jax-0.12")]), st.text())), st.text())
def test_any_texts_give_suspects(texts, kernel):
    assert len(suspects(texts, kernel)) <= 6
