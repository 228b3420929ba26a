"""Variations: which builds try them, one thing changed at a time."""

from __future__ import annotations

import pytest

from pcvd.core.errors import UsageError
from pcvd.core.schedule import SERIAL
from pcvd.core.variation import (
    AFFINITY,
    AFTER_ITSELF,
    ALL,
    BETWEEN,
    HASH_SEED,
    LAYOUT,
    NEIGHBOURS,
    ORDER,
    PROCESS,
    THREAD,
    Manner,
    hindrance,
    named,
    probes,
    soaking,
)

CPUS = (3, 4)
COHORT = ("a.py:f", "b.py:f", "c.py:f")


def built(variation, cohort=COHORT, targets=None):
    """Per probe, what is built in which order."""
    return [
        [(probe.cohort[slot.target], slot.copy) for slot in probe.slots]
        for probe in probes(variation, cohort, targets or cohort, "object", CPUS)
    ]


def test_nothing_changed_is_the_reference_again():
    (probe,) = probes(PROCESS, COHORT, COHORT, "object", CPUS)
    assert built(PROCESS) == [[(target, 0) for target in COHORT]]
    assert probe.manner == Manner(zygote="reference", until="object")
    assert probe.variation.schedule == SERIAL


def test_in_another_order_every_target_stands_elsewhere():
    (order,) = built(ORDER)
    assert sorted(order) == sorted(built(PROCESS)[0])
    assert all(before != after for before, after in zip(built(PROCESS)[0], order, strict=True))


def test_after_itself_every_target_is_built_twice_in_a_row():
    assert built(AFTER_ITSELF) == [[(target, copy) for target in COHORT for copy in range(2)]]
    assert built(AFTER_ITSELF, COHORT[:1]) == [[(COHORT[0], 0), (COHORT[0], 1)]]


def test_what_has_nothing_to_change_says_why():
    assert [built(one, COHORT[:1]) for one in (ORDER, NEIGHBOURS)] == [[], []]
    assert [hindrance(one, COHORT[:1], CPUS) for one in (ORDER, NEIGHBOURS)] == [
        "it is alone in its process already"
    ] * 2
    assert hindrance(AFFINITY, COHORT, (3,)) == "there is one core only"
    assert hindrance(AFFINITY, COHORT, ()) == "this system lets nobody choose cores"
    assert {hindrance(one, COHORT, CPUS) for one in ALL.values()} == {None}


def test_another_hash_seed_is_that_of_the_builds_that_differed():
    for one, zygote in ((HASH_SEED, "seed:7"), (PROCESS, "reference"), (LAYOUT, "sibling")):
        (probe,) = probes(one, COHORT, COHORT, "object", CPUS, "seed:7")
        assert probe.manner.zygote == zygote


def test_neighbours_are_left_out_one_target_at_a_time():
    assert built(NEIGHBOURS, targets=COHORT[:2]) == [[(COHORT[0], 0)], [(COHORT[1], 0)]]
    assert {probe.name for probe in probes(NEIGHBOURS, COHORT, COHORT[:2], "object", CPUS)} == {
        "neighbours:a.py:f",
        "neighbours:b.py:f",
    }
    assert built(NEIGHBOURS, COHORT[:1]) == []


@pytest.mark.parametrize(
    "variation",
    [one for one in ALL.values() if one not in {ORDER, AFTER_ITSELF, NEIGHBOURS}],
    ids=lambda one: one.name,
)
def test_every_other_variation_keeps_cohort_and_order(variation):
    (probe,) = probes(variation, COHORT, COHORT[:1], "hlo", CPUS)
    assert built(variation, targets=COHORT[:1]) == [[(target, 0) for target in COHORT]]
    assert probe.manner.until == "hlo"
    assert (probe.manner.affinity == (3,)) == (variation is AFFINITY)
    assert (probe.variation.schedule.kind == "threads") == (variation is THREAD)


def test_each_of_them_changes_one_thing():
    told = [
        (one.schedule.name, one.manner)
        for one in ALL.values()
        if one not in {ORDER, AFTER_ITSELF, NEIGHBOURS, AFFINITY}
    ]
    assert len(set(map(repr, told))) == len(told)


def test_variations_by_name():
    assert named(["all"]) == tuple(ALL.values())
    assert named(["order", "affinity", "order"]) == (ORDER, AFFINITY)
    assert set(BETWEEN) < set(named(["all"]))
    with pytest.raises(UsageError, match='unknown variation "weather"') as raised:
        named(["weather"])
    assert "affinity" in raised.value.hint


def test_a_soak_varies_the_challengers_seed_and_leaves_the_reference_alone():
    assert soaking(SERIAL, 7).zygote is None
    assert soaking(THREAD.schedule, 7).zygote != soaking(THREAD.schedule, 8).zygote
    assert soaking(SERIAL, 7).idle
