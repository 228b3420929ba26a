"""The plan: exactly which orders follow from which events, of targets that are declared, saved and built."""

from __future__ import annotations

import pytest
from plans import BESIDE, LIB, A, B, C, alone, discovering, ended, judged, specs, standing, states

from pcvd.core.events import (
    Asked,
    Declared,
    Ended,
    Judged,
    Outdated,
    Recovered,
    Saved,
    Validate,
)
from pcvd.core.held import MOST_TRIES
from pcvd.core.plan import Plan
from pcvd.core.turns import MOST_TOGETHER

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
