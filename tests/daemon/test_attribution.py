"""Investigations with builders that only pretend: what is held against what, and what is said of it."""

from __future__ import annotations

import asyncio

import pytest

from pcvd.builders.protocol import Order
from pcvd.core.builds import STAGES
from pcvd.core.compare import judge
from pcvd.core.errors import SetupError
from pcvd.core.evidence import Facts
from pcvd.core.model import Judgement, TargetSpec
from pcvd.core.schedule import CONTROL, SERIAL, Schedule, rotated
from pcvd.core.variation import USUAL, named, soaking
from pcvd.investigation import Investigation

COHORT = [TargetSpec(f"{name}.py:f") for name in "abc"]
TWO_THREADS = (SERIAL, Schedule("threads", 2), CONTROL)
TOLERATED = ("llvm", "object", "executable")


def entry(order, place):
    return order.cohort[order.slots[place].target].entry


def ahead(order, place):
    """Which targets the process has built before."""
    share = order.slots[place].share
    return [entry(order, one) for one in range(place) if order.slots[one].share == share]


@pytest.fixture
def looked_into(fake):
    """What an investigation says of a target, after a round of these schedules (rotated: as a soak does)."""

    def look(makes, target, schedules=TWO_THREADS, soak=None, vary=()):
        builders = fake(makes)
        cohort = COHORT if soak is None else rotated(COHORT, soak)

        async def work():
            runs, challengers = [], 0
            for schedule in schedules:
                manner = USUAL if soak is None else soaking(schedule, soak)
                order = Order.of(cohort, schedule, challengers, manner)
                challengers += not schedule.serial
                runs.append((await builders.carry_out(order)).run)
            judgement = judge(target, runs, Facts(TOLERATED, {}, {}))
            investigation = Investigation(builders, builders.blobs, "/p", COHORT, runs)
            builders.orders.clear()
            if vary:
                found = await investigation.vary([target], named(vary))
            else:
                found = await investigation.explain([judgement])
            return judgement, found.causes[target], builders

        return asyncio.run(work())

    return look


def tried(cause):
    return {one["variation"]: (one["differs"], one["builds"]) for one in cause["evidence"]}


@pytest.mark.parametrize("soak", [None, 1, 2])
def test_what_depends_on_the_order_is_held_against_the_references_own(looked_into, soak):
    def by_place(order, place):
        return {"jaxpr": f"{len(ahead(order, place))}"} if entry(order, place) == "b.py:f" else {}

    _, cause, _ = looked_into(by_place, "b.py:f", soak=soak)
    assert cause["kind"] == "order"
    assert tried(cause)["process"] == (0, 5)


def test_the_hash_seed_that_is_tried_is_that_of_the_builds_that_differed(looked_into):
    def by_seed(order, place):
        return {"jaxpr": order.zygote if order.zygote == "seed:5" else "usual"}

    _, cause, builders = looked_into(by_seed, "b.py:f", soak=3)
    seeds = {order.zygote for order in builders.orders if order.name == "hash-seed"}
    assert seeds == {soaking(CONTROL, 3).zygote} == {"seed:5"}
    assert cause["kind"] == "hash-seed"


def test_what_a_race_is_looked_for_in_has_the_challengers_seed(looked_into):
    def by_overlap(order, place):
        return {"jaxpr": "raced"} if order.schedule.overlap > 1 else {}

    _, cause, builders = looked_into(by_overlap, "b.py:f", soak=3)
    assert cause["kind"] == "race"
    assert {order.zygote for order in builders.orders if order.schedule.overlap > 1} == {"seed:5"}


def test_state_of_its_own_that_outlives_a_trace_is_no_race(looked_into):
    # Three targets under four threads: some are built a second time in one process.
    def by_copy(order, place):
        return {"jaxpr": f"{ahead(order, place).count(entry(order, place))}"}

    schedules = (SERIAL, Schedule("threads", 4), CONTROL)
    _, cause, _ = looked_into(by_copy, "c.py:f", schedules)
    assert cause["kind"] == "after-itself"
    assert "second time" in cause["headline"]
    assert "cache of its own" in cause["hint"]
    assert tried(cause)["after-itself"] == (5, 5)
    assert tried(cause)["order"] == (0, 1)


def test_what_is_explained_is_what_made_the_verdict(looked_into):
    # The object code depends on the order, which is tolerated; the outputs on the seed, which is not.
    def makes(order, place):
        return {
            "object": f"{len(ahead(order, place))}",
            "output": "other" if order.zygote == "challenger" else "usual",
        }

    judgement, cause, _ = looked_into(makes, "a.py:f")
    assert (judgement.verdict, judgement.first_stage) == ("unstable", "object")
    assert (cause["stage"], cause["kind"]) == ("output", "hash-seed")
    assert tried(cause)["order"] == (0, 1), "another object alone is none of it"


def test_what_would_be_named_instead_is_tried_although_the_control_differs_too(looked_into):
    def makes(order, place):
        pooled = order.schedule.kind == "threads" or order.zygote == "challenger"
        return {"object": "other" if pooled else "usual"}

    _, cause, _ = looked_into(makes, "a.py:f")
    assert cause["kind"] == "thread"
    assert tried(cause)["hash-seed"] == (1, 1)


def test_once_one_explains_it_nothing_else_is_tried(looked_into):
    def by_order(order, place):
        return {"object": f"{len(ahead(order, place))}"}

    _, cause, _ = looked_into(by_order, "a.py:f", (SERIAL, Schedule("threads", 2)))
    assert cause["kind"] == "compile-order"
    assert tried(cause) == {"race": (1, 1), "process": (0, 5), "order": (5, 5)}


def test_what_only_seemed_to_explain_it_leaves_the_others_to_be_tried(looked_into):
    times = iter(range(1000))

    def makes(order, place):
        lucky = order.name == "order" and entry(order, place) == "a.py:f" and next(times) < 2
        alone = len(order.cohort) == 1
        return {"object": "other" if lucky or alone or order.schedule.overlap > 1 else "usual"}

    _, cause, _ = looked_into(makes, "a.py:f", (SERIAL, Schedule("threads", 2)))
    assert cause["kind"] == "neighbours"
    assert tried(cause)["order"][0] == 2
    assert tried(cause)["neighbours"] == (5, 5)


def test_a_variation_that_could_not_be_tried_is_told(looked_into):
    def makes(order, place):
        if order.name == "memory-layout":
            raise SetupError("there is no third zygote")
        return {"jaxpr": order.zygote}

    _, cause, _ = looked_into(makes, "a.py:f")
    assert cause["kind"] == "hash-seed"
    assert "memory-layout could not be tried: there is no third zygote" in cause["remarks"]
    assert {one["variation"]: one["untried"] for one in cause["evidence"]}["memory-layout"]


def test_nor_is_what_has_nothing_to_change_passed_over_in_silence(looked_into, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3}, raising=False)
    _, cause, builders = looked_into(lambda *_: {}, "a.py:f", vary=("affinity", "process"))
    assert cause["remarks"] == ["affinity could not be tried: there is one core only"]
    assert [order.name for order in builders.orders] == ["process", "process"]
    assert tried(cause) == {"affinity": (0, 0), "process": (0, 2)}


def test_whose_place_is_not_looked_for_says_so(fake):
    cohort = [TargetSpec(f"{name}.py:f") for name in "abcdef"]
    builders = fake(lambda order, place: {"object": order.zygote})

    async def work():
        orders = [Order.of(cohort, schedule, 0) for schedule in (SERIAL, CONTROL)]
        runs = [(await builders.carry_out(order)).run for order in orders]
        judgements = [Judgement(spec.entry, "unstable", first_stage="object") for spec in cohort]
        return await Investigation(builders, builders.blobs, "/p", cohort, runs).explain(judgements)

    told = {name: cause["remarks"] for name, cause in asyncio.run(work()).causes.items()}
    unplaced = [
        name
        for name, remarks in told.items()
        if any("when it is checked by itself" in one for one in remarks)
    ]
    assert unplaced == ["e.py:f", "f.py:f"]


def test_every_stage_counts_where_variations_are_asked_for(looked_into):
    _, cause, _ = looked_into(
        lambda order, place: {"object": order.zygote}, "a.py:f", vary=("hash-seed", "process")
    )
    (seed,) = [one for one in cause["evidence"] if one["variation"] == "hash-seed"]
    assert (seed["differs"], seed["first_stage"]) == (2, "object")
    assert STAGES.index(seed["first_stage"]) < STAGES.index("output")
