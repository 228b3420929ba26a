"""The plan where there is more to do than can be done: what is given up, what goes first."""

from __future__ import annotations

import pytest
from plans import LIB, A, B, C, ended, judged, specs, standing

from pcvd.core.events import (
    Abandon,
    Asked,
    Declared,
    Dragging,
    Ended,
    Judged,
    Saved,
    Validate,
)
from pcvd.core.held import MOST_TRIES
from pcvd.core.model import TargetSpec
from pcvd.core.plan import Plan
from pcvd.core.underway import MOST_LONG

# -- what a newer event makes pointless ----------------------------------------------------------------


def test_a_build_whose_files_were_all_saved_since_is_given_up():
    plan = standing(A, B)
    (first,) = plan.handle(Saved({"/p/a.py": "2"}))
    (order,) = plan.handle(Saved({"/p/a.py": "3"}))
    assert order == Abandon()
    assert order.order == first.number
    assert plan.state(A) == "building"
    assert plan.handle(Ended(failed=True)) == [Validate((A,), "/p/a.py was saved")]


def test_a_build_that_others_still_need_is_seen_through():
    plan = standing(A, B)
    plan.handle(Saved({LIB: "2"}))
    assert plan.handle(Saved({"/p/a.py": "2"})) == []


def test_a_file_that_is_saved_all_the_time_is_judged_now_and_then():
    plan = standing(A)
    orders = plan.handle(Saved({"/p/a.py": "0"}))
    given_up = 0
    for number in range(1, 20):
        orders = plan.handle(Saved({"/p/a.py": str(number)}))
        given_up += orders == [Abandon()]
        if orders:
            assert plan.handle(Ended(failed=True)) == [Validate((A,), "/p/a.py was saved")]
    assert given_up == MOST_TRIES


def test_the_backlog_gives_way_to_a_save_but_not_for_ever():
    plan = Plan()
    plan.handle(Declared(specs(A, B)))
    plan.handle(Ended((judged(A),), changed=(B,)))  # B is tried again
    for number in range(2, 2 + MOST_TRIES):
        assert plan.handle(Saved({"/p/a.py": str(number)})) == [Abandon()]
        assert plan.handle(Ended(failed=True)) == [Validate((A,), "/p/a.py was saved")]
        saved = Judged(A, "agree", {"/p/a.py": str(number)})
        assert plan.handle(Ended((saved,))) == [Validate((B,), "its files changed while it was built")]
    assert plan.handle(Saved({"/p/a.py": "last"})) == []
    assert plan.handle(ended(B)) == [Validate((A,), "/p/a.py was saved")]


def test_what_was_given_up_too_late_counts():
    # The round had ended before it heard of it.
    plan = standing(A)
    plan.handle(Saved({"/p/a.py": "2"}))
    assert plan.handle(Saved({"/p/a.py": "3"})) == [Abandon()]
    assert plan.handle(Ended((judged(A, reads={"/p/a.py": "3"}),))) == []
    assert plan.fresh(A)


# -- priorities, and orders that drag on ----------------------------------------------------------------


def test_who_waits_goes_first_then_the_latest_save_then_the_rest():
    plan = standing(A, B, C)
    plan.handle(Asked((C,)))
    plan.handle(Saved({"/p/a.py": "2"}))
    plan.handle(Declared((*specs(A, B, C), TargetSpec("d.py:f"))))
    plan.handle(Asked((B,)))
    orders = plan.handle(ended(C))
    built = []
    while orders:
        (order,) = orders
        built.append((order.cohort, order.whole))
        reads = {"/p/a.py": "2"} if A in order.cohort else {}
        orders = plan.handle(Ended(tuple(Judged(entry, "agree", reads) for entry in order.cohort)))
    assert built == [((B,), True), ((A,), False), (("d.py:f",), False)]


def test_an_order_that_drags_on_stands_aside():
    plan = standing(A, B)
    (slow,) = plan.handle(Saved({"/p/a.py": "2"}))
    assert plan.handle(Saved({"/p/b.py": "2"})) == []
    (quick,) = plan.handle(Dragging(slow.number))
    assert quick == Validate((B,), "/p/b.py was saved")
    assert plan.state(A) == plan.state(B) == "building"
    edited = judged(B, reads={"/p/b.py": "2"})
    assert plan.handle(Ended((edited,), order=quick.number)) == []
    assert plan.waits([A])
    assert plan.handle(Ended((judged(A, reads={"/p/a.py": "2"}),), order=slow.number)) == []
    assert plan.idle


def test_what_drags_on_is_given_up_where_it_is_saved_again():
    plan = standing(A)
    (slow,) = plan.handle(Saved({"/p/a.py": "2"}))
    plan.handle(Dragging(slow.number))
    (order,) = plan.handle(Saved({"/p/a.py": "3"}))
    assert order == Abandon()
    assert order.order == slow.number


def test_only_so_many_orders_drag_on():
    entries = tuple(f"m{number}.py:f" for number in range(MOST_LONG + 2))
    plan = Plan()
    under_way = [plan.handle(Declared(specs(entries[0])))[0].number]
    for entry in entries[1:]:
        plan.handle(Declared(specs(entry), entry.partition(":")[0]))
        under_way += [order.number for order in plan.handle(Dragging(under_way[-1]))]
    assert len(under_way) == MOST_LONG + 1


# -- every order names the event behind it ------------------------------------------------------------


def test_orders_carry_numbers_of_their_own_and_that_of_the_event_behind_them():
    plan = Plan()
    (new,) = plan.handle(Declared(specs(A, B)))  # event 1
    assert (new.number, new.by) == (1, 1)
    assert plan.handle(Saved({"/p/b.py": "2"})) == []  # event 2, while B is built
    (saved,) = plan.handle(ended(A, B))  # event 3: B had not seen it
    assert (saved.cohort, saved.number, saved.by) == ((B,), 2, 3)
    assert plan.handle(Asked((A,))) == []  # event 4
    (asked,) = plan.handle(Ended((judged(B, reads={"/p/b.py": "2"}),)))
    assert (asked.cohort, asked.number, asked.by) == ((A,), 3, 4)


@pytest.mark.parametrize(
    "save",
    [Saved({"/p/a.py": "2"}), Saved({}, frozenset({"a.py"})), Saved({}, frozenset(), frozenset({"a.py"}))],
)
def test_a_new_target_is_given_up_when_its_file_is_saved_or_goes(save):
    plan = Plan(root="/p")
    assert plan.handle(Declared(specs(A), "a.py")) == [Validate((A,), "new")]
    assert plan.handle(Saved({"/p/other.py": "2"}, frozenset({"other.py"}))) == []
    assert plan.handle(save) == [Abandon()]
