"""What is said under a target's row: one paragraph, everything once."""

from datetime import UTC, datetime

import pytest

from pcvctl.render import render

NOW = datetime(2026, 1, 1, 0, 2, 5, tzinfo=UTC).timestamp()
APART = {"bitwise": False, "max_abs": 1.2e-3, "max_rel": 0.5, "within_tolerance": False}


@pytest.fixture
def told(status, target):
    """The text under the row of a target whose schedules differ at the given stages, as one line."""

    def tell(verdict, under, width=100, unicode=False, **changes):
        one = target(verdict=verdict)
        schedules = one["evidence"]["schedules"]
        pattern = schedules["threads:2"]
        for name, stages in under.items():
            schedules[name] = {**pattern, "differing_stages": stages}
        found = list(dict.fromkeys(stage for stages in under.values() for stage in stages))
        one.update({"first_stage": (found or [None])[0], "differing": found, "reason": "the reason"})
        one.update(changes)
        lines = render(status(one), now=NOW, width=width, unicode=unicode).splitlines()
        return " ".join(line.strip() for line in lines[2 : lines.index("")])

    return tell


def test_a_divergence_that_building_in_parallel_makes(told):
    text = told(
        "diverged",
        {"threads:2": ["jaxpr", "output"], "threads:4": ["jaxpr", "output"], "control": []},
        output=APART,
    )
    assert text == (
        "Under threads:2 and threads:4 the jaxpr differs, and after it the output. A second serial build "
        "(the control) equals the first: it comes of building in parallel. Outputs are at most 0.0012 apart "
        "(0.5 relative), beyond tolerance. -> look for what the function reads while it is traced and "
        "another thread or order changes: a global, a counter, a cache, a `with` block around the caller"
    )


def test_schedules_that_begin_to_differ_elsewhere_are_told_apart(told):
    text = told("diverged", {"threads:2": ["hlo", "object"], "processes:2": ["object"], "control": []})
    assert text.startswith("Under threads:2 the optimized HLO differs, and after it the object code. ")
    assert "Under processes:2 it begins with the object code. " in text


@pytest.mark.parametrize(
    ("control", "said"),
    [
        ({}, "There is no second serial build (the control) to compare with yet."),
        ({"control": ["object"]}, "differs from the first only in the object code, which is tolerated"),
    ],
)
def test_what_the_control_says_of_a_divergence(told, control, said):
    assert said in told("diverged", {"threads:2": ["hlo", "object"], **control})


def test_a_build_that_does_not_reproduce_itself(told):
    text = told("unstable", {"threads:2": ["jaxpr", "hlo"], "control": ["jaxpr", "hlo"]})
    assert text.startswith(
        "In a second serial build (the control) the jaxpr differs, and after it the optimized HLO; threads:2 "
        "differs as well. The build does not reproduce itself, so building in parallel is not to blame."
    )
    assert "the order of a set" in text
    assert "the concurrent builds equal the first." in told("unstable", {"control": ["jaxpr"]})


def test_an_executable_that_contradicts_itself(told):
    text = told("unstable", {}, differing=["output"], first_stage="output", output=APART)
    assert text.startswith("One executable, run again on the same inputs, gave other bits. ")
    assert "callbacks" in text


def test_what_is_tolerated_is_one_sentence(told):
    stages = ["llvm", "object", "executable"]
    assert told("equivalent", {"threads:2": stages, "threads:4": stages}) == (
        "Only the LLVM IR, object code and serialized executable differ under threads:2 and threads:4, which "
        "is tolerated; all else is equal, the output's bits included."
    )
    assert told("equivalent", {"threads:2": ["output"]}) == (
        "Only the output differs under threads:2, which is tolerated; all else is equal."
    )


def test_without_stages_the_reason_stands_for_itself(told):
    assert told("inconclusive", {}) == "the reason"
    assert told("diverged", {}) == "the reason"


CAUSE = {
    "kind": "compile-order",
    "kernel": "while_body",
    "pass": "small-while-loop-hoisting",
    "file": "models/mlp.py",
    "line": 12,
    "text": "the code of while_body depends on what its process compiled before.",
    "hint": "this is XLA's doing",
    "evidence": [{"variation": "order", "builds": 5, "differs": 5}],
    "remarks": ["1 builds with another hash seed failed"],
    "workaround": "XLA_FLAGS=--xla_disable_hlo_passes=small-while-loop-hoisting",
}


def test_a_cause_comes_with_its_place_its_evidence_and_how_to_avoid_it(told):
    text = told("diverged", {"threads:2": ["object"], "control": []}, cause=CAUSE, unicode=True)
    assert text.endswith(
        "Cause: the code of while_body depends on what its process compiled before "
        "(pass small-while-loop-hoisting), at models/mlp.py:12 "
        "1 builds with another hash seed failed → this is XLA's doing "
        "→ avoid it with: XLA_FLAGS=--xla_disable_hlo_passes=small-while-loop-hoisting"
    )
    assert text.count("while_body") == 1  # the kernel is in the sentence already
    assert "tolerate" not in text  # what the cause advises stands for itself


@pytest.mark.parametrize("kind", ["schedule", "process", "run", "unknown"])
def test_a_cause_that_only_repeats_the_control_gives_no_more_than_its_kernel(told, kind):
    text = "object differs in while_body; a second serial build agrees"
    said = told(
        "diverged",
        {"threads:2": ["object"], "control": []},
        cause={"kind": kind, "kernel": "while_body", "text": text},
    )
    assert said.startswith("Under threads:2 the object code of the kernel while_body differs. ")
    assert said.count("while_body") == 1
    assert text not in said
    assert f"{kind}:" not in said


def test_an_unknown_cause_that_was_looked_for_says_so(told):
    cause = {"kind": "unknown", "text": "no variation tried so far changes it", "evidence": [{"builds": 5}]}
    text = told("diverged", {"threads:2": ["object"], "control": []}, cause=cause)
    assert "Cause: no variation tried so far changes it -> the compiler was given" in text


def test_a_known_cause_takes_the_blame_from_building_in_parallel(told):
    text = told("diverged", {"threads:2": ["object"], "control": []}, cause=CAUSE)
    assert "(the control) equals the first. " in text
    assert "parallel" not in text


def test_agreement_after_a_difference_is_told_with_it(told, target):
    evidence = {**target(verdict="agree")["evidence"], "rounds": 3, "agreed": 2}
    said = "It agreed in 2 of 3 rounds over these sources, and differed in the others."
    assert said in told("agree", {}, evidence=evidence)
    assert "differed" not in told("agree", {}, evidence={**evidence, "agreed": 3})


def test_a_stale_finding_asks_for_nothing(told):
    assert "->" not in told("diverged", {"threads:2": ["jaxpr"], "control": []}, fresh=False)


def test_a_failure_under_a_challenger_alone_says_so_once(told):
    failure = {"message": "ValueError: no", "file": "m.py", "line": 3, "hint": "mend it"}
    only = "m.py:3: ValueError: no (under threads:2, not when built serially)"
    assert told("inconclusive", {}, failure=failure, reason=only) == f"{only} -> mend it"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_place_is_never_cut(told, width):
    assert "models/mlp.py:12" in told("diverged", {"threads:2": ["object"]}, cause=CAUSE, width=width)


def test_distances_that_are_not_known_are_told(told):
    text = told("diverged", {"threads:2": ["output"], "control": []}, output=APART | {"unmeasured": 1})
    assert "beyond tolerance. How far 1 of their leaves is apart is not known. " in text


def test_advice_is_about_the_stage_that_made_the_verdict(told):
    cause = {"kind": "process", "stage": "output", "text": "output differs in y"}
    text = told("unstable", {"threads:2": ["object", "output"], "control": ["output"]}, cause=cause)
    assert "-> the executables are equal: look for callbacks" in text
    assert "report it to XLA" not in text


def test_stages_have_one_name_each_on_every_screen():
    from pcvctl import findings
    from pcvd.core import telling

    assert findings._STAGES == telling.NAMES
