"""The plan when nobody waits: differences looked into, evidence gathered, verdicts strengthened."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plans import BESIDE, LIB, A, B, C, alone, ended, judged, specs, standing, states

from pcvd.core.aside import MOST_SOAKS
from pcvd.core.events import (
    Abandon,
    Asked,
    Bored,
    Confirmed,
    Declared,
    Dragging,
    Ended,
    Investigate,
    Judged,
    Known,
    Outdated,
    Recovered,
    Retrace,
    Saved,
    Validate,
    Wondered,
)
from pcvd.core.plan import Plan
from pcvd.core.turns import MOST_TOGETHER

# -- differences are looked into, and evidence gathered, when nobody waits ---------------------------


def puzzled(*entries: str, number: int = 7) -> Plan:
    """A plan whose targets were built together and differ, nobody knows through what."""
    plan = Plan()
    plan.handle(Declared(specs(*entries)))
    found = tuple(replace(judged(entry, "diverged"), puzzling=True) for entry in entries)
    assert plan.handle(Ended(found, round=number)) == [Investigate(entries, entries, number)]
    return plan


def test_a_difference_is_looked_into_after_its_round():
    plan = puzzled(A, B)
    assert not plan.waits()
    assert plan.puzzled()
    assert plan.puzzled([A])
    assert not plan.puzzled([C])
    assert states(plan) == dict.fromkeys((A, B), ("idle", True))
    assert plan.handle(Ended()) == []
    assert plan.idle
    assert not plan.puzzled()


def test_only_those_that_differ_are_looked_into_beside_all_that_were_built():
    plan = Plan()
    plan.handle(Declared(specs(A, B)))
    found = (judged(A), replace(judged(B, "equivalent"), puzzling=True))
    assert plan.handle(Ended(found, round=3)) == [Investigate((A, B), (B,), 3)]


def test_a_save_has_an_investigation_abandoned_and_its_results_are_looked_for_again():
    plan = puzzled(A, B)
    assert plan.handle(Saved({"/p/b.py": "2"})) == [Abandon()]
    assert plan.handle(Saved({"/p/b.py": "3"})) == []
    by_itself = Validate((B,), "/p/b.py was saved", owed=((B, (A,)),))
    assert plan.handle(Ended(failed=True)) == [by_itself]
    assert plan.handle(alone(B, {"/p/b.py": "3"})) == [Validate((A, B), BESIDE, whole=True)]
    assert plan.handle(ended(A, B)) == [Investigate((A, B), (A, B), 7)]


def test_what_is_stale_or_gone_is_not_looked_into():
    plan = puzzled(A, B)
    plan.handle(Saved({LIB: "2"}))
    plan.handle(Ended(failed=True))
    plan.handle(Saved({LIB: "3"}))
    assert plan.handle(ended(A, B, verdict="diverged")) == [Validate((A, B), f"{LIB} was saved")]
    plan.handle(Declared(()))
    assert plan.handle(Ended()) == []
    assert plan.idle


def test_an_investigation_that_could_not_be_carried_out_is_not_begun_again():
    plan = puzzled(A)
    assert plan.handle(Ended(failed=True)) == []
    assert plan.idle


def test_somebody_may_wonder_what_a_variation_changes():
    plan = standing(A, B)
    assert plan.handle(Wondered((B,), ("affinity",))) == [Investigate((A, B), (B,), None, ("affinity",))]
    assert plan.puzzled([B])
    assert plan.handle(Wondered(("x.py:gone",), ("affinity",))) == []


def test_boredom_gathers_evidence_of_what_is_fresh():
    plan = standing(A, B)
    (order,) = plan.handle(Bored())
    assert order == Validate((A, B), "soak", soak=1, whole=True)
    assert states(plan) == dict.fromkeys((A, B), ("idle", True))
    assert not plan.waits()
    assert plan.handle(Bored()) == []
    assert plan.handle(ended(A, B)) == []
    assert plan.handle(Bored()) == [Validate((A, B), "soak", soak=2, whole=True)]


def test_a_save_goes_before_gathering_evidence():
    plan = standing(A, B)
    plan.handle(Bored())
    assert plan.handle(Saved({"/p/a.py": "2"})) == [Abandon()]
    assert plan.handle(Ended(failed=True)) == [Validate((A,), "/p/a.py was saved")]


def test_there_is_an_end_to_gathering_evidence_until_something_is_judged_again():
    plan = standing(A)
    for _ in range(MOST_SOAKS):
        assert plan.handle(Bored()) != []
        plan.handle(Ended())
    assert plan.handle(Bored()) == []
    plan.handle(Asked((A,)))
    plan.handle(ended(A))
    assert plan.handle(Bored()) == [Validate((A,), "soak", soak=1, whole=True)]


@pytest.mark.parametrize("plan", [Plan(), standing(A, verdict="inconclusive")], ids=["empty", "inconclusive"])
def test_what_cannot_be_compared_is_no_place_to_gather_evidence(plan):
    assert plan.handle(Bored()) == []


def test_many_targets_take_turns():
    entries = tuple(f"m.py:f{number:02d}" for number in range(MOST_TOGETHER + 3))
    plan = Plan()
    orders = plan.handle(Declared(specs(*entries)))
    while orders:
        orders = plan.handle(Ended(tuple(Judged(entry, "agree", {}) for entry in orders[0].cohort)))
    cohorts = []
    for _ in range(3):
        cohorts += [order.cohort for order in plan.handle(Bored())]
        plan.handle(Ended())
    assert cohorts == [entries[:MOST_TOGETHER], entries[MOST_TOGETHER:], entries[:MOST_TOGETHER]]


# -- two tiers ---------------------------------------------------------------------------------------


def partly(*entries: str, verdict: str = "agree") -> Ended:
    """The end of a first tier."""
    return Ended(tuple(replace(judged(entry, verdict), partial=True) for entry in entries))


def test_a_first_verdict_stands_and_is_strengthened_when_nobody_waits():
    plan = Plan()
    plan.handle(Declared(specs(A, B)))
    assert plan.handle(partly(A, B)) == [Validate((A, B), "whole", whole=True, aside=True)]
    assert states(plan) == dict.fromkeys((A, B), ("idle", True))
    assert not plan.waits()
    assert plan.unfinished([B])
    assert not plan.idle
    assert plan.handle(ended(A, B)) == []
    assert not plan.unfinished()
    assert plan.idle


def test_a_difference_is_looked_into_before_verdicts_are_strengthened():
    plan = Plan()
    plan.handle(Declared(specs(A)))
    found = replace(judged(A, "diverged"), puzzling=True, partial=True)
    assert plan.handle(Ended((found,), round=3)) == [Investigate((A,), (A,), 3)]
    assert plan.handle(Ended()) == [Validate((A,), "whole", whole=True, aside=True)]


def test_a_save_goes_before_strengthening_which_is_begun_again_after_it():
    plan = Plan()
    plan.handle(Declared(specs(A, B)))
    plan.handle(partly(A, B))
    assert plan.handle(Saved({"/p/a.py": "2"})) == [Abandon()]
    assert plan.handle(Ended(failed=True)) == [Validate((A,), "/p/a.py was saved")]
    edited = Judged(A, "agree", {"/p/a.py": "2"}, partial=True)
    assert plan.handle(Ended((edited,))) == [Validate((A, B), "whole", whole=True, aside=True)]


def test_a_verdict_that_is_confirmed_is_fresh_and_keeps_what_it_still_wants():
    plan = Plan()
    plan.handle(Declared(specs(A, B)))
    plan.handle(partly(A, B))
    plan.handle(Saved({"/p/a.py": "2"}))
    plan.handle(Ended(failed=True))
    confirmed = Ended(confirmed=(Confirmed(A, {"/p/a.py": "2"}),))
    assert plan.handle(confirmed) == [Validate((A, B), "whole", whole=True, aside=True)]
    assert plan.fresh(A)
    assert plan.handle(ended(A, B)) == []


def confirmed(*entries: str, digest: str = "2") -> Ended:
    """The end of a first tier in which their programs were those that a verdict under more schedules stands
    on.
    """
    return Ended(
        confirmed=tuple(Confirmed(one, {f"/p/{one[0]}.py": digest}, partial=True) for one in entries)
    )


def retracing(*entries: str) -> Plan:
    """A plan in which targets were confirmed after a save, and are being traced."""
    plan = standing(*entries)
    plan.handle(Saved({f"/p/{entry[0]}.py": "2" for entry in entries}))
    assert plan.handle(confirmed(*entries)) == [Retrace(entries)]
    return plan


def test_what_is_confirmed_is_traced_under_the_remaining_schedules_when_nobody_waits():
    plan = retracing(A, B)
    assert states(plan) == dict.fromkeys((A, B), ("idle", True))
    assert not plan.waits()
    assert plan.unfinished([B])
    seen = tuple(Confirmed(entry, {f"/p/{entry[0]}.py": "2"}) for entry in (A, B))
    assert plan.handle(Ended(confirmed=seen)) == []
    assert plan.idle
    assert not plan.unfinished()


def test_what_another_schedule_traces_otherwise_a_whole_round_judges():
    plan = retracing(A, B)
    seen = (Confirmed(B, {"/p/b.py": "2"}),)
    doubted = Ended(confirmed=seen, doubted=(A,))
    why = "other schedules did not make the program of it that was confirmed"
    assert plan.handle(doubted) == [Validate((A,), why, whole=True)]
    assert states(plan) == {A: ("building", False), B: ("idle", True)}
    assert plan.handle(ended(A, verdict="diverged")) == []
    assert plan.idle


def test_what_was_traced_before_everything_changed_confirms_nothing():
    for event, stale in (
        (Outdated("jax is another version"), "jax is another version"),
        (Declared(specs(A, args=("f32[3]",))), "its arguments are declared otherwise"),
    ):
        plan = retracing(A)
        assert plan.handle(event) == [Abandon()]
        seen = Ended(confirmed=(Confirmed(A, {"/p/a.py": "2"}),))  # it had ended, but was not told of yet
        assert plan.handle(seen) == [Validate((A,), stale)]
        assert not plan.fresh(A)


def test_tracing_gives_way_and_is_begun_again():
    plan = retracing(A, B)
    assert plan.handle(Saved({"/p/b.py": "3"})) == [Abandon()]
    assert plan.handle(Ended(failed=True)) == [Validate((B,), "/p/b.py was saved", owed=())]
    assert plan.handle(confirmed(B, digest="3")) == [Retrace((A, B))]


def test_who_is_built_whole_need_not_be_traced():
    plan = retracing(A)
    assert plan.handle(Asked((A,))) == [Abandon()]
    assert plan.handle(Ended(failed=True)) == [Validate((A,), "asked for", whole=True)]
    assert plan.handle(Ended((Judged(A, "agree", {"/p/a.py": "2"}),))) == []
    assert plan.idle


def test_what_was_saved_while_it_was_traced_is_built_again():
    plan = retracing(A)
    changed = Ended(changed=(A,))
    assert plan.handle(changed) == [Validate((A,), "its files changed while it was built")]
    assert not plan.fresh(A)


def test_tracing_that_could_not_be_carried_out_is_begun_again_when_something_else_could():
    plan = retracing(A, B)
    assert plan.handle(Ended(failed=True)) == []
    assert plan.idle
    assert plan.handle(Saved({"/p/b.py": "3"})) == [Validate((B,), "/p/b.py was saved")]
    assert plan.handle(Ended(failed=True)) == []
    assert plan.handle(Saved({"/p/b.py": "4"})) == [Validate((B,), "/p/b.py was saved")]
    assert plan.handle(ended(B)) == [Retrace((A,))]


def test_a_whole_round_that_could_not_be_held_is_held_when_something_else_could():
    plan = Plan()
    plan.handle(Declared(specs(A, B)))
    assert plan.handle(partly(A, B)) == [Validate((A, B), "whole", whole=True, aside=True)]
    assert plan.handle(Ended(failed=True)) == []
    plan.handle(Saved({"/p/b.py": "2"}))
    partial = replace(judged(B), partial=True)
    assert plan.handle(Ended((partial,))) == [Validate((A, B), "whole", whole=True, aside=True)]


def test_what_an_earlier_life_had_not_traced_is_traced():
    plan = Plan()
    known = Known(*specs(A), "agree", (), {"/p/a.py": "1"}, None, untraced=True)
    assert plan.handle(Recovered((known,), declared=(Declared(specs(A)),))) == [Retrace((A,))]
    stale = replace(known, stale="/p/a.py changed")
    plan = Plan()
    (order,) = plan.handle(Recovered((stale,), declared=(Declared(specs(A)),)))
    assert order == Validate((A,), "/p/a.py changed")
    assert plan.handle(Ended(confirmed=(Confirmed(A, {"/p/a.py": "2"}),))) == [Retrace((A,))]


def test_what_is_asked_for_is_built_whole_even_where_it_is_just_built_quickly():
    plan = standing(A)
    plan.handle(Saved({"/p/a.py": "2"}))
    assert plan.handle(Asked((A,))) == []
    quickly = Ended((Judged(A, "agree", {"/p/a.py": "2"}, partial=True),))
    assert plan.handle(quickly) == [Validate((A,), "asked for", whole=True)]
    assert plan.handle(ended(A)) == []
    assert plan.idle


def strengthening() -> tuple[Plan, int]:
    """A plan in which a whole round strengthens the verdict of A, for nobody who waits; and its number."""
    plan = Plan()
    plan.handle(Declared(specs(A)))
    (order,) = plan.handle(partly(A))
    return plan, order.number


def test_what_was_strengthened_before_a_save_is_stale_after_it():
    # It had ended, but was not told of yet, when the save gave it up.
    plan, whole = strengthening()
    assert plan.handle(Saved({"/p/a.py": "2"})) == [Abandon()]
    assert plan.handle(replace(ended(A), order=whole)) == [Validate((A,), "/p/a.py was saved")]
    assert not plan.fresh(A)


def test_what_was_strengthened_under_other_arguments_is_stale():
    plan, whole = strengthening()
    assert plan.handle(Declared(specs(A, args=("f32[3]",)))) == [Abandon()]
    assert plan.handle(replace(ended(A), order=whole)) == [
        Validate((A,), "its arguments are declared otherwise")
    ]
    assert not plan.fresh(A)


def test_who_could_not_be_strengthened_through_a_neighbour_is_strengthened_without_it():
    plan = Plan()
    plan.handle(Declared(specs(A, B, C)))
    assert plan.handle(partly(A, B, C)) == [Validate((A, B, C), "whole", whole=True, aside=True)]
    (after,) = plan.handle(Ended((judged(B, "inconclusive"),), again=(A, C)))
    assert after == Validate((A, C), "whole", whole=True, aside=True)
    assert states(plan) == {A: ("idle", True), B: ("idle", True), C: ("idle", True)}
    assert plan.unfinished((A,))
    # One that breaks its round by itself is not tried for ever.
    (after,) = plan.handle(Ended((), again=(A, C)))
    assert after.cohort == (A, C)
    assert plan.handle(Ended((), again=(A,))) == [Validate((A,), "whole", whole=True, aside=True)]
    assert plan.handle(Ended((), again=(A,))) == []
    assert plan.idle


def test_strengthening_that_failed_outdates_nothing_that_was_judged_meanwhile():
    plan, whole = strengthening()
    plan.handle(Dragging(whole))
    (order,) = plan.handle(Outdated("jax is another version"))
    plan.handle(replace(ended(A), order=order.number))
    plan.handle(Ended(failed=True, order=whole))
    assert plan.fresh(A)


def test_an_order_without_a_verdict_leaves_nothing_to_strengthen():
    plan = Plan()
    plan.handle(Declared(specs(A)))
    plan.handle(partly(A))
    plan.handle(Saved({"/p/a.py": "2"}))
    plan.handle(Ended(failed=True))
    assert plan.handle(Ended(failed=True)) == []  # no worker could be had
    assert plan.idle
    assert not plan.fresh(A)
