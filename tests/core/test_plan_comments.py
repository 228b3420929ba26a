"""The plan where a save changes nothing but comments: verdicts stand at once, and are confirmed later."""

from __future__ import annotations

import pytest

from pcvd.core.events import (
    Abandon,
    Asked,
    Confirmed,
    Declared,
    Discover,
    Dragging,
    Ended,
    Judged,
    Saved,
    Validate,
)
from pcvd.core.held import MOST_TRIES
from pcvd.core.model import TargetSpec
from pcvd.core.plan import Plan

A, B = "a.py:f", "b.py:f"
OWN, LIB = "/p/a.py", "/p/lib.py"
WHY = "only its comments or its layout were changed"
CONFIRMATION = Validate((A,), WHY, aside=True)


def reads(entry: str, version: str = "1") -> dict[str, str]:
    return {f"/p/{entry[0]}.py": version, LIB: "1"}


def comment(path: str = OWN, before: str = "1", after: str = "2", **more) -> Saved:
    return Saved({path: after}, cosmetic={path: before}, **more)


def specs(*entries: str) -> tuple[TargetSpec, ...]:
    return tuple(TargetSpec(entry) for entry in entries)


@pytest.fixture
def plan() -> Plan:
    """Two targets that the settings declare, judged."""
    plan = Plan(root="/p")
    assert plan.handle(Declared(specs(A, B))) == [Validate((A, B), "new")]
    assert plan.handle(Ended(tuple(Judged(entry, "agree", reads(entry)) for entry in (A, B)))) == []
    assert plan.idle
    return plan


def test_a_comment_leaves_the_verdict_fresh_and_has_it_confirmed(plan):
    assert plan.handle(comment()) == [CONFIRMATION]
    assert plan.fresh(A)
    assert plan.state(A) == "idle"
    assert not plan.waits()
    assert plan.believes()
    assert plan.believes([A])
    assert not plan.believes([B])
    assert not plan.unfinished()
    assert plan.news() >= {A}
    assert plan.handle(Ended(confirmed=(Confirmed(A, reads(A, "2")),))) == []
    assert not plan.believes()
    assert plan.idle
    assert plan.fresh(A)


def test_a_comment_in_what_both_import_is_one_confirmation(plan):
    assert plan.handle(comment(LIB)) == [Validate((A, B), WHY, aside=True)]


def test_what_depends_on_its_comments_after_all_is_judged(plan):
    plan.handle(comment())
    order = plan.handle(Ended((Judged(A, "diverged", reads(A, "2"), puzzling=True),)))
    assert plan.fresh(A)
    assert [type(one).__name__ for one in order] == ["Investigate"]


def test_a_verdict_on_something_else_is_not_saved_by_a_comment(plan):
    assert plan.handle(comment(before="0")) == [Validate((A,), "a.py was saved")]
    assert not plan.fresh(A)


def test_a_comment_beside_an_edit_is_an_edit(plan):
    orders = plan.handle(Saved({OWN: "2", LIB: "2"}, cosmetic={OWN: "1"}))
    assert orders == [Validate((A, B), "lib.py was saved")]
    assert not plan.fresh(A)


def test_who_reads_the_text_is_not_content_with_the_code(plan):
    plan.handle(Saved({OWN: "2"}))
    plan.handle(Ended((Judged(A, "agree", reads(A, "2") | {f"{OWN}//text": "2"}),)))
    assert plan.concerned(OWN) == {OWN, f"{OWN}//text"}
    changes = {OWN: "3", f"{OWN}//text": "3"}
    assert plan.handle(Saved(changes, cosmetic={OWN: "2"})) == [Validate((A,), "a.py was saved")]
    assert not plan.fresh(A)


def test_a_target_that_is_being_built_is_built_again(plan):
    plan.handle(Saved({OWN: "2"}))
    (again,) = plan.handle(comment(before="2", after="3"))
    assert again == Abandon()
    assert plan.handle(Ended(failed=True, order=2)) == [Validate((A,), "a.py was saved")]


def test_comment_upon_comment_is_confirmed_once(plan):
    plan.handle(comment())
    assert plan.handle(comment(before="2", after="3")) == [Abandon()]
    assert plan.handle(Ended(failed=True, order=2)) == [CONFIRMATION]
    assert plan.handle(Ended(confirmed=(Confirmed(A, reads(A, "3")),))) == []
    assert plan.fresh(A)


def test_comments_all_the_time_starve_nobody(plan):
    plan.handle(comment())
    for number in range(MOST_TRIES):
        assert plan.handle(comment(before=str(2 + number), after=str(3 + number))) == [Abandon()]
        assert plan.handle(Ended(failed=True, order=2 + number)) == [CONFIRMATION]
    assert plan.handle(comment(before=str(2 + MOST_TRIES), after="last")) == []
    # What has been built is not what is there: it is stale, and judged.
    again = plan.handle(Ended(changed=(A,)))
    assert [(type(one), one.cohort, one.aside) for one in again] == [(Validate, (A,), False)]
    assert not plan.fresh(A)


def test_an_investigation_gives_way_to_a_comment(plan):
    plan.handle(Saved({OWN: "2"}))
    (puzzle,) = plan.handle(Ended((Judged(A, "diverged", reads(A, "2"), puzzling=True),)))
    assert plan.handle(comment(before="2", after="3")) == [Abandon()]
    assert plan.handle(Ended(failed=True, order=3)) == [CONFIRMATION]
    assert plan.handle(Ended(confirmed=(Confirmed(A, reads(A, "3")),))) == [puzzle]


def test_what_is_being_judged_anyway_is_confirmed_by_that(plan):
    plan.handle(comment())
    assert plan.handle(Asked((A,))) == [Abandon()]
    assert plan.handle(Ended(failed=True, order=2)) == [Validate((A,), "asked for", whole=True)]
    assert plan.handle(Dragging(3)) == []
    assert plan.believes([A])
    assert plan.handle(Ended((Judged(A, "agree", reads(A, "2")),), order=3)) == []
    assert not plan.believes([A])


def test_an_edit_goes_before_the_confirmation(plan):
    plan.handle(comment())
    assert plan.handle(Saved({"/p/b.py": "2"})) == [Abandon()]
    assert plan.handle(Ended(failed=True, order=2)) == [Validate((B,), "b.py was saved")]
    assert plan.fresh(A)
    assert plan.handle(Ended((Judged(B, "agree", reads(B, "2")),))) == [CONFIRMATION]


def test_what_is_edited_after_the_comment_is_judged_and_not_confirmed(plan):
    plan.handle(comment())
    plan.handle(Saved({OWN: "3"}))
    assert not plan.fresh(A)
    assert plan.handle(Ended(failed=True, order=2)) == [Validate((A,), "a.py was saved")]
    assert plan.handle(Ended((Judged(A, "agree", reads(A, "3")),))) == []


def test_a_round_that_strengthens_gives_way_to_a_comment(plan):
    plan.handle(Saved({OWN: "2"}))
    whole = Validate((A,), "whole", whole=True, aside=True)
    assert plan.handle(Ended((Judged(A, "agree", reads(A, "2"), partial=True),))) == [whole]
    assert plan.handle(comment(before="2", after="3")) == [Abandon()]
    assert plan.handle(Ended(failed=True, order=3)) == [CONFIRMATION]
    assert plan.handle(Ended(confirmed=(Confirmed(A, reads(A, "3")),))) == [whole]
    assert plan.fresh(A)


def test_what_could_not_be_confirmed_is_stale(plan):
    plan.handle(comment())
    assert plan.handle(Ended(failed=True)) == []
    assert not plan.fresh(A)
    assert plan.handle(Asked((A,))) == [Validate((A,), "asked for", whole=True)]


def test_what_is_declared_no_more_is_not_confirmed(plan):
    plan.handle(Asked((B,)))
    assert plan.handle(comment()) == []
    plan.handle(Declared(specs(B)))
    assert plan.handle(Ended((Judged(B, "agree", reads(B)),))) == []


# -- declarations ------------------------------------------------------------------------------------


@pytest.fixture
def decorated() -> Plan:
    """One target that its model file declares, judged."""
    plan = Plan(root="/p")
    assert plan.handle(Saved({}, frozenset({"a.py"}))) == [Discover(("a.py",))]
    assert plan.handle(Declared(specs(A), "a.py", frozenset({OWN}))) == []
    assert plan.handle(Ended()) == [Validate((A,), "new")]
    assert plan.handle(Ended((Judged(A, "agree", reads(A)),))) == []
    return plan


AGAIN = Discover(("a.py",), aside=True)


def commented(plan: Plan) -> list:
    """What follows when the verdict over a commented model file has been confirmed."""
    assert plan.handle(comment(declaring=frozenset({"a.py"}))) == [CONFIRMATION]
    return plan.handle(Ended(confirmed=(Confirmed(A, reads(A, "2")),)))


def test_a_commented_model_file_is_asked_for_its_lines_when_nobody_waits(decorated):
    assert commented(decorated) == [AGAIN]
    assert not decorated.waits()
    assert not decorated.discovering
    assert not decorated.believes()
    assert decorated.handle(Declared((TargetSpec(A, line=8),), "a.py", frozenset({OWN}))) == []
    assert decorated.spec(A).line == 8
    assert decorated.handle(Ended()) == []
    assert decorated.idle


def test_asking_for_lines_gives_way_and_is_begun_again(decorated):
    assert commented(decorated) == [AGAIN]
    assert decorated.handle(Asked((A,))) == [Abandon()]
    assert decorated.handle(Ended(failed=True, order=4)) == [Validate((A,), "asked for", whole=True)]
    assert decorated.handle(Ended((Judged(A, "agree", reads(A, "2")),))) == [AGAIN]
    assert decorated.handle(Ended()) == []


def test_a_file_that_goes_is_not_asked_for_its_lines(decorated):
    decorated.handle(Asked((A,)))
    decorated.handle(comment(declaring=frozenset({"a.py"})))
    decorated.handle(Saved({OWN: None}, gone=frozenset({"a.py"})))
    assert decorated.handle(Ended((Judged(A, "agree", reads(A)),))) == []
    assert decorated.idle


def test_a_file_that_goes_while_it_is_asked_for_its_lines_is_not_asked_again(decorated):
    assert commented(decorated) == [AGAIN]
    saved = Saved({OWN: None}, frozenset({"b.py"}), frozenset({"a.py"}))
    assert decorated.handle(saved) == [Abandon()]
    assert decorated.handle(Ended(failed=True, order=4)) == [Discover(("b.py",))]
    assert decorated.handle(Ended()) == []
    assert decorated.idle


def test_lines_that_could_not_be_asked_for_are_asked_for_with_what_comes_next(decorated):
    assert commented(decorated) == [AGAIN]
    assert decorated.handle(Ended(failed=True)) == []
    assert decorated.handle(Asked(())) == [Discover(("a.py",))]


def test_a_helper_of_a_declaration_may_be_commented(decorated):
    decorated.handle(Saved({LIB: "2"}, frozenset({"a.py"})))
    decorated.handle(Ended((Judged(A, "agree", {OWN: "1", LIB: "2"}),)))
    decorated.handle(Declared(specs(A), "a.py", frozenset({OWN, LIB})))
    decorated.handle(Ended())
    assert decorated.idle
    assert decorated.handle(comment(LIB, "2", "3")) == [CONFIRMATION]


def test_a_comment_in_what_a_model_file_imports_has_that_file_asked_again_for_its_lines():
    plan = Plan(root="/p")
    plan.handle(Saved({}, frozenset({"a.py"})))
    plan.handle(Declared(specs(A), "a.py", frozenset({OWN, LIB})))
    plan.handle(Ended())
    plan.handle(Ended((Judged(A, "agree", {OWN: "1"}),)))
    assert plan.idle
    assert plan.handle(comment(LIB)) == [Discover(("a.py",), aside=True)]
