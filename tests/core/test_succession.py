"""What a verdict takes over from an earlier one, and what it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pcvd.core.model import Failure, Judgement
from pcvd.core.succession import (
    accumulate,
    amended,
    confirmed,
    doubted,
    inherit,
    puzzling,
    settle,
    soaked,
    strengthened,
)

FOUND = {"kind": "order", "evidence": [{"variation": "order"}]}
OPEN = {"kind": "schedule", "text": "not looked into"}


def judgement(verdict="diverged", key="k", cause=OPEN, serial="s", **evidence):
    return Judgement(
        "m.py:f",
        verdict,
        differing=() if verdict == "agree" else ("llvm",),
        stages={"llvm": {"serial": serial, "threads:2": "t"}},
        evidence={"source_key": key, **evidence},
        cause=None if verdict == "agree" else cause,
    )


def test_agreement_clears_nothing_without_the_neighbours_it_differed_beside():
    assert settle(judgement("agree"), ()).verdict == "agree"
    kept = settle(judgement("agree"), ("n.py:g",))
    assert kept.verdict == "inconclusive"
    assert "beside n.py:g" in kept.reason
    assert settle(judgement("diverged"), ("n.py:g",)).verdict == "diverged"


@pytest.mark.parametrize(
    ("cause", "expected"), [(OPEN, True), (FOUND, False), ({"kind": "run"}, False), (None, False)]
)
def test_a_difference_puzzles_until_its_cause_was_looked_for(cause, expected):
    assert puzzling(replace(judgement(), cause=cause)) is expected


def test_a_cause_is_taken_over_for_the_same_sources_that_differ_alike():
    assert inherit(judgement(), judgement(cause=FOUND)).cause == FOUND


@pytest.mark.parametrize(
    "earlier",
    [
        judgement(key="other", cause=FOUND),
        judgement("equivalent", cause=FOUND),
        judgement(serial="another", cause=FOUND),
        judgement(cause=OPEN),
        replace(judgement(cause=FOUND), differing=("object",)),
        replace(judgement(cause=FOUND), evidence={}),
    ],
)
def test_otherwise_it_is_looked_for_again(earlier):
    assert inherit(judgement(), earlier).cause == OPEN


def test_rounds_over_the_same_sources_add_up_whatever_they_find():
    first = accumulate(judgement("agree"), None)
    second = accumulate(judgement("agree"), first)
    assert [one.evidence["rounds"] for one in (first, second)] == [1, 2]
    assert second.evidence["agreed"] == 2
    third = accumulate(judgement("diverged"), second)
    fourth = accumulate(judgement("agree"), third)
    assert [(one.evidence["rounds"], one.evidence["agreed"]) for one in (third, fourth)] == [(3, 2), (4, 3)]
    assert accumulate(judgement("agree", key="edited"), second).evidence["rounds"] == 1


def test_what_could_not_be_compared_is_no_round_among_others():
    agreed = accumulate(judgement("agree"), None)
    unknown = accumulate(judgement("inconclusive"), agreed)
    assert unknown.evidence["rounds"] == 1
    assert accumulate(judgement("agree"), unknown).evidence["rounds"] == 1


def test_a_soak_counts_and_keeps_what_was_worse():
    standing = accumulate(judgement("agree"), None)
    for _ in range(46):
        standing = soaked(standing, judgement("agree"))
    worse = soaked(standing, judgement("diverged"))
    assert (worse.verdict, worse.evidence["rounds"], worse.evidence["agreed"]) == ("diverged", 48, 47)
    later = soaked(worse, judgement("agree"))
    assert (later.verdict, later.evidence["rounds"], later.evidence["agreed"]) == ("diverged", 49, 48)
    assert later.cause == worse.cause


def test_what_once_did_not_reproduce_itself_is_not_blamed_on_concurrency_later():
    assert soaked(judgement("unstable"), judgement("diverged")).verdict == "unstable"
    assert soaked(judgement("diverged"), judgement("unstable")).verdict == "unstable"


def test_what_is_tolerated_counts_as_agreement():
    assert accumulate(judgement("equivalent"), None).evidence["agreed"] == 1
    assert accumulate(judgement("unstable"), None).evidence["agreed"] == 0


def test_what_could_not_be_compared_is_no_evidence_to_a_soak():
    assert soaked(judgement("agree"), judgement("inconclusive")) is None
    assert soaked(judgement("agree"), judgement("agree", key="edited")) is None


def test_a_soak_says_nothing_against_what_is_inconclusive():
    assert soaked(judgement("inconclusive"), judgement("agree")) is None


@pytest.mark.parametrize("key", ["k", "other"])
def test_a_whole_round_that_cannot_build_a_target_unsettles_agreement_and_nothing_else(key):
    broken = replace(judgement("inconclusive", key=key, cause=None), failure=Failure("crash", "it died"))
    missed = replace(broken, failure=None)
    assert strengthened(judgement("agree"), broken).failure == broken.failure
    assert strengthened(judgement("equivalent"), broken).verdict == "inconclusive"
    # A crash is an outcome, and hides no divergence; what was never compared is no evidence at all.
    assert strengthened(judgement("diverged"), broken) is None
    assert strengthened(judgement("unstable"), broken) is None
    assert strengthened(judgement("agree"), missed) is None
    assert strengthened(missed, broken).failure == broken.failure


def test_a_whole_round_that_finds_something_graver_replaces_what_stood():
    agree, diverged = judgement("agree"), judgement("diverged")
    assert strengthened(agree, diverged).verdict == "diverged"
    assert strengthened(diverged, agree).verdict == "diverged"
    assert strengthened(diverged, judgement("agree", key="other")).verdict == "agree"


def test_a_confirmed_verdict_names_the_schedules_under_which_that_is_still_to_be_seen():
    seen = confirmed(judgement("agree"), "new", ["threads:4"])
    assert seen.evidence == {"source_key": "new", "untraced": ["threads:4"]}
    assert confirmed(seen, "commented").evidence == {"source_key": "commented", "untraced": ["threads:4"]}
    assert confirmed(seen, "newer", ["threads:4", "processes:2"]).evidence["untraced"] == [
        "threads:4",
        "processes:2",
    ]
    assert confirmed(seen, "new", []).evidence == {"source_key": "new"}


@pytest.mark.parametrize("found", ["agree", "diverged"])
def test_a_whole_round_has_seen_every_schedule(found):
    standing = confirmed(judgement("diverged", rounds=1, agreed=0), "k", ["threads:4"])
    assert "untraced" not in strengthened(standing, judgement(found)).evidence


def test_agreement_after_another_program_was_seen_is_told_with_it():
    standing = doubted(confirmed(judgement("agree", rounds=1, agreed=1), "k", ["threads:4"]), "new")
    assert standing.evidence["untraced"] == ["threads:4"]
    after = accumulate(judgement("agree", key="new"), standing)
    assert (after.evidence["rounds"], after.evidence["agreed"]) == (3, 2)
    assert doubted(judgement("diverged"), "new").evidence["agreed"] == 0
    assert doubted(judgement("agree"), "new").evidence["rounds"] == 2


def test_what_is_found_out_late_leaves_a_confirmation_as_it_is():
    before = judgement("diverged", rounds=1)
    latest = confirmed(before, "new", ["threads:4"])
    found = amended(latest, replace(before, cause=FOUND, evidence=before.evidence | {"variations": []}))
    assert found.cause == FOUND
    assert found.evidence == latest.evidence | {"variations": []}
    assert "untraced" not in amended(before, replace(latest, cause=FOUND)).evidence
