"""The status document: what it says of a target, and its sums."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvd.core.builds import STAGES, Artifact, Build, Part, Run
from pcvd.core.compare import judge
from pcvd.core.evidence import Facts
from pcvd.core.model import Failure, Judgement, Problem, digest
from pcvd.core.status import SCHEMA, VERDICTS, Daemon, Standing, Tally, head, target, unchecked

DAEMON = Daemon(4711, "idle", "0.1.0", 1.5, "/run/user/1000/pcv/0123.sock")
STANDINGS = st.builds(
    Standing,
    verdict=st.sampled_from(VERDICTS),
    fresh=st.booleans(),
    state=st.sampled_from(["idle", "queued", "building"]),
    compared=st.booleans(),
)


def standing(verdict: str = "agree", *, fresh=True, state="idle", compared=True) -> Standing:
    return Standing(verdict, fresh, state, compared)


def test_the_head_of_an_empty_project():
    told = head("/p", DAEMON, Tally().summary(), (), {"threads:2": 1.9, "control": None}, {"jax": "0.10.2"})
    assert told == {
        "schema": SCHEMA,
        "root": "/p",
        "daemon": {"pid": 4711, "state": "idle", "version": "0.1.0", "uptime_s": 1.5,
                   "socket": "/run/user/1000/pcv/0123.sock"},
        "summary": {
            "targets": 0, "agree": 0, "equivalent": 0, "diverged": 0, "unstable": 0, "inconclusive": 0,
            "stale": 0,
        },
        "problems": [],
        "asking": [],
        "speed": {"threads:2": 1.9, "control": None},
        "environment": {"jax": "0.10.2"},
    }  # fmt: skip


def test_the_schema_is_the_first():
    # Fields may be added under one schema; whoever changes or drops one must count it up.
    assert SCHEMA == 1


def test_a_target_has_all_fields_whatever_its_verdict():
    named = {
        "target", "verdict", "reason", "first_stage", "differing", "stages", "output", "evidence", "cause",
        "failure", "kernels",
    }  # fmt: skip
    for verdict, more in (("agree", {}), ("inconclusive", {"failure": Failure("trace", "no")})):
        told = target(Judgement("m.py:f", verdict, **more))
        assert set(told) >= named
        assert set(told["evidence"]) >= {"rounds", "schedules"}


def test_a_target_that_was_never_judged_is_inconclusive():
    told = target(unchecked("m.py:f"))
    assert (told["verdict"], told["reason"]) == ("inconclusive", "not checked yet")
    assert told["evidence"] == {"rounds": 0, "schedules": {}}


def test_rounds_are_those_that_the_standing_verdict_counts():
    evidence = {"rounds": 7, "agreed": 6, "cohort": 2, "schedules": {"serial": {}}}
    assert target(Judgement("m.py:f", "agree", evidence=evidence))["evidence"] == evidence
    assert evidence == {"rounds": 7, "agreed": 6, "cohort": 2, "schedules": {"serial": {}}}


def test_a_failure_is_shown_with_where_and_what_to_do():
    failure = Failure("trace", "TypeError: no", "m.py", 12, hint="mend it", trace="Traceback")
    told = target(Judgement("m.py:f", "inconclusive", failure=failure))
    assert told["failure"] == {
        "kind": "trace", "message": "TypeError: no", "file": "m.py", "line": 12, "hint": "mend it",
        "trace": "Traceback",
    }  # fmt: skip


def test_problems_are_told_beside_the_targets():
    problems = [Problem("no such key", "pcv.toml", 3, "did you mean watch?"), Problem("no JAX")]
    assert head("/p", DAEMON, {}, problems, {}, {})["problems"] == [
        {"message": "no such key", "file": "pcv.toml", "line": 3, "hint": "did you mean watch?"},
        {"message": "no JAX", "file": None, "line": None, "hint": None},
    ]


def test_a_real_judgement_makes_plain_values():
    def build(copy: int, salt: str) -> Build:
        parts = [Part("main", digest(salt.encode()), digest(salt.encode()), 1)]
        artifacts = tuple(Artifact.of(stage, parts) for stage in STAGES)
        return Build("m.py:f", copy, 1, "main", 0, 1, 10, "inputs", artifacts, None, True, 1)

    def run(schedule: str, *builds: Build) -> Run:
        return Run(schedule, ("m.py:f",), builds, "zygote", 1, (0, 1), ({"jax": "0.10.2"},))

    judgement = judge(
        "m.py:f",
        [run("serial", build(0, "a")), run("threads:2", build(0, "a"), build(1, "b"))],
        Facts((), {}, {}),
    )
    told = target(judgement)
    # Tuples among them would come back as lists: what is printed would not be what is stored.
    assert json.loads(json.dumps(told)) == told
    assert (told["verdict"], told["first_stage"]) == ("diverged", "jaxpr")
    assert told["differing"] == list(STAGES)
    assert set(told["stages"]) == set(STAGES)
    assert told["evidence"]["schedules"]["threads:2"]["peak_in_flight"] == 2


# -- sums --------------------------------------------------------------------------------------------


def test_the_summary_counts_every_target_once_and_stale_ones_besides():
    standings = [
        standing(), standing(fresh=False), standing("equivalent"), standing("diverged", fresh=False),
        standing("diverged"), standing("unstable"), standing("inconclusive"),
        standing("inconclusive", fresh=False),
    ]  # fmt: skip
    assert Tally(standings).summary() == {
        "targets": 8, "agree": 2, "equivalent": 1, "diverged": 2, "unstable": 1, "inconclusive": 2,
        "stale": 3,
    }  # fmt: skip
    assert Tally(standings).summary(doubted=True)["stale"] == 8


@pytest.mark.parametrize(
    ("standings", "differs", "agrees"),
    [
        ([], False, False),
        ([standing()], False, True),
        ([standing(), standing("equivalent", state="queued")], False, True),
        ([standing(), standing("diverged", fresh=False)], True, False),
        ([standing("unstable")], True, False),
        ([standing(), standing("inconclusive")], False, False),
        ([standing(), standing(fresh=False)], False, False),
        ([standing(compared=False)], False, False),
    ],
)
def test_what_targets_amount_to(standings, differs, agrees):
    assert Tally(standings).amounts_to(known=True) == (differs, agrees)
    assert Tally(standings).amounts_to(known=False) == (differs, False)


@given(st.lists(STANDINGS, max_size=12), st.data())
def test_counting_as_it_changes_is_counting_anew(standings, data):
    tally = Tally()
    held = []
    for one in standings:
        tally.count(one, 1)
        held.append(one)
        if data.draw(st.booleans(), label="one goes"):
            gone = held.pop(data.draw(st.integers(0, len(held) - 1)))
            tally.count(gone, -1)
    anew = Tally(held)
    for doubted, known in itertools.product((False, True), repeat=2):
        assert tally.summary(doubted=doubted) == anew.summary(doubted=doubted)
        assert tally.amounts_to(known=known) == anew.amounts_to(known=known)
