"""Which verdicts stand on programs that were traced under some of the schedules."""

from __future__ import annotations

import pytest

from pcvd.core.model import Judgement
from pcvd.core.programs import is_covered

TRACED = ("serial", "threads:2")


@pytest.mark.parametrize(
    ("schedule", "stages", "covered"),
    [
        ("threads:2", ["jaxpr", "output"], True),  # it is seen whether it still does
        ("threads:4", ["jaxpr", "output"], False),
        ("control", ["stablehlo"], False),
        ("threads:4", ["llvm", "object"], True),  # the compiler's: of the same programs it would do the same
        ("threads:4", [], True),
    ],
)
def test_a_difference_of_programs_is_retold_by_its_own_schedule_alone(schedule, stages, covered):
    schedules = {"serial": {}, "threads:2": {"differing_stages": []}}
    evidence = {"schedules": schedules | {schedule: {"differing_stages": stages}}}
    assert is_covered(Judgement("m.py:f", "diverged", evidence=evidence), TRACED) is covered


def test_a_verdict_without_evidence_hides_no_difference():
    assert is_covered(Judgement("m.py:f", "agree"), TRACED)
