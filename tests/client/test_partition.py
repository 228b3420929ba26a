"""What is said of the kernels of a target, under its row and in its explanation."""

from __future__ import annotations

import pytest

from pcvctl import partition
from pcvctl.explain import show
from pcvctl.render import render

AGREE = {"verdict": "agree", "reason": None, "kernels": 5, "steps": 49, "differing": [], "more": 0}
DIFFERS = {
    **AGREE,
    "verdict": "diverged",
    "reason": "hlo differs",
    "differing": [
        {
            "name": "kernel_a", "function": "block", "file": "m.py", "line": 7, "uses": 24,
            "stages": ["hlo", "object"], "runs": {"threads:2": ["hlo", "object"]}, "only": None,
        },
        {"name": "linked", "uses": 49, "stages": ["output"], "runs": {"threads:2": ["output"]}},
    ],
    "linked": {
        "bitwise": False,
        "against_whole": {"bitwise": False, "max_ulps": 3.0, "max_abs": 1e-7, "max_rel": 2e-6,
                          "within_tolerance": True},
    },
}  # fmt: skip
FAILED = {
    **AGREE,
    "verdict": "inconclusive",
    "reason": "m.py:7: kernel_a: no",
    "failure": {"hint": "do otherwise"},
}


@pytest.mark.parametrize(
    ("kernels", "said"),
    [
        (AGREE, "5 kernels, 49 steps: agree"),
        ({**AGREE, "kernels": 1, "steps": 1}, "1 kernel, 1 step: agree"),
        (
            DIFFERS,
            (
                "5 kernels, 49 steps: diverged: hlo, object of kernel_a (m.py:7 block)"
                " and output of the program linked of all kernels"
            ),
        ),
        (FAILED, "5 kernels, 49 steps: not compared: m.py:7: kernel_a: no"),
        ({"verdict": "inconclusive"}, "kernels: not compared: nobody says why"),
        ({}, ""),
    ],
)
def test_kernels_in_one_line(kernels, said):
    assert partition.note(kernels) == said


def test_it_stands_under_the_row_with_what_to_do(status, target):
    lines = render(status(target(kernels=FAILED)), now=None).splitlines()
    assert lines[2:4] == [
        "    5 kernels, 49 steps: not compared: m.py:7: kernel_a: no",
        "      -> do otherwise",
    ]
    assert "kernels" not in render(status(target(kernels=None)), now=None)


def test_the_explanation_has_a_node_for_each_kernel_that_differs():
    text = show({"target": "m.py:f", "kernels": DIFFERS}, 0.0, 160, color=False, unicode=False)
    for said in (
        "kernels: 5 kernels, 49 steps: diverged",
        "kernel_a (m.py:7 block)",
        "threads:2: hlo, object",
        "used in 24 steps",
        "not the same bits under every schedule; at most 3 ULPs, 1e-07 absolute, 2e-06 relative from",
    ):
        assert said in text


def test_a_difference_of_kernels_alone_is_not_said_of_the_whole(status, target):
    one = target(verdict="diverged", kernels=DIFFERS, first_stage="hlo", differing=["hlo", "output"])
    one["evidence"]["schedules"]["threads:2"]["differing_stages"] = ["hlo", "output"]
    one["cause"] = {"kind": "kernel", "kernel": "kernel_a", "text": "hlo of kernel_a differs"}
    text = render(status(one), now=None)
    assert "Under threads:2 the optimized HLO of its kernels differs, and after it the output." in text
    assert "bits are equal" not in text


@pytest.mark.parametrize("odd", [None, 3, [], {"differing": [1]}, {"linked": 2, "failure": []}])
def test_nothing_odd_is_fatal(status, target, odd):
    render(status(target(kernels=odd)), now=None)
    show({"target": "m.py:f", "kernels": odd}, 0.0, 80, color=False, unicode=False)
