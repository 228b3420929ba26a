"""The plan: exactly which orders follow from which events."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pcvd.core.aside import MOST_SOAKS
from pcvd.core.events import (
    Abandon,
    Asked,
    Bored,
    Confirmed,
    Declared,
    Discover,
    Dragging,
    Ended,
    Investigate,
    Judged,
    Known,
    Outdated,
    Recovered,
    Saved,
    Validate,
    Wondered,
)
from pcvd.core.held import MOST_TRIES
from pcvd.core.model import TargetSpec
from pcvd.core.plan import Plan
from pcvd.core.turns import MOST_TOGETHER
from pcvd.core.underway import MOST_LONG

A, B, C = "a.py:f", "b.py:f", "c.py:f"
LIB = "/p/lib.py"
READS = {entry: {f"/p/{entry[0]}.py": "1", LIB: "1"} for entry in (A, B, C)}


def specs(*entries: str, args=None) -> tuple[TargetSpec, ...]:
    return tuple(TargetSpec(entry, args) for entry in entries)


def judged(entry: str, verdict: str = "agree", reads=None) -> Judged:
    return Judged(entry, verdict, READS[entry] if reads is None else reads)


def ended(*entries: str, verdict: str = "agree", **more) -> Ended:
    return Ended(tuple(judged(entry, verdict) for entry in entries), **more)


def standing(*entries: str, verdict: str = "agree") -> Plan:
    """A plan in which those targets were declared by the settings, built together and judged."""
    plan = Plan()
    assert plan.handle(Declared(specs(*entries))) == [Validate(entries, "new")]
    assert plan.handle(ended(*entries, verdict=verdict)) == []
    assert plan.idle
    return plan


def states(plan: Plan) -> dict[str, tuple[str, bool]]:
    return {spec.entry: (plan.state(spec.entry), plan.fresh(spec.entry)) for spec in plan.targets}


# -- new and saved ---------------------------------------------------------------------------------


def test_a_plan_of_nothing_is_idle():
    plan = Plan()
    assert plan.idle
    assert plan.handle(Declared(())) == []
    assert plan.handle(Recovered(())) == []
    assert plan.handle(Saved({LIB: "2"})) == []
    assert plan.handle(Asked((A,))) == []
    assert plan.handle(Outdated("settings")) == []
    assert plan.idle
    assert plan.targets == ()


def test_new_targets_are_one_round_and_fresh_after_it():
    plan = Plan()
    assert plan.handle(Declared(specs(A, B, C))) == [Validate((A, B, C), "new")]
    assert not plan.idle
    assert states(plan) == dict.fromkeys((A, B, C), ("building", False))
    assert plan.handle(ended(A, B, C)) == []
    assert plan.idle
    assert states(plan) == dict.fromkeys((A, B, C), ("idle", True))


def test_a_save_concerns_only_who_read_the_file():
    plan = standing(A, B, C)
    assert plan.handle(Saved({"/p/b.py": "2"})) == [Validate((B,), "/p/b.py was saved")]
    assert states(plan) == {A: ("idle", True), B: ("building", False), C: ("idle", True)}
    reads = {"/p/b.py": "2", LIB: "1"}
    assert plan.handle(Ended((judged(B, reads=reads),))) == []
    assert plan.fresh(B)


def test_a_save_of_what_all_read_is_one_round_in_the_order_of_declaration():
    plan = standing(C, A, B)
    assert plan.handle(Saved({LIB: "2"})) == [Validate((C, A, B), f"{LIB} was saved")]


@pytest.mark.parametrize("changes", [{}, {"/p/b.py": "1"}, {"/p/b.py": "1", LIB: "1"}, {"/p/notes.md": "7"}])
def test_a_save_that_changed_nothing_that_was_read_costs_nothing(changes):
    plan = standing(A, B, C)
    assert plan.handle(Saved(changes)) == []
    assert states(plan) == dict.fromkeys((A, B, C), ("idle", True))


def test_a_file_that_is_gone_or_comes_is_a_change():
    plan = standing(A, B)
    assert plan.handle(Saved({"/p/b.py": None})) == [Validate((B,), "/p/b.py was saved")]
    looked_for = {"/p/b.py": None, "/p/b/__init__.py": None}
    assert plan.handle(Ended((judged(B, "inconclusive", looked_for),))) == []
    assert plan.handle(Saved({"/p/b/__init__.py": None})) == []
    assert plan.handle(Saved({"/p/b/__init__.py": "1"})) == [Validate((B,), "/p/b/__init__.py was saved")]


def test_what_a_target_no_longer_reads_no_longer_concerns_it():
    plan = standing(A)
    assert plan.handle(Saved({"/p/a.py": "2"})) == [Validate((A,), "/p/a.py was saved")]
    assert plan.handle(Ended((judged(A, reads={"/p/a.py": "2", "/p/new.py": "1"}),))) == []
    assert plan.handle(Saved({LIB: "2"})) == []
    assert plan.fresh(A)
    assert plan.handle(Saved({"/p/new.py": "2"})) == [Validate((A,), "/p/new.py was saved")]


# -- while something is under way ------------------------------------------------------------------


def test_a_save_while_it_is_built_leaves_it_stale_and_builds_it_again():
    plan = standing(A, B)
    assert plan.handle(Saved({LIB: "2"})) == [Validate((A, B), f"{LIB} was saved")]
    assert plan.handle(Saved({"/p/a.py": "3"})) == []
    built = Ended(tuple(judged(one, reads={f"/p/{one[0]}.py": "1", LIB: "2"}) for one in (A, B)))
    assert plan.handle(built) == [Validate((A,), "/p/a.py was saved")]
    assert not plan.fresh(A)
    assert plan.handle(Ended((judged(A, reads={"/p/a.py": "3", LIB: "2"}),))) == []
    assert plan.fresh(A)


def test_saves_meanwhile_are_one_round_after_it():
    plan = standing(A, B, C)
    assert plan.handle(Asked((A,))) == [Validate((A,), "asked for", whole=True)]
    assert plan.handle(Saved({"/p/c.py": "2"})) == []
    assert plan.handle(Saved({"/p/b.py": "2", "/p/c.py": "3"})) == []
    assert plan.state(B) == plan.state(C) == "queued"
    assert plan.handle(ended(A)) == [Validate((B, C), "/p/b.py was saved")]  # the latest


def test_a_save_of_what_nobody_was_known_to_read_while_the_first_build_reads_it():
    # What a first build reads is known only when it ends. A file saved after it was read, and before that is
    # told, is another one than the verdict is about.
    plan = Plan()
    assert plan.handle(Declared(specs(A))) == [Validate((A,), "new")]
    assert plan.handle(Saved({LIB: "2"})) == []
    (again,) = plan.handle(ended(A))
    assert isinstance(again, Validate)
    assert again.cohort == (A,)
    assert not plan.fresh(A)


def test_a_save_meanwhile_that_the_build_has_seen_is_no_reason_to_build_again():
    plan = Plan()
    plan.handle(Declared(specs(A)))
    assert plan.handle(Saved({LIB: "2"})) == []
    assert plan.handle(Ended((judged(A, reads={"/p/a.py": "1", LIB: "2"}),))) == []
    assert plan.fresh(A)


def test_one_save_that_is_told_twice_is_built_once():
    # Editors write, rename and set modes: the second word of it comes when the build is under way.
    plan = standing(A)
    assert plan.handle(Saved({"/p/a.py": "2"})) == [Validate((A,), "/p/a.py was saved")]
    assert plan.handle(Saved({"/p/a.py": "2"})) == []
    assert plan.handle(Ended((judged(A, reads={"/p/a.py": "2", LIB: "1"}),))) == []
    assert plan.fresh(A)


def test_while_something_is_built_any_path_may_come_to_matter():
    plan = Plan()
    assert plan.concerned(LIB) == set()
    plan.handle(Declared(specs(A)))
    assert plan.concerned(LIB) == {LIB, f"{LIB}//text"}
    assert plan.concerned("/p/data.csv") == {"/p/data.csv"}


def test_what_is_being_built_answers_who_asks():
    plan = standing(A, B)
    assert plan.handle(Asked((A,))) == [Validate((A,), "asked for", whole=True)]
    assert plan.handle(Asked((A, B))) == []
    assert plan.handle(ended(A)) == [Validate((B,), "asked for", whole=True)]
    assert plan.handle(ended(B)) == []
    assert plan.idle


def test_asking_builds_fresh_targets_and_leaves_their_verdicts_fresh_meanwhile():
    plan = standing(A, B)
    assert plan.handle(Asked((B, "no.py:such"))) == [Validate((B,), "asked for", whole=True)]
    assert states(plan) == {A: ("idle", True), B: ("building", True)}


def test_who_waits_for_what():
    plan = standing(A, B)
    assert not plan.waits((A, B))
    plan.handle(Asked((A,)))
    assert plan.waits((A,))
    assert plan.waits((A, B))
    assert not plan.waits((B, "no.py:such"))
    plan.handle(Saved({"/p/b.py": "2"}))
    assert plan.waits((B,))


def test_when_all_builds_rest_on_something_else_all_are_stale():
    plan = standing(A, B)
    assert plan.handle(Outdated("jax is another version")) == [Validate((A, B), "jax is another version")]
    assert states(plan) == dict.fromkeys((A, B), ("building", False))
    assert plan.handle(Outdated("the settings changed")) == []
    assert plan.handle(ended(A, B)) == [Validate((A, B), "the settings changed")]
    assert states(plan) == dict.fromkeys((A, B), ("building", False))


def test_an_order_that_failed_leaves_its_targets_as_they_were():
    plan = standing(A)
    plan.handle(Saved({"/p/a.py": "2"}))
    assert plan.handle(Ended()) == []
    assert plan.idle
    assert not plan.fresh(A)
    assert plan.handle(Saved({"/p/a.py": "3"})) == [Validate((A,), "/p/a.py was saved")]


# -- victims and moving targets --------------------------------------------------------------------


def test_victims_of_a_neighbour_are_built_again_without_it():
    plan = Plan()
    plan.handle(Declared(specs(A, B, C)))
    after = plan.handle(Ended((judged(B, "inconclusive"),), again=(A, C)))
    assert after == [Validate((A, C), "its round could not be finished")]
    assert states(plan) == {A: ("building", False), B: ("idle", True), C: ("building", False)}


def test_victims_with_a_standing_difference_are_not_built_with_the_culprit_again():
    # Who differed before is built with its old neighbours; with the one that just crashed it would never end.
    plan = standing(A, B, C, verdict="diverged")
    plan.handle(Saved({LIB: "2"}))
    (after,) = plan.handle(Ended((judged(C, "inconclusive"),), again=(A, B)))
    assert (after.cohort, after.why) == ((A, B), "its round could not be finished")
    assert after.owed == ((A, (C,)), (B, (C,)))  # agreement without it clears nothing


def test_files_that_change_while_they_are_built_are_tried_again_a_few_times():
    plan = Plan()
    plan.handle(Declared(specs(A, B)))
    why = "its files changed while it was built"
    assert plan.handle(ended(B, changed=(A,))) == [Validate((A,), why)]
    for _ in range(MOST_TRIES - 1):
        assert plan.handle(Ended(changed=(A,))) == [Validate((A,), why)]
    assert plan.handle(Ended(changed=(A,))) == []
    assert plan.idle
    assert states(plan) == {A: ("idle", False), B: ("idle", True)}
    # A verdict makes up for all that, and then there are as many tries as before.
    assert plan.handle(Asked((A,))) == [Validate((A,), "asked for", whole=True)]
    plan.handle(ended(A))
    plan.handle(Asked((A,)))
    assert plan.handle(Ended(changed=(A,))) == [Validate((A,), why, whole=True)]


def test_what_changed_while_it_was_built_is_stale():
    # No verdict is about the files as they are, not even the one from before.
    plan = standing(A)
    plan.handle(Asked((A,)))
    plan.handle(Ended(changed=(A,)))
    assert not plan.fresh(A)


def test_a_save_is_a_reason_of_its_own_when_tries_have_run_out():
    plan = standing(A)
    plan.handle(Asked((A,)))
    while plan.handle(Ended(changed=(A,))):
        pass
    assert plan.handle(Saved({LIB: "2"})) == [Validate((A,), f"{LIB} was saved")]


# -- cohorts ---------------------------------------------------------------------------------------


BESIDE = "it had differed beside others"


def alone(entry: str, reads) -> Ended:
    """The end of a first tier that agrees, but lacks neighbours."""
    return Ended((Judged(entry, "inconclusive", reads, provisional=True),))


@pytest.mark.parametrize("verdict", ["diverged", "unstable"])
def test_a_standing_difference_is_built_with_its_neighbours_again(verdict):
    # Built alone it may agree, since neighbours matter, and that clears nothing.
    plan = standing(A, B, C, verdict=verdict)
    by_itself = Validate((B,), "/p/b.py was saved", owed=((B, (A, C)),))
    assert plan.handle(Saved({"/p/b.py": "2"})) == [by_itself]
    assert plan.handle(alone(B, {"/p/b.py": "2"})) == [Validate((A, B, C), BESIDE, whole=True)]
    assert plan.waits([B])
    assert plan.handle(ended(A, B, C)) == []
    assert plan.handle(Saved({"/p/b.py": "3"})) == [Validate((B,), "/p/b.py was saved")]


def test_a_tolerated_difference_is_looked_for_beside_its_neighbours_when_nobody_waits():
    plan = standing(A, B, C, verdict="equivalent")
    assert plan.handle(Saved({"/p/b.py": "2"})) == [Validate((B,), "/p/b.py was saved")]
    together = Validate((A, B, C), "whole", whole=True, aside=True)
    assert plan.handle(Ended((judged(B, reads={"/p/b.py": "2"}),))) == [together]
    assert not plan.waits()
    assert plan.handle(ended(A, B, C)) == []
    assert plan.handle(Saved({"/p/b.py": "3"})) == [Validate((B,), "/p/b.py was saved")]
    assert plan.handle(Ended((judged(B, reads={"/p/b.py": "3"}),))) == []


def test_only_who_differed_brings_its_neighbours():
    plan = Plan()
    plan.handle(Declared(specs(A, B, C)))
    plan.handle(Ended((judged(A, "diverged"), judged(B), judged(C, "inconclusive"))))
    assert plan.handle(Asked((B, C))) == [Validate((B, C), "asked for", whole=True)]
    plan.handle(Ended((judged(B), judged(C))))
    assert plan.handle(Asked((A,))) == [Validate((A, B, C), "asked for", whole=True)]


def test_a_neighbour_that_waits_anyway_is_built_once():
    plan = standing(A, B, C, verdict="diverged")
    plan.handle(Saved({LIB: "2"}))
    plan.handle(ended(A, B, C, verdict="diverged"))
    assert plan.idle


def test_neighbours_that_are_no_more_are_left_out():
    plan = standing(A, B, C, verdict="diverged")
    assert plan.handle(Declared(specs(A, C))) == []
    assert plan.handle(Asked((A,))) == [Validate((A, C), "asked for", whole=True)]


def test_a_difference_stands_until_its_cohort_agrees_whatever_came_between():
    # A typing error on the way makes one verdict inconclusive; that clears nothing either.
    plan = standing(A, B, C, verdict="diverged")
    plan.handle(Saved({"/p/a.py": "broken"}))
    plan.handle(Ended((judged(A, "inconclusive", {"/p/a.py": "broken"}),)))
    by_itself = Validate((A,), "/p/a.py was saved", owed=((A, (B, C)),))
    assert plan.handle(Saved({"/p/a.py": "mended"})) == [by_itself]
    assert plan.handle(alone(A, {"/p/a.py": "mended"})) == [Validate((A, B, C), BESIDE, whole=True)]


def test_what_differs_without_its_neighbours_waits_for_nobody():
    plan = standing(A, B, verdict="diverged")
    plan.handle(Saved({"/p/b.py": "2"}))
    whole = Validate((A, B), "whole", whole=True, aside=True)
    assert plan.handle(Ended((judged(B, "diverged", {"/p/b.py": "2"}),))) == [whole]


def test_what_cannot_be_built_is_not_built_with_its_neighbours():
    plan = standing(A, B, verdict="diverged")
    plan.handle(Saved({"/p/b.py": "broken"}))
    plan.handle(Ended((judged(B, "inconclusive", {"/p/b.py": "broken"}),)))
    assert not plan.waits()


MANY = tuple(f"m.py:f{n:02}" for n in range(2 * MOST_TOGETHER))


def test_many_targets_are_split_into_rounds():
    plan = Plan()
    entries = (*MANY, "m.py:last")
    rounds = plan.handle(Declared(specs(*entries)))
    while not plan.idle:
        (order,) = rounds[-1:]
        rounds += plan.handle(Ended(tuple(Judged(entry, "agree", {}) for entry in order.cohort)))
    cohorts = [order.cohort for order in rounds]
    assert cohorts == [MANY[:MOST_TOGETHER], MANY[MOST_TOGETHER:], ("m.py:last",)]


def test_not_even_standing_differences_make_a_round_larger():
    plan = Plan()
    orders = plan.handle(Declared(specs(*MANY)))
    for _ in range(2):
        orders = plan.handle(Ended(tuple(Judged(entry, "diverged", {}) for entry in orders[0].cohort)))
    # One of each half: their old cohorts are too many for one round.
    orders = plan.handle(Asked((MANY[0], MANY[-1])))
    built: list[tuple[str, ...]] = []
    while orders:
        built.append(orders[0].cohort)
        orders = plan.handle(Ended(tuple(Judged(entry, "agree", {}) for entry in orders[0].cohort)))
    assert built == [MANY[:MOST_TOGETHER], MANY[MOST_TOGETHER:]]


# -- declarations ----------------------------------------------------------------------------------


def test_what_is_declared_no_more_is_forgotten():
    plan = standing(A, B)
    assert plan.handle(Declared(specs(B))) == []
    assert not plan.exists(A)
    assert plan.exists(B)
    assert plan.handle(Saved({"/p/a.py": "2", LIB: "2"})) == [Validate((B,), f"{LIB} was saved")]
    assert plan.handle(Asked((A,))) == []


def test_what_waited_and_is_gone_is_not_built():
    plan = standing(A, B)
    plan.handle(Asked((A,)))
    plan.handle(Saved({"/p/b.py": "2"}))
    plan.handle(Declared(specs(A)))
    assert plan.handle(ended(A)) == []
    assert plan.idle


def test_what_goes_while_it_is_built_leaves_no_trace():
    plan = standing(A, B)
    plan.handle(Saved({LIB: "2"}))
    plan.handle(Saved({LIB: "3"}))
    plan.handle(Declared(specs(A)))
    assert plan.handle(Ended((judged(A), judged(B)), changed=(B,))) == [Validate((A,), f"{LIB} was saved")]
    assert [spec.entry for spec in plan.targets] == [A]


def test_what_goes_and_comes_back_while_it_is_built_is_new():
    plan = standing(A)
    plan.handle(Asked((A,)))
    plan.handle(Declared(()))
    assert plan.handle(Declared(specs(A))) == []
    assert plan.handle(ended(A)) == [Validate((A,), "new")]
    assert not plan.fresh(A)


def test_the_same_declaration_again_costs_nothing():
    plan = standing(A, B)
    assert plan.handle(Declared(specs(A, B))) == []
    assert states(plan) == dict.fromkeys((A, B), ("idle", True))


def test_other_arguments_are_another_target():
    plan = standing(A, B)
    why = "its arguments are declared otherwise"
    assert plan.handle(Declared((*specs(A, args=("f32[2]",)), *specs(B)))) == [Validate((A,), why)]
    assert plan.spec(A).args == ("f32[2]",)
    assert not plan.fresh(A)
    assert plan.handle(Declared((*specs(A, args=("f32[3]",)), *specs(B)))) == []
    assert plan.handle(ended(A)) == [Validate((A,), why)]
    assert not plan.fresh(A)


# -- discovery -------------------------------------------------------------------------------------


def discovered(file: str, *entries: str, helpers: tuple[str, ...] = (), broken: bool = False) -> Declared:
    return Declared(specs(*entries), file, frozenset({f"/p/{file}", *helpers}), broken=broken)


def discovering(file: str, *entries: str, helpers: tuple[str, ...] = ()) -> Plan:
    """A plan in which that model file declares those targets, all judged."""
    plan = Plan()
    assert plan.handle(Saved({}, frozenset({file}))) == [Discover((file,))]
    plan.handle(discovered(file, *entries, helpers=helpers))
    plan.handle(Ended())
    plan.handle(ended(*entries))
    assert plan.idle
    return plan


def test_what_there_is_is_found_out_before_anything_is_built():
    plan = Plan()
    assert plan.handle(Saved({}, frozenset({"b.py", "a.py"}))) == [Discover(("a.py", "b.py"))]
    assert plan.discovering
    assert plan.waits(())
    assert plan.handle(Declared(specs(C))) == []
    assert plan.handle(discovered("a.py", A)) == []
    assert plan.handle(discovered("b.py")) == []
    assert plan.handle(Ended()) == [Validate((C, A), "new")]
    assert not plan.discovering
    assert plan.sources == {"a.py", "b.py"}


def test_what_is_known_to_be_stale_goes_before_discovery_and_what_is_new_after_it():
    plan = standing(A, B)
    plan.handle(Asked((A,)))
    assert plan.handle(Saved({"/p/b.py": "2"}, frozenset({"c.py"}))) == []
    assert plan.discovering
    assert plan.handle(ended(A)) == [Validate((B,), "/p/b.py was saved")]
    assert plan.discovering
    assert plan.handle(Ended((judged(B, reads={"/p/b.py": "2"}),))) == [Discover(("c.py",))]
    assert plan.handle(discovered("c.py", C)) == []
    assert plan.handle(Ended()) == [Validate((C,), "new")]


@pytest.mark.parametrize("path", ["/p/c.py", "/p/helper.py"])
def test_a_file_is_asked_again_when_what_it_depends_on_changes(path):
    plan = discovering("c.py", C, helpers=("/p/helper.py",))
    orders = plan.handle(Saved({path: "2"}))
    if path == "/p/c.py":  # which its target has read, too
        orders = plan.handle(Ended((judged(C, reads={path: "2"}),)))
    assert orders == [Discover(("c.py",))]


def test_a_save_while_a_file_is_asked_asks_it_again():
    plan = discovering("c.py", C)
    assert plan.handle(Saved({}, frozenset({"c.py"}))) == [Discover(("c.py",))]
    assert plan.handle(Saved({}, frozenset({"c.py"}))) == []
    plan.handle(discovered("c.py", C))
    assert plan.handle(Ended()) == [Discover(("c.py",))]


def test_a_save_that_changes_no_declaration_builds_only_who_read_it():
    plan = discovering("c.py", C)
    assert plan.handle(Saved({"/p/c.py": "1"})) == [Discover(("c.py",))]
    assert plan.handle(discovered("c.py", C)) == []
    assert plan.handle(Ended()) == []
    assert plan.fresh(C)


def test_a_file_that_cannot_be_imported_keeps_what_it_declared():
    plan = discovering("c.py", C)
    # It is built, so that its verdict tells what is wrong.
    broken = {"/p/c.py": "broken"}
    assert plan.handle(Saved(broken, frozenset({"c.py"}))) == [Validate((C,), "/p/c.py was saved")]
    assert plan.handle(Ended((judged(C, "inconclusive", broken),))) == [Discover(("c.py",))]
    assert plan.handle(discovered("c.py", broken=True)) == []
    assert plan.handle(Ended()) == []
    assert plan.exists(C)


def test_a_broken_file_is_asked_again_when_something_was_installed():
    plan = Plan()
    plan.handle(Saved({}, frozenset({"m.py"})))
    plan.handle(Declared((), "m.py", frozenset({"/p/m.py"}), broken=True))
    assert plan.handle(Ended()) == []
    assert plan.sound == frozenset()
    assert plan.handle(Outdated("the installed packages changed")) == [Discover(("m.py",))]
    plan.handle(Declared(specs("m.py:f"), "m.py", frozenset({"/p/m.py"})))
    assert plan.sound == {"m.py"}
    plan.handle(Ended())
    plan.handle(Ended((judged("m.py:f", reads={"/p/m.py": "1"}),)))
    assert plan.handle(Outdated("the installed packages changed")) == [
        Validate(("m.py:f",), "the installed packages changed")
    ]


def test_a_broken_files_helpers_are_watched_too():
    plan = discovering("c.py", C)
    plan.handle(Saved({"/p/c.py": "broken"}, frozenset({"c.py"})))
    plan.handle(Ended((judged(C, "inconclusive"),)))
    plan.handle(discovered("c.py", helpers=("/p/helper.py",), broken=True))
    plan.handle(Ended())
    assert plan.handle(Saved({"/p/helper.py": "2"})) == [Discover(("c.py",))]


def test_a_decorator_that_is_gone_takes_its_target_along():
    plan = discovering("c.py", C)
    plan.handle(Saved({"/p/c.py": "2"}, frozenset({"c.py"})))
    assert plan.handle(Ended((judged(C, "inconclusive", {"/p/c.py": "2"}),))) == [Discover(("c.py",))]
    plan.handle(discovered("c.py"))
    assert plan.handle(Ended()) == []
    assert plan.targets == ()


def test_a_model_file_that_is_gone_takes_its_targets_along():
    plan = discovering("c.py", C)
    assert plan.handle(Saved({"/p/c.py": None}, gone=frozenset({"c.py"}))) == []
    assert plan.targets == ()
    assert plan.sources == frozenset()
    assert plan.idle


def test_a_model_file_that_is_gone_is_not_asked_any_more():
    plan = discovering("c.py", C)
    plan.handle(Asked((C,)))
    plan.handle(Saved({"/p/c.py": "2"}, frozenset({"c.py"})))
    plan.handle(Saved({"/p/c.py": None}, gone=frozenset({"c.py"})))
    assert plan.handle(ended(C)) == []
    assert plan.idle


def test_what_a_file_declared_before_it_went_is_no_more():
    # The discovery has read it, the file goes, and only then its declarations are told.
    plan = Plan()
    plan.handle(Saved({}, frozenset({"c.py"})))
    plan.handle(Saved({"/p/c.py": None}, gone=frozenset({"c.py"})))
    plan.handle(discovered("c.py", C))
    assert plan.handle(Ended()) == []
    assert plan.targets == ()
    assert plan.sources == frozenset()


def test_a_discovery_that_drags_on_does_not_hide_what_a_later_one_finds():
    # The file went and came back while the first one was under way: only what that one found is of before.
    plan = Plan()
    (slow,) = plan.handle(Saved({}, frozenset({"c.py"})))
    plan.handle(Dragging(slow.number))
    plan.handle(Saved({"/p/c.py": None}, gone=frozenset({"c.py"})))
    (later,) = plan.handle(Saved({"/p/c.py": "2"}, frozenset({"c.py"})))
    plan.handle(replace(discovered("c.py", C), order=later.number))
    assert plan.handle(Ended(order=later.number)) == [Validate((C,), "new")]
    plan.handle(replace(discovered("c.py", A), order=slow.number))
    assert plan.targets == specs(C)
    # And what went again went, whoever is still under way.
    plan.handle(Saved({"/p/c.py": None}, gone=frozenset({"c.py"})))
    assert plan.targets == ()


def test_a_helper_saved_while_a_file_is_asked_asks_it_again():
    plan = Plan()
    plan.handle(Saved({}, frozenset({"c.py"})))
    plan.handle(Saved({"/p/helper.py": "2"}))
    plan.handle(discovered("c.py", C, helpers=("/p/helper.py",)))
    assert plan.handle(Ended()) == [Discover(("c.py",))]


def test_what_the_settings_name_outlives_its_model_file():
    plan = discovering("c.py", C)
    plan.handle(Declared(specs(C)))
    assert plan.handle(Saved({"/p/c.py": None}, gone=frozenset({"c.py"}))) == [
        Validate((C,), "/p/c.py was saved")
    ]


ARGS = ("f32[2]",)


@pytest.mark.parametrize("first", ["settings", "decorator"])
def test_settings_go_before_decorators(first):
    plan = Plan()
    plan.handle(Saved({}, frozenset({"c.py"})))
    declarations = [Declared(specs(C, args=ARGS)), discovered("c.py", C)]
    for event in declarations if first == "settings" else reversed(declarations):
        plan.handle(event)
    assert plan.handle(Ended()) == [Validate((C,), "new")]
    assert plan.spec(C).args == ARGS
    plan.handle(ended(C))
    # Nor does a decorator that goes take along what the settings name.
    plan.handle(discovered("c.py"))
    assert plan.exists(C)
    assert plan.handle(Declared(())) == []
    assert not plan.exists(C)


def test_settings_that_name_a_known_target_otherwise_have_it_built():
    plan = discovering("c.py", C)
    assert plan.handle(Declared(specs(C))) == []  # the same arguments
    why = "its arguments are declared otherwise"
    assert plan.handle(Declared(specs(C, args=ARGS))) == [Validate((C,), why)]
    plan.handle(ended(C))
    assert plan.handle(discovered("c.py", C)) == []
    assert plan.spec(C).args == ARGS


# -- recovery --------------------------------------------------------------------------------------


STALE = "m.py changed since it was judged"


def known(entry: str, verdict: str = "agree", *, fresh: bool, cohort=(), **more) -> Known:
    differed = () if verdict == "agree" else cohort
    return Known(TargetSpec(entry), verdict, differed, READS[entry], None if fresh else STALE, **more)


def test_what_is_remembered_and_fresh_is_not_built():
    plan = Plan()
    plan.handle(Recovered((known(A, fresh=True), known(B, fresh=False), known(C, fresh=True))))
    assert plan.targets == ()  # remembered is not declared
    assert plan.handle(Declared(specs(A, B))) == [Validate((B,), "m.py changed since it was judged")]
    assert states(plan) == {A: ("idle", True), B: ("building", False)}
    plan.handle(ended(B))
    assert plan.handle(Saved({"/p/a.py": "2"})) == [Validate((A,), "/p/a.py was saved")]


def test_what_is_saved_before_its_target_is_declared_again_is_not_fresh():
    # `pcvctl start`, then an edit at once: the discovery is still under way.
    plan = Plan()
    remembered = known(A, fresh=True), known(B, fresh=True)
    discover = plan.handle(Recovered(remembered, frozenset({"a.py", "b.py"})))
    assert discover == [Discover(("a.py", "b.py"))]
    assert "/p/a.py" in plan.concerned("/p/a.py")
    plan.handle(Saved({"/p/a.py": "2"}))
    plan.handle(Declared(specs(A), "a.py", frozenset({"/p/a.py"})))
    plan.handle(Declared(specs(B), "b.py", frozenset({"/p/b.py"})))
    plan.handle(Ended())
    assert plan.fresh(B)
    assert not plan.fresh(A)
    assert plan.state(A) == "queued"


def test_a_file_of_which_it_is_known_what_it_declares_is_not_asked():
    plan = Plan()
    declared = Declared(specs(A), "a.py", frozenset({"/p/a.py", "/p/shapes.py"}))
    event = Recovered((known(A, fresh=True), known(B, fresh=True)), frozenset({"a.py", "b.py"}), (declared,))
    (discover,) = plan.handle(event)
    assert discover == Discover(("b.py",))
    assert (states(plan), plan.surveyed) == ({A: ("idle", True)}, False)
    assert plan.sources == {"a.py"}
    # Where all is known, nobody has to be asked.
    plan = Plan()
    assert plan.handle(Recovered((known(A, fresh=True),), frozenset({"a.py"}), (declared,))) == []
    assert plan.surveyed
    assert plan.idle
    assert plan.handle(Saved({"/p/shapes.py": "2"})) == [Discover(("a.py",))]


def test_a_remembered_difference_is_built_with_its_neighbours():
    plan = Plan()
    diverged = known(A, "diverged", fresh=False, cohort=(C, A), grave=True)
    plan.handle(Recovered((diverged, *(known(one, fresh=True) for one in (B, C)))))
    assert plan.handle(Declared(specs(A, B, C))) == [Validate((A,), STALE, owed=((A, (C,)),))]
    assert plan.handle(alone(A, READS[A])) == [Validate((A, C), BESIDE, whole=True)]


def test_a_remembered_verdict_of_few_schedules_is_strengthened():
    plan = Plan()
    plan.handle(Recovered((known(A, fresh=True, partial=True), known(B, fresh=True))))
    assert plan.handle(Declared(specs(A, B))) == [Validate((A,), "whole", whole=True, aside=True)]


def test_a_verdict_is_remembered_once():
    # A target that goes and comes back has gone through unwatched times.
    plan = Plan()
    plan.handle(Recovered((known(A, fresh=True),)))
    assert plan.handle(Declared(specs(A))) == []
    plan.handle(Declared(()))
    assert plan.handle(Declared(specs(A))) == [Validate((A,), "new")]


def test_what_the_settings_declare_has_the_last_word_over_what_a_file_is_known_to_declare():
    plan = Plan()
    stands = replace(known(A, fresh=True), spec=TargetSpec(A, ("f32[8]",)))
    settings = Declared(specs(A, args=("f32[8]",)))
    file = Declared(specs(A, B), "a.py", frozenset({"/p/a.py"}))
    assert plan.handle(Recovered((stands, known(B, fresh=True)), frozenset({"a.py"}), (settings, file))) == []
    assert states(plan) == {A: ("idle", True), B: ("idle", True)}
    assert plan.spec(A).args == ("f32[8]",)


# -- which paths matter ----------------------------------------------------------------------------


def test_paths_that_were_read_and_folders_above_them_are_of_concern():
    plan = Plan()
    plan.handle(Declared(specs(A)))
    reads = {"/p/m/a.py": "1", "/p/m/deep/b.py": "1", "/p/mm/c.py": "1", "/p/m/absent.py": None}
    plan.handle(Ended((judged(A, reads=reads),)))
    assert plan.concerned("/p/m/a.py") == {"/p/m/a.py"}
    assert plan.concerned("/p/m/absent.py") == {"/p/m/absent.py"}
    assert plan.concerned("/p/m") == {"/p/m/a.py", "/p/m/deep/b.py", "/p/m/absent.py"}
    assert plan.concerned("/p/m/") == plan.concerned("/p/m")
    assert plan.concerned("/p/m/deep") == {"/p/m/deep/b.py"}
    for nothing in ("/p/m/a.pyc", "/p/m/a.py/x", "/p/n", "/p/m/deep/b"):
        assert plan.concerned(nothing) == set()


def test_what_a_discovery_read_is_of_concern():
    plan = discovering("c.py", C, helpers=("/p/lib/helper.py",))
    assert plan.concerned("/p/lib/helper.py") == {"/p/lib/helper.py"}
    assert plan.concerned("/p/lib") == {"/p/lib/helper.py"}  # a folder that is renamed or removed


def test_what_nobody_reads_any_more_is_of_no_concern():
    plan = standing(A, B)
    plan.handle(Declared(specs(A)))
    assert plan.concerned("/p/b.py") == set()
    assert plan.concerned(LIB) == {LIB}
    assert plan.concerned("/p") == {"/p/a.py", LIB}


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
