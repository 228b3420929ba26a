"""The plan while it is found out which targets there are, and when it remembers them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plans import (
    BESIDE,
    READS,
    A,
    B,
    C,
    alone,
    discovered,
    discovering,
    ended,
    judged,
    specs,
    standing,
    states,
)

from pcvd.core.events import (
    Asked,
    Confirmed,
    Declared,
    Discover,
    Dragging,
    Ended,
    Investigate,
    Known,
    Outdated,
    Recovered,
    Saved,
    Validate,
)
from pcvd.core.model import TargetSpec
from pcvd.core.plan import Plan

# -- discovery -------------------------------------------------------------------------------------


def test_what_there_is_is_found_out_before_anything_is_built():
    plan = Plan()
    assert plan.handle(Saved({}, frozenset({"b.py", "a.py"}))) == [Discover(("a.py", "b.py"))]
    assert plan.asking == plan.sources == {"a.py", "b.py"}
    assert plan.handle(Declared(specs(C))) == []
    # Who is declared elsewhere does not wait for it, but for its own turn.
    assert [plan.waits(), plan.waits((A,)), plan.waits(("d.py:f",))] == [True, True, False]
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
    assert plan.sources == {"c.py"}
    plan.handle(Saved({"/p/c.py": None}, gone=frozenset({"c.py"})))
    assert not plan.asking | plan.sources
    assert plan.unasked(frozenset({"c.py"})) == {"c.py"}
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
    assert (plan.sources, plan.asking) == ({"a.py", "b.py"}, {"b.py"})
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


def test_a_remembered_difference_that_nobody_has_explained_is_looked_into():
    def unexplained(entry: str, number: int, **more) -> Known:
        order = Investigate((A, B, C), (entry,), number)
        return known(entry, "equivalent", fresh=True, unexplained=order, **more)

    plan = Plan()
    plan.handle(Recovered((unexplained(A, 7), unexplained(B, 7), unexplained(C, 9))))
    (first,) = plan.handle(Declared(specs(A, B, C)))
    assert first == Investigate((A, B, C), (A, B), 7)  # builds that serve both are made once
    assert (plan.puzzled((A,)), plan.waits()) == (True, False)
    assert plan.handle(Ended()) == [Investigate((A, B, C), (C,), 9)]
    assert plan.handle(Ended()) == []
    assert plan.idle
    # A whole round finds out by itself; and nobody looks where nothing is built without being asked for.
    plan = Plan()
    plan.handle(Recovered((unexplained(A, 7, partial=True),)))
    assert plan.handle(Declared(specs(A))) == [Validate((A,), "whole", whole=True, aside=True)]
    plan = Plan(eager=False)
    plan.handle(Recovered((unexplained(A, 7),)))
    assert plan.handle(Declared(specs(A))) == []


def test_an_unexplained_difference_waits_for_who_may_be_declared_yet():
    order = Investigate((A, B), (A,), 7)
    remembered = known(A, "equivalent", fresh=True, unexplained=order), known(B, fresh=True)
    for declares, then in ((B, [order]), (C, [Validate((C,), "new")])):
        plan = Plan()
        (discover,) = plan.handle(Recovered(remembered, frozenset({"b.py"}), (Declared(specs(A)),)))
        assert plan.handle(Dragging(discover.number)) == []  # B may come yet
        assert plan.puzzled()
        orders = plan.handle(Declared(specs(declares), "b.py"))
        assert orders + plan.handle(Ended(order=discover.number)) == then
    assert plan.handle(ended(C)) == []
    assert not plan.puzzled()


def test_what_was_left_to_be_done_about_a_stale_verdict_is_done_when_that_is_confirmed():
    order = Investigate((A,), (A,), 7)
    whole = Validate((A,), "whole", whole=True, aside=True)
    for more, then in (({"unexplained": order}, order), ({"partial": True}, whole)):
        plan = Plan()
        plan.handle(Recovered((known(A, "equivalent", fresh=False, **more),)))
        assert plan.handle(Declared(specs(A))) == [Validate((A,), STALE)]
        assert plan.handle(Ended(confirmed=(Confirmed(A, READS[A]),))) == [then]
        assert plan.handle(Ended()) == []
        # Judged anew, it has nothing to do with what was known.
        plan = Plan()
        plan.handle(Recovered((known(A, "equivalent", fresh=False, **more),)))
        plan.handle(Declared(specs(A)))
        assert plan.handle(ended(A)) == []


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
