import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvctl import exits

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NEEDED = ["schema", "targets", "problems"]
NEEDED_OF_A_TARGET = ["target", "verdict", "fresh", "evidence"]


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["agree"], 0),
        (["agree", "equivalent"], 0),
        (["agree", "diverged"], 1),
        (["unstable", "inconclusive"], 1),
        (["inconclusive", "agree"], 3),
        ([], 3),
        ([None], 3),
        (["agreed"], 3),
    ],
)
def test_verdicts(status, target, verdicts, code):
    assert exits.exit_code(status(*[target(verdict=verdict) for verdict in verdicts])) == code


def test_stale_agreement_is_open_and_stale_divergence_is_a_divergence(status, target):
    assert exits.exit_code(status(target(fresh=False))) == 3
    assert exits.exit_code(status(target(verdict="diverged", fresh=False))) == 1


def test_a_problem_keeps_agreement_open(status, target):
    problem = {"message": "invalid syntax", "file": "a.py", "line": 1, "hint": None}
    assert exits.exit_code(status(target(), problems=[problem])) == 3


def test_a_model_file_that_is_still_to_be_imported_keeps_agreement_open(status, target):
    assert exits.exit_code(status(target(), asking=["models/new.py"])) == 3
    assert exits.exit_code(status(target(verdict="unstable"), asking=["models/new.py"])) == 1
    assert exits.exit_code(status(target(), asking=[])) == 0


def test_a_round_that_compared_nothing_is_no_agreement(status, target):
    alone = {"rounds": 1, "schedules": {"serial": {"builds": 1}}}
    assert exits.exit_code(status(target(evidence=alone))) == 3
    assert exits.exit_code(status(target(evidence={"rounds": 1, "schedules": {}}))) == 3


def test_another_schema_is_unknown(status, target):
    assert exits.exit_code(status(target(), schema=2)) == 3


@given(value=JSON)
def test_arbitrary_json_is_never_agreement(value):
    assert exits.exit_code(value) == exits.OPEN


@given(data=st.data())
def test_a_missing_or_strange_field_is_never_agreement(data):
    one = {
        "target": "a.py:f",
        "verdict": "agree",
        "fresh": True,
        "evidence": {"schedules": {"serial": {}, "threads:2": {}}},
    }
    whole = {"schema": 1, "targets": [copy.deepcopy(one), copy.deepcopy(one)], "problems": []}
    assert exits.exit_code(whole) == 0
    field = data.draw(st.sampled_from(NEEDED + NEEDED_OF_A_TARGET))
    place = whole if field in NEEDED else whole["targets"][data.draw(st.integers(0, 1))]
    if data.draw(st.booleans()):
        del place[field]
    else:
        same = (place[field],) if field != "target" else ()
        strange = JSON.filter(
            lambda value: value not in (*same, "equivalent", 1, []) and not isinstance(value, str)
        )
        place[field] = data.draw(strange)
    assert exits.exit_code(whole) != 0
