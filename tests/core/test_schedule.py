"""Schedules: their names, and the order and copies in which a cohort is submitted."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvd.core.errors import UsageError
from pcvd.core.schedule import CONTROL, SERIAL, Schedule, Slot, arrange, parse, reordered

POOLS = st.builds(Schedule, st.sampled_from(["threads", "processes"]), st.integers(1, 12))
COHORTS = st.integers(1, 12)
CHALLENGERS = st.integers(0, 7)


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("serial", SERIAL),
        ("control", CONTROL),
        ("threads:1", Schedule("threads", 1)),
        ("threads:4", Schedule("threads", 4)),
        ("processes:12", Schedule("processes", 12)),
    ],
)
def test_a_schedule_is_known_by_its_name(text, schedule):
    assert parse(text) == schedule
    assert schedule.name == text


@pytest.mark.parametrize(
    "text",
    [
        "", "Serial", " serial", "serial:1", "control:2", "threads", "threads:", "threads:0", "threads:-1",
        "threads:+2", "threads:1.5", "threads: 2", "threads:2 ", "threads:²", "threads:٣", "threads:1_0",
        "threads:2:2", ":2", "fibers:2", "hosts",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_would_do(text):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert f'"{text}"' in str(caught.value)
    assert "serial, control, threads:N or processes:N" in str(caught.value)


@pytest.mark.parametrize("text", ["threads:02", "processes:0002"])
def test_one_schedule_has_one_name(text):
    # Verdicts tell schedules apart by name: two spellings of one would overwrite each other's findings.
    with pytest.raises(UsageError):
        parse(text)


def test_a_number_longer_than_python_converts_is_refused_like_any_other():
    with pytest.raises(UsageError):
        parse("threads:" + "9" * 5000)


@given(st.text() | st.from_regex("(threads|processes):[0-9]{1,3}", fullmatch=True))
def test_no_text_is_worse_than_unknown(text):
    try:
        schedule = parse(text)
    except UsageError:
        return
    assert schedule.name == text


@pytest.mark.parametrize(
    ("text", "serial", "zygote", "overlap"),
    [
        ("serial", True, "reference", 1),
        ("control", True, "challenger", 1),
        ("threads:1", False, "challenger", 1),
        ("threads:4", False, "challenger", 4),
        ("processes:2", False, "challenger", 2),
    ],
)
def test_what_a_schedule_asks_for(text, serial, zygote, overlap):
    schedule = parse(text)
    assert (schedule.serial, schedule.zygote, schedule.overlap) == (serial, zygote, overlap)


@given(st.sampled_from([SERIAL, CONTROL]), st.integers(0, 12), CHALLENGERS)
def test_serial_schedules_build_everything_once_in_the_declared_order(schedule, targets, challenger):
    assert arrange(schedule, targets, challenger) == [Slot(index, 0, 0) for index in range(targets)]


@given(POOLS, COHORTS, CHALLENGERS)
def test_every_target_is_built_and_every_worker_has_a_build(schedule, targets, challenger):
    slots = arrange(schedule, targets, challenger)
    assert {slot.target for slot in slots} == set(range(targets))
    # The last wave is full: what is built last would else be built alone.
    assert len(slots) % schedule.workers == 0
    assert 0 <= len(slots) - targets < schedule.workers
    # Copies are spread evenly: nobody is built three times before everybody is built twice.
    counts = Counter(slot.target for slot in slots).values()
    assert max(counts) - min(counts) <= 1


@given(POOLS, COHORTS, CHALLENGERS)
def test_copies_are_numbered_from_zero_in_the_order_of_submission(schedule, targets, challenger):
    slots = arrange(schedule, targets, challenger)
    for target in range(targets):
        copies = [slot.copy for slot in slots if slot.target == target]
        assert copies == list(range(len(copies)))


@given(POOLS, COHORTS, CHALLENGERS)
def test_shares_are_processes_and_none_is_without_work(schedule, targets, challenger):
    shares = {slot.share for slot in arrange(schedule, targets, challenger)}
    assert shares == (set(range(schedule.workers)) if schedule.kind == "processes" else {0})


@given(COHORTS, st.integers(1, 12), CHALLENGERS)
def test_no_process_builds_one_target_twice(targets, workers, challenger):
    # In one process, JAX's caches could answer the second build from the first.
    slots = arrange(Schedule("processes", workers), targets, challenger)
    assert len({(slot.share, slot.target) for slot in slots}) == len(slots)


@given(POOLS, st.integers(2, 12), CHALLENGERS)
def test_a_challenger_moves_every_target_to_another_place(schedule, targets, challenger):
    submitted = [slot.target for slot in arrange(schedule, targets, challenger)]
    assert all(target != place for place, target in enumerate(submitted[:targets]))


@given(POOLS, st.integers(2, 12), st.data())
def test_challengers_of_a_round_see_different_orders_as_long_as_there_are_any(schedule, targets, data):
    count = data.draw(st.integers(1, targets - 1))
    orders = [
        tuple(slot.target for slot in arrange(schedule, targets, challenger)) for challenger in range(count)
    ]
    assert len(set(orders)) == count


@given(st.integers(2, 33))
def test_the_first_challenger_turns_round_every_pair_but_one_at_most(targets):
    place = {target: place for place, target in enumerate(reordered(targets, 0))}
    kept = [(a, b) for b in range(targets) for a in range(b) if place[a] < place[b]]
    assert len(kept) <= targets % 2


@given(st.integers(3, 33))
def test_two_challengers_turn_round_every_pair(targets):
    orders = [{target: place for place, target in enumerate(reordered(targets, one))} for one in range(2)]
    assert all(any(order[a] > order[b] for order in orders) for b in range(targets) for a in range(b))


def test_orders_of_three_and_of_one():
    assert [reordered(3, challenger) for challenger in range(3)] == [(2, 0, 1), (1, 2, 0), (2, 0, 1)]
    assert reordered(1, 5) == (0,)
    assert reordered(0, 0) == ()


def test_four_workers_and_two_targets():
    assert arrange(Schedule("processes", 4), 2, 0) == [
        Slot(1, 0, 0), Slot(0, 0, 1), Slot(1, 1, 2), Slot(0, 1, 3),
    ]  # fmt: skip


def test_two_workers_and_three_targets_have_no_last_one_that_is_alone():
    assert arrange(Schedule("threads", 2), 3, 0) == [
        Slot(2, 0, 0), Slot(0, 0, 0), Slot(1, 0, 0), Slot(2, 1, 0),
    ]  # fmt: skip


def test_one_target_is_built_as_often_as_there_are_workers():
    assert arrange(Schedule("threads", 3), 1, 2) == [Slot(0, 0, 0), Slot(0, 1, 0), Slot(0, 2, 0)]
