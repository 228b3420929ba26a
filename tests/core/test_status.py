"""The status document: its shape, what it says of targets that were never judged, and its sums."""

from __future__ import annotations

import json

import pytest

from pcvd.core.compare import judge
from pcvd.core.evidence import Facts
from pcvd.core.model import STAGES, Artifact, Build, Failure, Judgement, Part, Problem, Run, digest
from pcvd.core.status import SCHEMA, Daemon, Row, document

DAEMON = Daemon(4711, "idle", "0.1.0", 1.5, "/run/user/1000/pcv/0123.sock")
WHEN = "2026-01-01T00:00:00Z"


def row(entry: str = "m.py:f", verdict: str | None = "agree", *, fresh: bool = True, **more) -> Row:
    made = None if verdict is None else Judgement(entry, verdict, **more)
    return Row(entry, made, None if verdict is None else WHEN, fresh, "idle")


def status(*rows: Row, problems=()) -> dict:
    return document("/p", DAEMON, rows, problems, {"threads:2": 1.9, "control": None}, {"jax": "0.10.2"})


def test_the_document_of_an_empty_project():
    assert status() == {
        "schema": SCHEMA,
        "root": "/p",
        "daemon": {"pid": 4711, "state": "idle", "version": "0.1.0", "uptime_s": 1.5,
                   "socket": "/run/user/1000/pcv/0123.sock"},
        "summary": {
            "targets": 0, "agree": 0, "equivalent": 0, "diverged": 0, "unstable": 0, "inconclusive": 0,
            "stale": 0,
        },
        "targets": [],
        "problems": [],
        "speed": {"threads:2": 1.9, "control": None},
        "environment": {"jax": "0.10.2"},
    }  # fmt: skip


def test_the_schema_is_the_first():
    # Fields may be added under one schema; whoever changes or drops one must count it up.
    assert SCHEMA == 1


def test_a_target_has_all_fields_whatever_its_verdict():
    named = {
        "target", "verdict", "fresh", "state", "reason", "first_stage", "differing", "stages", "output",
        "evidence", "cause", "failure", "checked_at",
    }  # fmt: skip
    for one in (row(), row(verdict=None), row(verdict="inconclusive", failure=Failure("trace", "no"))):
        (target,) = status(one)["targets"]
        assert set(target) >= named
        assert set(target["evidence"]) >= {"rounds", "schedules"}


def test_a_target_that_was_never_judged_is_inconclusive_and_stale():
    # Even where the plan calls it fresh: nothing unknown is ever shown as an answer.
    (target,) = status(row(verdict=None))["targets"]
    assert (target["verdict"], target["fresh"], target["reason"]) == (
        "inconclusive",
        False,
        "not checked yet",
    )
    assert target["checked_at"] is None
    assert target["evidence"] == {"rounds": 0, "schedules": {}}
    assert status(row(verdict=None))["summary"] == {
        "targets": 1, "agree": 0, "equivalent": 0, "diverged": 0, "unstable": 0, "inconclusive": 1,
        "stale": 1,
    }  # fmt: skip


def test_the_summary_counts_every_target_once_and_stale_ones_besides():
    rows = [
        row("m.py:a", "agree"),
        row("m.py:b", "agree", fresh=False),
        row("m.py:c", "equivalent"),
        row("m.py:d", "diverged", fresh=False),
        row("m.py:e", "diverged"),
        row("m.py:f", "unstable"),
        row("m.py:g", "inconclusive"),
        row("m.py:h", None),
    ]
    found = status(*rows)["summary"]
    assert found == {
        "targets": 8, "agree": 2, "equivalent": 1, "diverged": 2, "unstable": 1, "inconclusive": 2,
        "stale": 3,
    }  # fmt: skip
    assert sum(count for name, count in found.items() if name not in {"targets", "stale"}) == found["targets"]


def test_targets_keep_their_order():
    rows = [row(f"m.py:{name}") for name in "cab"]
    assert [target["target"] for target in status(*rows)["targets"]] == ["m.py:c", "m.py:a", "m.py:b"]


def test_rounds_are_those_that_the_standing_verdict_counts():
    evidence = {"rounds": 7, "agreed": 6, "cohort": 2, "schedules": {"serial": {}}}
    (target,) = status(row(evidence=evidence))["targets"]
    assert target["evidence"] == evidence


def test_a_failure_is_shown_with_where_and_what_to_do():
    failure = Failure("trace", "TypeError: no", "m.py", 12, hint="mend it", trace="Traceback")
    (target,) = status(row(verdict="inconclusive", failure=failure))["targets"]
    assert target["failure"] == {
        "kind": "trace", "message": "TypeError: no", "file": "m.py", "line": 12, "hint": "mend it",
        "trace": "Traceback",
    }  # fmt: skip


def test_problems_are_told_beside_the_targets():
    found = status(problems=[Problem("no such key", "pcv.toml", 3, "did you mean watch?"), Problem("no JAX")])
    assert found["problems"] == [
        {"message": "no such key", "file": "pcv.toml", "line": 3, "hint": "did you mean watch?"},
        {"message": "no JAX", "file": None, "line": None, "hint": None},
    ]


@pytest.mark.parametrize("state", ["idle", "queued", "building"])
def test_what_is_being_done_about_a_target_is_told(state):
    one = Row("m.py:f", Judgement("m.py:f", "agree"), WHEN, False, state)
    (target,) = status(one)["targets"]
    assert (target["state"], target["fresh"], target["verdict"]) == (state, False, "agree")


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
    found = status(Row("m.py:f", judgement, WHEN, True, "idle"))
    # Tuples among them would come back as lists: what is printed would not be what is stored.
    assert json.loads(json.dumps(found)) == found
    (target,) = found["targets"]
    assert (target["verdict"], target["first_stage"]) == ("diverged", "jaxpr")
    assert target["differing"] == list(STAGES)
    assert set(target["stages"]) == set(STAGES)
    assert target["evidence"]["schedules"]["threads:2"]["peak_in_flight"] == 2


def test_making_a_document_changes_no_judgement():
    evidence = {"rounds": 1, "schedules": {}}
    status(row(evidence=evidence))
    assert evidence == {"rounds": 1, "schedules": {}}
