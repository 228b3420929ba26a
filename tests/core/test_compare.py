"""The verdict table: what runs must show for each verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from runs import (
    ENVIRONMENT,
    FAILURE,
    OTHER,
    TOLERATED,
    T,
    artifact,
    build,
    control,
    delta,
    facts,
    failed,
    part,
    run,
    serial,
    threads,
    verdict,
)

from pcvd.core.builds import LOCATIONS, REQUIRED_STAGES, STAGES, Artifact, Build, Run
from pcvd.core.compare import judge, wants_control
from pcvd.core.succession import puzzling

# -- agreement and tolerance -----------------------------------------------------------------------


def test_equal_everywhere_is_agreement():
    found = judge(T, [serial(), threads(), threads({}, {}, {}, {}), control()], facts())
    assert (found.verdict, found.reason, found.first_stage, found.differing) == ("agree", None, None, ())
    assert found.failure is None
    assert found.cause is None
    assert found.output == {"bitwise": True, "max_abs": 0.0, "max_rel": 0.0, "within_tolerance": True}


def test_agreement_needs_no_control():
    assert verdict(serial(), threads()) == "agree"


def test_raw_bytes_may_differ_where_rules_make_them_equal():
    def of(raw: str) -> Build:
        one = build(lacking=("executable",))
        rules = ("object-order", "module-id") if raw == "a" else ("module-id",)
        made = Artifact.of("executable", [part("executable", "same", raw=raw, rules=rules)])
        return replace(one, artifacts=(*one.artifacts, made))

    found = judge(T, [run("serial", of("a")), run("threads:2", of("b"), of("c"))], facts(tolerate=()))
    assert found.verdict == "agree"
    assert found.evidence["rules"] == {"executable": ["module-id", "object-order"]}


def test_locations_are_never_a_reason_to_disagree():
    def of(text: str) -> Build:
        one = build()
        return replace(one, artifacts=(*one.artifacts, Artifact.of(LOCATIONS, [part("locations", text)])))

    assert verdict(run("serial", of("a")), run("threads:2", of("b"), of("c")), tolerate=()) == "agree"


@pytest.mark.parametrize("stage", TOLERATED)
def test_only_tolerated_stages_differ(stage):
    found = judge(T, [serial(), threads({}, {stage: "x"}), control()], facts())
    assert found.verdict == "equivalent"
    assert found.first_stage == stage
    assert found.differing == (stage,)
    assert found.reason == "only tolerated stages differ, under threads:2"


def test_what_is_tolerated_needs_no_control_and_minds_none():
    assert verdict(serial(), threads({}, {"object": "x"})) == "equivalent"
    assert verdict(serial(), threads(), control(object="x")) == "equivalent"
    assert verdict(serial(), threads({}, {"object": "x"}), control(object="y")) == "equivalent"


@pytest.mark.parametrize("stage", TOLERATED)
def test_strictly_nothing_is_tolerated(stage):
    assert verdict(serial(), threads({}, {stage: "x"}), control(), tolerate=()) == "diverged"
    assert verdict(serial(), threads({}, {stage: "x"}), control(**{stage: "x"}), tolerate=()) == "unstable"


def test_a_stage_is_tolerated_only_as_long_as_all_that_differ_are():
    found = judge(T, [serial(), threads({}, {"object": "x", "hlo": "x"}), control()], facts())
    assert found.verdict == "diverged"
    assert found.differing == ("hlo", "object")
    assert "hlo differs" in found.reason
    assert "object" not in found.reason


# -- attribution -----------------------------------------------------------------------------------

SERIOUS = [stage for stage in STAGES if stage not in TOLERATED]


@pytest.mark.parametrize("stage", SERIOUS)
def test_a_challenger_differs_and_the_control_does_not(stage):
    found = judge(T, [serial(), threads({}, {stage: "x"}), control()], facts())
    assert found.verdict == "diverged"
    assert found.first_stage == stage
    assert found.reason == f"{stage} differs under threads:2; the control agrees with the reference"
    assert found.output["bitwise"] is (stage != "output")


@pytest.mark.parametrize("stage", SERIOUS)
def test_the_control_differs_too(stage):
    found = judge(T, [serial(), threads({}, {stage: "x"}), control(**{stage: "y"})], facts())
    assert found.verdict == "unstable"
    assert found.first_stage == stage
    assert "a second serial build differs from the first" in found.reason
    assert "threads:2 differ as well" in found.reason
    assert set(found.stages[stage]) == {"serial", "threads:2", "control"}  # both comparisons are shown
    assert len(set(found.stages[stage].values())) == 3


def test_only_the_control_differs():
    found = judge(T, [serial(), threads(), control(hlo="x")], facts())
    assert found.verdict == "unstable"
    assert "the challengers agree with the reference" in found.reason


def test_without_a_control_a_difference_is_a_divergence_that_says_so():
    found = judge(T, [serial(), threads({}, {"hlo": "x"})], facts())
    assert found.verdict == "diverged"
    assert found.reason.endswith("not yet controlled")


def test_a_control_that_differs_only_where_it_is_tolerated_clears_nobody_and_blames_nobody():
    assert verdict(serial(), threads({}, {"hlo": "x"}), control(object="x")) == "diverged"


@pytest.mark.parametrize("copy", range(4))
def test_one_differing_copy_among_four_is_enough(copy):
    copies = [{"hlo": "x"} if place == copy else {} for place in range(4)]
    found = judge(T, [serial(), threads(*copies), control()], facts())
    assert found.verdict == "diverged"
    assert found.stages["hlo"]["threads:4"] == artifact("hlo", "x").canonical
    assert found.stages["hlo"]["threads:4"] != found.stages["hlo"]["serial"]


def test_one_differing_challenger_among_three_is_enough_and_is_named():
    runs = [
        serial(),
        threads(),
        threads({}, {"hlo": "x"}, {}),
        run("processes:2", build(), build(copy=1)),
        control(),
    ]
    found = judge(T, runs, facts())
    assert found.verdict == "diverged"
    assert "under threads:3;" in found.reason


def test_the_first_stage_is_the_earliest_whatever_the_order_in_which_schedules_found_it():
    runs = [serial(), threads({}, {"output": "x"}), threads({}, {}, {"stablehlo": "x"}), control()]
    found = judge(T, runs, facts())
    assert found.first_stage == "stablehlo"
    assert found.differing == ("stablehlo", "output")
    assert "stablehlo, output differ under threads:2, threads:3" in found.reason


def test_an_executable_that_does_not_repeat_itself_is_unstable():
    restless = run("serial", replace(build(), repeats=False))
    found = judge(T, [restless, threads()], facts())
    assert (found.verdict, found.first_stage, found.differing) == ("unstable", "output", ("output",))
    assert "run again" in found.reason
    assert found.evidence["repeat_runs_equal"] is False
    assert found.cause["kind"] == "run"
    assert "callbacks" in found.cause["hint"]


def test_what_made_the_verdict_is_the_cause_and_not_what_is_tolerated_before_it():
    restless = [replace(build(), repeats=False), replace(build(copy=1, object="x"), repeats=False)]
    runs = [run("serial", replace(build(), repeats=False)), run("threads:2", *restless), control()]
    found = judge(T, runs, facts())
    assert (found.verdict, found.first_stage, found.differing) == ("unstable", "object", ("object", "output"))
    assert (found.cause["stage"], found.cause["kind"]) == ("output", "run")
    assert "callbacks" in found.cause["hint"]
    assert not puzzling(found)
    late = judge(T, [serial(), threads({}, {"object": "x", "output": "y"}), control(output="z")], facts())
    assert (late.first_stage, late.cause["stage"], late.cause["kind"]) == ("object", "output", "process")


def test_what_is_tolerated_is_the_cause_where_there_is_nothing_else():
    found = judge(T, [serial(), threads({}, {"object": "x", "executable": "y"}), control()], facts())
    assert (found.verdict, found.cause["stage"]) == ("equivalent", "object")


def test_nor_may_a_challengers_executable_contradict_itself():
    # Only its first run is compared: if that one happens to be equal, the second still is not.
    restless = run("threads:2", build(), replace(build(copy=1), repeats=False))
    assert verdict(serial(), restless, control()) not in {"agree", "equivalent"}


def test_an_executable_that_was_not_run_twice_is_no_contradiction():
    assert verdict(run("serial", replace(build(), repeats=None)), threads()) == "agree"


def test_other_targets_of_the_round_do_not_count():
    others = [run("serial", build(), build(OTHER)), run("threads:2", build(), build(OTHER, hlo="x"))]
    assert judge(T, others, facts()).verdict == "agree"
    assert judge(OTHER, others, facts()).verdict == "diverged"


# -- control ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "wanted"),
    [
        ([serial(), threads()], False),
        ([serial(), threads({}, {"hlo": "x"})], True),
        ([serial(), threads({}, {"object": "x"})], True),
        ([run("serial", failed()), threads()], False),
        ([serial()], False),
        ([run("serial", replace(build(), repeats=False)), threads()], True),
    ],
    ids=["agree", "diverged", "equivalent", "failed", "nothing compared", "restless"],
)
def test_a_control_is_wanted_where_something_differs(runs, wanted):
    assert wants_control([judge(T, runs, facts())]) is wanted


def test_one_difference_in_a_cohort_is_enough_for_a_control():
    agreed = judge(T, [serial(), threads()], facts())
    differs = judge(T, [serial(), threads({}, {"hlo": "x"})], facts())
    assert wants_control([agreed, differs, agreed])
    assert not wants_control([])


# -- never one too few -----------------------------------------------------------------------------


def other_at(stage: str, salt: str | None):
    def change(one: Build) -> Build:
        kept = tuple(made for made in one.artifacts if made.stage != stage)
        return replace(one, artifacts=(*kept, artifact(stage, salt)))

    return change


SALTS = st.sampled_from(["x", "x", "x", "y", None])
DIFFERENCES = st.builds(other_at, st.sampled_from(STAGES), SALTS) | st.just(
    lambda one: replace(one, repeats=False)
)
OBSTACLES = st.sampled_from(
    [
        lambda one: replace(one, failure=FAILURE),
        lambda one: replace(one, inputs="others"),
        lambda one: replace(one, ended_ns=0),
        lambda one: replace(one, target=OTHER),
    ]
)


@st.composite
def rounds(draw) -> list[Run]:
    """An honest round of equal builds, and then some things wrong with single builds of it."""
    pools = draw(st.sampled_from([(2,), (4,), (1, 2), (2, 3), (4, 2), (1,), ()]))
    schedules = [("serial", 1), *((f"threads:{size}", size) for size in pools)]
    schedules += draw(st.sampled_from([[], [("control", 1)]]))
    made = {(name, copy): build(copy=copy) for name, size in schedules for copy in range(size)}
    changes = draw(st.lists(DIFFERENCES, max_size=3)) + draw(st.sampled_from([[], [], [], [draw(OBSTACLES)]]))
    for change in changes:
        where = draw(st.sampled_from(sorted(made)))
        made[where] = change(made[where])
    unlike = draw(st.sampled_from([None] * 9 + [schedules[-1][0]])) if not changes else None
    return [
        run(
            name, *(made[name, copy] for copy in range(size)),
            environments=({**ENVIRONMENT, "cores": 64} if name == unlike else ENVIRONMENT,),
        )
        for name, size in schedules
    ]  # fmt: skip


FACTS = st.builds(
    facts,
    st.lists(st.sampled_from(STAGES), unique=True),
    st.lists(st.builds(delta, st.sampled_from(["threads:2", "control"]), st.booleans()), max_size=2),
)


@settings(max_examples=300)
@given(rounds(), FACTS)
def test_agreement_and_equivalence_are_what_they_say(runs, known):
    found = judge(T, runs, known)
    builds = [one for each in runs for one in each.of(T)]
    digests = {
        stage: {None if one.artifact(stage) is None else one.artifact(stage).canonical for one in builds}
        for stage in STAGES
    }
    apart = {stage for stage, values in digests.items() if len(values) > 1}
    if any(one.repeats is False for one in builds):
        apart.add("output")
    in_the_way = (
        any(one.failure is not None or one.inputs != builds[0].inputs for one in builds)
        or any(not each.of(T) or each.environments != runs[0].environments for each in runs)
        or any(None in digests[stage] for stage in REQUIRED_STAGES)
        or not any(each.peak_in_flight > 1 for each in runs)
        or any(each.peak_in_flight < len(each.builds) for each in runs)
    )
    event("something in the way" if in_the_way else f"{found.verdict} of {len(runs)}")
    if in_the_way:
        assert found.verdict == "inconclusive"
        assert found.reason
    elif not apart:
        assert found.verdict == "agree"
    elif found.verdict == "equivalent":
        assert apart <= {*known.tolerate}
    else:
        assert found.verdict in {"diverged", "unstable"}
        assert apart - {*known.tolerate} or "output" in apart
    if found.verdict in {"agree", "inconclusive"}:
        assert found.differing == ()
    else:
        assert set(found.differing) == apart
        assert found.first_stage == found.differing[0]
        assert found.reason
