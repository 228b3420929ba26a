"""The verdict where outputs differ: which leaves are measured, and what being within tolerance excuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from runs import (
    OTHER,
    TOLERATED,
    T,
    build,
    control,
    delta,
    facts,
    part,
    run,
    serial,
    threads,
    verdict,
)

from pcvd.core.builds import STAGES, Artifact, Build, Run
from pcvd.core.compare import differing_outputs, judge

LOOSE = (*TOLERATED, "output")


def outputs(**leaves: str) -> Build:
    made = Artifact.of("output", [part(name, text, "f32[2]") for name, text in leaves.items()])
    one = build(lacking=("output",))
    return replace(one, artifacts=(*one.artifacts, made))


def control_of(a: str, b: str) -> Run:
    return run("control", outputs(a=a, b=b))


def test_outputs_may_differ_within_tolerance_where_that_is_allowed():
    runs = [
        run("serial", outputs(a="1", b="2")),
        run("threads:2", outputs(a="1", b="2"), outputs(a="x", b="y")),
    ]
    deltas = [delta(path="a", max_abs=1e-7, max_rel=1e-6, max_ulps=2.0), delta(path="b", max_abs=2e-7)]
    found = judge(T, runs, facts(LOOSE, deltas))
    assert found.verdict == "equivalent"
    assert [leaf.pop("path") for leaf in found.output.pop("leaves")] == ["b", "a"]
    assert found.output == {
        "bitwise": False, "max_abs": 2e-7, "max_rel": 1e-6, "max_ulps": 2.0, "within_tolerance": True,
        "unmeasured": 0, "more_leaves": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "deltas",
    [
        [delta(within=False, max_abs=1.0)],
        [delta(max_abs=1e-9), delta(within=False, max_abs=1.0)],
        [],
    ],
    ids=["outside", "one copy outside", "not measured"],
)
def test_outputs_beyond_tolerance_or_not_measured_are_serious(deltas):
    assert (
        verdict(serial(), threads({}, {"output": "x"}), control(), tolerate=LOOSE, deltas=deltas)
        == "diverged"
    )


def test_one_schedules_small_distance_does_not_excuse_anothers():
    # Leaves of another structure have no distance, and so no delta.
    runs = [serial(), threads({}, {"output": "x"}), threads({}, {"output": "y"}, {}), control()]
    assert verdict(*runs, tolerate=LOOSE, deltas=[delta("threads:2", max_abs=1e-9)]) == "diverged"


def test_tolerances_only_describe_unless_outputs_are_tolerated():
    found = judge(T, [serial(), threads({}, {"output": "x"}), control()], facts(deltas=[delta(max_abs=1e-9)]))
    assert found.verdict == "diverged"
    assert found.output["within_tolerance"] is True


def test_what_has_no_distance_is_described_as_such():
    found = judge(T, [serial(), threads({}, {"output": "x"})], facts(deltas=[delta(within=False)]))
    distances = {"max_abs": None, "max_rel": None, "max_ulps": None, "within_tolerance": False}
    (leaf,) = found.output.pop("leaves")
    assert leaf.items() >= {"path": "output", "bitwise": False, **distances}.items()
    assert found.output == {"bitwise": False, **distances, "unmeasured": 0, "more_leaves": 0}


def test_leaves_whose_bits_differ_are_to_be_measured():
    runs = [
        run("serial", outputs(a="1", b="2", c="3"), build(OTHER)),
        run(
            "threads:2", outputs(a="1", b="2", c="3"), outputs(a="1", b="x", c="y"), build(OTHER, output="x")
        ),
        run("control", outputs(a="1", b="2", c="z")),
    ]
    assert list(differing_outputs(T, runs)) == [
        ("threads:2", part("b", "2", "f32[2]"), part("b", "x", "f32[2]")),
        ("threads:2", part("c", "3", "f32[2]"), part("c", "y", "f32[2]")),
        ("control", part("c", "3", "f32[2]"), part("c", "z", "f32[2]")),
    ]


@pytest.mark.parametrize(
    "runs",
    [
        [run("serial"), run("threads:2", outputs(a="1"))],
        [run("serial", build(lacking=("output",))), run("threads:2", outputs(a="1"))],
        [run("serial", outputs(a="1")), run("threads:2", build(output=None), build(lacking=STAGES))],
        [run("serial", outputs(a="1")), run("threads:2", outputs(b="1"))],
        [run("serial", outputs(a="1")), run("threads:2")],
    ],
)
def test_nothing_is_measured_where_a_side_is_lacking(runs):
    assert list(differing_outputs(T, runs)) == []


@pytest.mark.parametrize("leaves", [{"a": "x"}, {"a": "x", "b": "2", "c": "3"}], ids=["lost", "gained"])
def test_a_lost_or_gained_leaf_is_never_within_tolerance(leaves):
    runs = [
        run("serial", outputs(a="1", b="2")),
        run("threads:2", outputs(a="1", b="2"), outputs(**leaves)),
        control_of("1", "2"),
    ]
    measured = [
        delta(schedule, path=one.name, max_abs=1e-9) for schedule, one, _ in differing_outputs(T, runs)
    ]
    assert [one.path for one in measured] == ["a"]
    assert verdict(*runs, tolerate=LOOSE, deltas=measured) == "diverged"


def test_a_leaf_that_only_one_side_has_is_not_told_as_within_tolerance():
    runs = [
        run("serial", outputs(a="1", b="2")),
        run("threads:2", outputs(a="x", c="3"), outputs(a="1", b="2")),
    ]
    found = judge(T, runs, facts(deltas=[delta(path="a", max_abs=1e-45)]))
    assert found.verdict == "diverged"
    assert (found.output["within_tolerance"], found.output["unmeasured"]) == (False, 2)


def test_a_leaf_of_equal_bytes_and_another_type_is_to_be_measured():
    one, other = (
        replace(
            build(lacking=("output",)),
            artifacts=(*build(lacking=("output",)).artifacts, Artifact.of("output", [part("a", "0", label)])),
        )
        for label in ("f32[2]", "i32[2]")
    )
    (found,) = differing_outputs(T, [run("serial", one), run("threads:2", one, other)])
    assert [leaf.label for leaf in found[1:]] == ["f32[2]", "i32[2]"]


def test_outputs_that_could_not_be_measured_are_neither_within_tolerance_nor_beyond():
    runs = [
        run("serial", outputs(a="1", b="2")),
        run("threads:2", outputs(a="x", b="y")),
        control_of("1", "2"),
    ]
    runs[1] = run("threads:2", outputs(a="x", b="y"), outputs(a="1", b="2"))
    near, failed = [delta(path="a", max_abs=1e-9)], [("threads:2", "b")]
    found = judge(T, runs, facts(LOOSE, near, unmeasured=failed))
    assert found.verdict == "inconclusive"
    assert "could not be measured" in found.reason
    # Nor do they change a verdict that stands without them.
    far = [delta(path="a", within=False, max_abs=1.0)]
    assert verdict(*runs, tolerate=LOOSE, deltas=far, unmeasured=failed) == "diverged"
    strict = judge(T, runs, facts(deltas=near, unmeasured=failed))
    assert strict.verdict == "diverged"
    assert (strict.output["within_tolerance"], strict.output["unmeasured"]) == (False, 1)
