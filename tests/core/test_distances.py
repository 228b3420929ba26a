"""Distances as a verdict keeps them: which are kept, and which one is of two given leaves."""

from __future__ import annotations

import math
from dataclasses import asdict

from pcvd.core.builds import Part
from pcvd.core.distances import MOST, Distances, kept
from pcvd.core.model import OutputDelta, digest


def part(text, name="a", label="float32[2]"):
    return Part(name, digest(b"raw"), digest(text.encode()), 8, label)


def delta(text, schedule="threads:2", name="a", label="float32[2]", **distances):
    return OutputDelta(schedule, name, label, False, **distances, digest=part(text).canonical)


def paths(deltas):
    return [leaf["path"] for leaf in kept(deltas)["leaves"]]


def test_a_leaf_is_kept_whole_in_plain_values():
    measured = delta(
        "x", max_abs=math.inf, max_rel=0.5, max_ulps=3.0, differing=1, elements=6, first=(1, 2)
    )  # fmt: skip
    assert kept([measured]) == {"leaves": [asdict(measured) | {"first": [1, 2]}], "more_leaves": 0}
    assert kept([]) == {"leaves": [], "more_leaves": 0}


def test_the_farthest_come_first():
    found = [
        delta("x", name="near", max_abs=1e-9, within_tolerance=True),
        delta("x", name="large numbers", max_abs=1e6, within_tolerance=True),
        delta("x", name="beyond", max_abs=1e-3),
        delta("x", name="another shape"),
        delta("x", name="a NaN", max_abs=math.inf),
    ]
    order = ["another shape", "a NaN", "beyond", "large numbers", "near"]
    assert paths(found)[2:] == order[2:]
    assert {*paths(found)[:2]} == {*order[:2]}
    assert paths(found[::-1])[2:] == order[2:]


def test_copies_that_agree_are_told_once_and_schedules_each():
    same, other = delta("x", max_abs=1.0), delta("y", max_abs=2.0)
    elsewhere = delta("x", "control", max_abs=1.0)
    assert len(kept([same, same, other, elsewhere, same])["leaves"]) == 3


def test_of_many_the_nearest_are_left_out_and_counted():
    found = kept([delta("x", name=str(number), max_abs=float(number)) for number in range(MOST + 3)])
    assert (len(found["leaves"]), found["more_leaves"]) == (MOST, 3)
    assert found["leaves"][-1]["path"] == "3"


def test_a_distance_is_found_by_content_in_both_directions():
    mine, other = part("reference"), part("x")
    distances = Distances(kept([delta("x", max_abs=1.0)]), [mine])
    assert distances.between(mine, other)["max_abs"] == 1.0
    assert distances.between(other, mine) == distances.between(mine, other)


def test_what_was_not_measured_has_none():
    mine, other = part("reference"), part("x")
    distances = Distances(kept([delta("x", max_abs=1.0), delta("y", max_abs=2.0)]), [mine])
    assert distances.between(other, part("y")) is None  # neither is the reference's
    assert distances.between(mine, part("z")) is None
    assert distances.between(mine, part("x", "b")) is None
    assert distances.between(mine, part("x", label="int32[2]")) is None
    assert distances.between(mine, None) is None
    assert Distances(None, [mine]).between(mine, other) is None
    assert Distances({"max_abs": 1.0}, [mine]).between(mine, other) is None


def test_the_farther_ranks_first_and_what_is_unknown_last():
    mine = part("reference")
    distances = Distances(kept([delta("near", max_abs=1.0), delta("far", max_abs=2.0)]), [mine])
    texts = sorted(["other", "near", "far"], key=lambda text: distances.rank(mine, part(text)))
    assert texts == ["far", "near", "other"]
