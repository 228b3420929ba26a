"""The board: what it lists, what it counts, and what it amounts to, as a plan goes on."""

from __future__ import annotations

import json

import pytest

from pcvctl.exits import exit_code
from pcvd.board import Board
from pcvd.core.events import Declared, Discover, Ended, Judged, Known, Outdated, Recovered, Saved
from pcvd.core.model import Judgement, Problem, TargetSpec
from pcvd.core.plan import Plan
from pcvd.store import RoundRecord
from pcvd.store import Standing as Remembered
from pcvd.store.codec import said

WHEN = "2026-01-01T00:00:00Z"
COMPARED = {"rounds": 1, "schedules": {"serial": {}, "threads:2": {}}}


def judgement(entry, verdict="agree", evidence=COMPARED):
    return Judgement(entry, verdict, evidence=evidence)


def record(*judgements):
    entries = tuple(one.target for one in judgements)
    return RoundRecord(WHEN, WHEN, "new", entries, {"jax": "0.10.2"}, (), judgements, {})


class Scene:
    """A plan and a board, as a service has them."""

    def __init__(self, *entries):
        self.plan, self.board = Plan(), Board("/p")
        self.handle(Declared(tuple(TargetSpec(entry) for entry in entries)))

    def handle(self, event):
        for order in self.plan.handle(event):
            assert not isinstance(order, Discover)
            self.order = order

    def judge(self, **verdicts):
        """Every target of the order under way is judged; all agree but those that are named."""
        found = [judgement(entry, verdicts.get(entry[2:], "agree")) for entry in self.order.cohort]
        self.board.put(record(*found))
        reads = {entry: {f"/p/{entry}": "1"} for entry in self.order.cohort}
        self.handle(Ended(tuple(Judged(one.target, one.verdict, reads[one.target]) for one in found)))

    def status(self, *entries):
        return self.board.status(self.plan, ready=True, entries=entries)

    def brief(self, most):
        return self.board.brief(self.plan, most, ready=True)

    def told(self):
        return {one["target"]: (one["verdict"], one["fresh"], one["state"]) for one in listed(self.status())}


def listed(status):
    return status.plain()["targets"]


def test_targets_are_told_as_they_come_and_are_judged():
    scene = Scene("m:a", "m:b")
    assert scene.told() == dict.fromkeys(("m:a", "m:b"), ("inconclusive", False, "building"))
    scene.judge(b="diverged")
    assert scene.told() == {"m:a": ("agree", True, "idle"), "m:b": ("diverged", True, "idle")}
    scene.handle(Saved({"/p/m:a": "2"}))
    assert scene.told() == {"m:a": ("agree", False, "building"), "m:b": ("diverged", True, "idle")}
    scene.handle(Declared((TargetSpec("m:b"),)))
    assert scene.told() == {"m:b": ("diverged", True, "idle")}


def test_a_target_that_comes_back_is_what_it_was_but_stale():
    scene = Scene("m:a")
    scene.judge()
    scene.handle(Declared(()))
    assert scene.told() == {}
    scene.handle(Declared((TargetSpec("m:a"),)))
    assert scene.told() == {"m:a": ("agree", False, "building")}


def test_targets_keep_their_order_and_can_be_asked_for_one_by_one():
    scene = Scene("m:c", "m:a", "m:b")
    scene.judge(a="unstable")
    assert [one["target"] for one in listed(scene.status())] == ["m:c", "m:a", "m:b"]
    assert [one["target"] for one in listed(scene.status("m:b", "m:a"))] == ["m:b", "m:a"]
    assert scene.status().exit_code == 1
    assert scene.status("m:b").exit_code == 0


def test_what_is_encoded_is_what_is_told():
    scene = Scene("m:a", "m:b")
    scene.judge(b="equivalent")
    status = scene.status()  # once: of two, each tells its own uptime
    assert json.loads(status.encoded()) == status.plain()
    assert status.plain()["summary"]["equivalent"] == 1


@pytest.mark.parametrize("about", ["settings", "watch"])
def test_doubt_leaves_nothing_fresh(about):
    scene = Scene("m:a")
    scene.judge()
    assert scene.status().exit_code == 0
    scene.board.problem(about, Problem("no"))
    assert scene.told() == {"m:a": ("agree", False, "idle")}
    assert (scene.status().plain()["summary"]["stale"], scene.status().exit_code) == (1, 3)
    scene.board.problem(about)
    assert scene.status().exit_code == 0


def test_the_exit_code_is_what_the_document_amounts_to():
    scene = Scene("m:a", "m:b")
    for verdicts in ({}, {"a": "diverged"}, {"b": "inconclusive"}, {"a": "equivalent"}, {"b": "unstable"}):
        scene.handle(Outdated("again"))
        for status in (scene.status(), scene.brief(1)):
            assert status.exit_code == exit_code(scene.status().plain())
        scene.judge(**verdicts)
        for status in (scene.status(), scene.brief(1)):
            assert status.exit_code == exit_code(scene.status().plain())


def test_while_a_model_file_is_to_be_asked_nobody_knows_whether_all_agree():
    scene = Scene("m.py:a")
    scene.judge()
    (discover,) = scene.plan.handle(Saved({}, frozenset({"new.py"})))
    assert discover == Discover(("new.py",))
    for status in (scene.status(), scene.brief(1), scene.status("new.py:b", "m.py:a")):
        assert (status.head["asking"], status.exit_code) == (["new.py"], 3)
        assert exit_code(status.plain()) == 3
    # What it declares is no question to a target of another file.
    assert (scene.status("m.py:a").head["asking"], scene.status("m.py:a").exit_code) == ([], 0)
    scene.handle(Declared((), "new.py", frozenset({"/p/new.py"})))
    scene.handle(Ended())
    assert (scene.status().head["asking"], scene.status().exit_code) == ([], 0)


def test_what_is_wrong_with_other_files_is_no_matter_to_who_is_asked_for():
    scene = Scene("m.py:a", "n.py:b")
    scene.judge()
    scene.board.problem("n.py", Problem("it can't be imported", file="n.py"))
    assert [scene.status(*asked).exit_code for asked in ((), ("n.py:b",), ("m.py:a",))] == [3, 3, 0]
    assert scene.status("m.py:a").plain()["problems"] == []
    scene.board.problem("store", Problem("full"))
    assert (len(scene.status("m.py:a").plain()["problems"]), scene.status("m.py:a").exit_code) == (1, 3)


def test_before_it_is_known_what_there_is_a_target_of_a_known_file_stands_already():
    board, plan = Board("/p"), Plan()
    reads = {"/p/m.py": "1"}
    known = Known(TargetSpec("m.py:a"), "agree", (), reads, None)
    told = Declared((TargetSpec("m.py:a"),), "m.py", frozenset(reads))
    board.put(record(judgement("m.py:a")))
    plan.handle(Recovered((known,), frozenset({"m.py", "n.py"}), (told,)))
    assert not plan.surveyed
    assert board.status(plan, ready=True).exit_code == 3
    assert board.status(plan, ready=True, entries=["m.py:a"]).exit_code == 0
    # One that may be declared yet is waited for; there is nothing known of it.
    awaited = board.status(plan, ready=True, entries=["n.py:b"])
    (one,) = listed(awaited)
    assert (one["target"], one["verdict"], one["reason"]) == ("n.py:b", "inconclusive", "not checked yet")
    assert (awaited.head["asking"], awaited.exit_code) == (["n.py"], 3)


def test_of_many_targets_those_are_listed_that_there_is_something_to_say_of():
    scene = Scene(*(f"m:{number}" for number in range(30)))
    scene.judge(**{"3": "equivalent", "7": "diverged", "9": "inconclusive"})
    brief = scene.brief(5)
    assert [one["target"] for one in listed(brief)] == ["m:7", "m:9", "m:3"]  # what is grave goes first
    assert (brief.unlisted, brief.unshown) == (27, 0)
    assert brief.plain()["summary"] == scene.status().plain()["summary"]
    shorter = scene.brief(2)
    assert [one["target"] for one in listed(shorter)] == ["m:7", "m:9"]
    assert (shorter.unlisted, shorter.unshown) == (27, 1)
    assert len(listed(scene.brief(30))) == 30


def test_a_judgement_that_knows_more_keeps_its_date():
    scene = Scene("m:a")
    scene.judge(a="diverged")
    scene.board.amend(judgement("m:a", "diverged", {**COMPARED, "variations": []}))
    (told,) = listed(scene.status())
    assert told["checked_at"] == WHEN
    assert "variations" in told["evidence"]


def test_what_was_stored_is_told_as_what_was_found():
    found = judgement("a.py:f", "diverged", {"rounds": 3, "schedules": {"serial": {}, "threads:2": {}}})
    stored = Remembered(
        TargetSpec("a.py:f"), "diverged", said(found), found.schedules, WHEN, (), "environment", ("a.py:f",)
    )
    put, recalled = Scene("a.py:f"), Scene("a.py:f")
    put.board.put(record(found))
    recalled.board.recall(recalled.board.notes([stored]))
    assert listed(recalled.status()) == listed(put.status())
    assert recalled.told() == put.told()
