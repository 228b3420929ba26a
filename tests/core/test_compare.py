"""The verdict table: what runs must show for each verdict, and what stands in the way of one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pcvd.core.case import kernel_of
from pcvd.core.cause import cause_of
from pcvd.core.compare import differing_outputs, judge, wants_control
from pcvd.core.evidence import Facts, speed_up
from pcvd.core.model import (
    LOCATIONS,
    REQUIRED_STAGES,
    STAGES,
    Artifact,
    Build,
    Failure,
    OutputDelta,
    Part,
    Run,
    digest,
)
from pcvd.core.succession import puzzling

T, OTHER = "m.py:f", "m.py:g"
TOLERATED = ("llvm", "object", "executable")
ENVIRONMENT = {"jax": "0.10.2", "cores": 2, "variables": {"XLA_FLAGS": "--a"}}


def part(name: str, text: str, label: str = "", raw: str | None = None, rules: tuple[str, ...] = ()) -> Part:
    return Part(name, digest((text if raw is None else raw).encode()), digest(text.encode()), 9, label, rules)


def artifact(stage: str, salt: str | None = "") -> Artifact:
    """One part per stage, two kernels; another salt is another artifact, None is an absent one."""
    if salt is None:
        return Artifact.missing(stage, "the compiler shows none")
    names = ("main_kernel.o", "loop_kernel.o") if stage == "object" else (stage,)
    return Artifact.of(stage, [part(name, f"{stage} {name} {salt}") for name in names])


def build(target=T, copy=0, began=0, ended=10, lacking=(), **salts) -> Build:
    artifacts = tuple(artifact(stage, salts.get(stage, "")) for stage in STAGES if stage not in lacking)
    return Build(target, copy, 1, "main", began, began + 1, ended, "inputs", artifacts, None, True, began + 1)


def run(schedule: str, *builds: Build, **changes) -> Run:
    order = tuple(one.target for one in builds)
    return replace(Run(schedule, order, builds, "zygote", 1, (0, 1), (ENVIRONMENT,)), **changes)


def serial(**salts) -> Run:
    return run("serial", build(**salts))


def control(**salts) -> Run:
    return run("control", build(**salts))


def threads(*copies: dict, workers: int = 0) -> Run:
    """A concurrent run: a build per dict of salts, all in flight together (two equal ones by default)."""
    made = [build(copy=copy, **salts) for copy, salts in enumerate(copies or ({}, {}))]
    return run(f"threads:{workers or len(made)}", *made)


def facts(tolerate=TOLERATED, deltas=(), changed=(), unreadable=(), unmeasured=()) -> Facts:
    return Facts(
        tuple(tolerate),
        {T: list(deltas)} if deltas else {},
        {T: list(changed)} if changed else {},
        frozenset(unreadable),
        {T: set(unmeasured)} if unmeasured else {},
    )


def verdict(*runs: Run, **known) -> str:
    return judge(T, runs, facts(**known)).verdict


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


# -- outputs within tolerance ----------------------------------------------------------------------


def delta(schedule="threads:2", within=True, path="output", **distances) -> OutputDelta:
    return OutputDelta(schedule, path, "f32[2]", False, within_tolerance=within, **distances)


def outputs(**leaves: str) -> Build:
    made = Artifact.of("output", [part(name, text, "f32[2]") for name, text in leaves.items()])
    one = build(lacking=("output",))
    return replace(one, artifacts=(*one.artifacts, made))


LOOSE = (*TOLERATED, "output")


def test_outputs_may_differ_within_tolerance_where_that_is_allowed():
    runs = [
        run("serial", outputs(a="1", b="2")),
        run("threads:2", outputs(a="1", b="2"), outputs(a="x", b="y")),
    ]
    deltas = [delta(path="a", max_abs=1e-7, max_rel=1e-6, max_ulps=2.0), delta(path="b", max_abs=2e-7)]
    found = judge(T, runs, facts(LOOSE, deltas))
    assert found.verdict == "equivalent"
    assert [leaf.pop("path") for leaf in found.output.pop("leaves")] == ["b", "a"]
    assert found.output == {
        "bitwise": False, "max_abs": 2e-7, "max_rel": 1e-6, "max_ulps": 2.0, "within_tolerance": True,
        "unmeasured": 0, "more_leaves": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "deltas",
    [
        [delta(within=False, max_abs=1.0)],
        [delta(max_abs=1e-9), delta(within=False, max_abs=1.0)],
        [],
    ],
    ids=["outside", "one copy outside", "not measured"],
)
def test_outputs_beyond_tolerance_or_not_measured_are_serious(deltas):
    assert (
        verdict(serial(), threads({}, {"output": "x"}), control(), tolerate=LOOSE, deltas=deltas)
        == "diverged"
    )


def test_one_schedules_small_distance_does_not_excuse_anothers():
    # Leaves of another structure have no distance, and so no delta.
    runs = [serial(), threads({}, {"output": "x"}), threads({}, {"output": "y"}, {}), control()]
    assert verdict(*runs, tolerate=LOOSE, deltas=[delta("threads:2", max_abs=1e-9)]) == "diverged"


def test_tolerances_only_describe_unless_outputs_are_tolerated():
    found = judge(T, [serial(), threads({}, {"output": "x"}), control()], facts(deltas=[delta(max_abs=1e-9)]))
    assert found.verdict == "diverged"
    assert found.output["within_tolerance"] is True


def test_what_has_no_distance_is_described_as_such():
    found = judge(T, [serial(), threads({}, {"output": "x"})], facts(deltas=[delta(within=False)]))
    distances = {"max_abs": None, "max_rel": None, "max_ulps": None, "within_tolerance": False}
    (leaf,) = found.output.pop("leaves")
    assert leaf.items() >= {"path": "output", "bitwise": False, **distances}.items()
    assert found.output == {"bitwise": False, **distances, "unmeasured": 0, "more_leaves": 0}


def test_leaves_whose_bits_differ_are_to_be_measured():
    runs = [
        run("serial", outputs(a="1", b="2", c="3"), build(OTHER)),
        run(
            "threads:2", outputs(a="1", b="2", c="3"), outputs(a="1", b="x", c="y"), build(OTHER, output="x")
        ),
        run("control", outputs(a="1", b="2", c="z")),
    ]
    assert list(differing_outputs(T, runs)) == [
        ("threads:2", part("b", "2", "f32[2]"), part("b", "x", "f32[2]")),
        ("threads:2", part("c", "3", "f32[2]"), part("c", "y", "f32[2]")),
        ("control", part("c", "3", "f32[2]"), part("c", "z", "f32[2]")),
    ]


@pytest.mark.parametrize(
    "runs",
    [
        [run("serial"), run("threads:2", outputs(a="1"))],
        [run("serial", build(lacking=("output",))), run("threads:2", outputs(a="1"))],
        [run("serial", outputs(a="1")), run("threads:2", build(output=None), build(lacking=STAGES))],
        [run("serial", outputs(a="1")), run("threads:2", outputs(b="1"))],
        [run("serial", outputs(a="1")), run("threads:2")],
    ],
)
def test_nothing_is_measured_where_a_side_is_lacking(runs):
    assert list(differing_outputs(T, runs)) == []


@pytest.mark.parametrize("leaves", [{"a": "x"}, {"a": "x", "b": "2", "c": "3"}], ids=["lost", "gained"])
def test_a_lost_or_gained_leaf_is_never_within_tolerance(leaves):
    runs = [
        run("serial", outputs(a="1", b="2")),
        run("threads:2", outputs(a="1", b="2"), outputs(**leaves)),
        control_of("1", "2"),
    ]
    measured = [
        delta(schedule, path=one.name, max_abs=1e-9) for schedule, one, _ in differing_outputs(T, runs)
    ]
    assert [one.path for one in measured] == ["a"]
    assert verdict(*runs, tolerate=LOOSE, deltas=measured) == "diverged"


def test_a_leaf_that_only_one_side_has_is_not_told_as_within_tolerance():
    runs = [
        run("serial", outputs(a="1", b="2")),
        run("threads:2", outputs(a="x", c="3"), outputs(a="1", b="2")),
    ]
    found = judge(T, runs, facts(deltas=[delta(path="a", max_abs=1e-45)]))
    assert found.verdict == "diverged"
    assert (found.output["within_tolerance"], found.output["unmeasured"]) == (False, 2)


def test_a_leaf_of_equal_bytes_and_another_type_is_to_be_measured():
    one, other = (
        replace(
            build(lacking=("output",)),
            artifacts=(*build(lacking=("output",)).artifacts, Artifact.of("output", [part("a", "0", label)])),
        )
        for label in ("f32[2]", "i32[2]")
    )
    (found,) = differing_outputs(T, [run("serial", one), run("threads:2", one, other)])
    assert [leaf.label for leaf in found[1:]] == ["f32[2]", "i32[2]"]


def test_outputs_that_could_not_be_measured_are_neither_within_tolerance_nor_beyond():
    runs = [
        run("serial", outputs(a="1", b="2")),
        run("threads:2", outputs(a="x", b="y")),
        control_of("1", "2"),
    ]
    runs[1] = run("threads:2", outputs(a="x", b="y"), outputs(a="1", b="2"))
    near, failed = [delta(path="a", max_abs=1e-9)], [("threads:2", "b")]
    found = judge(T, runs, facts(LOOSE, near, unmeasured=failed))
    assert found.verdict == "inconclusive"
    assert "could not be measured" in found.reason
    # Nor do they change a verdict that stands without them.
    far = [delta(path="a", within=False, max_abs=1.0)]
    assert verdict(*runs, tolerate=LOOSE, deltas=far, unmeasured=failed) == "diverged"
    strict = judge(T, runs, facts(deltas=near, unmeasured=failed))
    assert strict.verdict == "diverged"
    assert (strict.output["within_tolerance"], strict.output["unmeasured"]) == (False, 1)


def control_of(a: str, b: str) -> Run:
    return run("control", outputs(a=a, b=b))


# -- absence ---------------------------------------------------------------------------------------

OPTIONAL = [stage for stage in STAGES if stage not in REQUIRED_STAGES]


@pytest.mark.parametrize("stage", OPTIONAL)
@pytest.mark.parametrize("side", ["reference", "challenger"])
def test_absent_on_one_side_is_a_difference(stage, side):
    absent, present = {stage: None}, {}
    mine, theirs = (absent, present) if side == "reference" else (present, absent)
    found = judge(T, [serial(**mine), threads({**theirs}, {**theirs}), control(**mine)], facts(tolerate=()))
    assert found.verdict == "diverged"
    assert found.first_stage == stage
    assert None in found.stages[stage].values()


@pytest.mark.parametrize("stage", OPTIONAL)
def test_absent_on_all_sides_is_no_evidence(stage):
    found = judge(T, [serial(**{stage: None}), threads({stage: None}, {stage: None})], facts(tolerate=()))
    assert found.verdict == "agree"
    for shown in found.evidence["schedules"].values():
        assert stage not in shown["identical_stages"]
        assert stage not in shown["differing_stages"]
    assert set(found.stages[stage].values()) == {None}


def test_a_stage_that_was_never_reached_is_as_absent_as_one_that_is_missing():
    bare = run("serial", build(lacking=("llvm",)))
    assert verdict(bare, threads({"llvm": None}, {"llvm": None}), tolerate=()) == "agree"
    assert verdict(bare, threads({}, {}), control(llvm=None), tolerate=()) == "diverged"


@pytest.mark.parametrize("stage", REQUIRED_STAGES)
@pytest.mark.parametrize("where", ["reference", "challenger", "everywhere"])
def test_without_a_required_stage_there_is_no_verdict(stage, where):
    mine = {stage: None} if where != "challenger" else {}
    theirs = {stage: None} if where != "reference" else {}
    found = judge(T, [serial(**mine), threads({**theirs}, {**theirs})], facts())
    assert found.verdict == "inconclusive"
    assert found.reason == (
        f"{'threads:2' if where == 'challenger' else 'serial'}: no {stage} (the compiler shows none)"
    )


@pytest.mark.parametrize("stage", REQUIRED_STAGES)
def test_nor_without_one_that_was_never_reached(stage):
    found = judge(T, [serial(), run("threads:2", build(), build(copy=1, lacking=(stage,)))], facts())
    assert (found.verdict, found.reason) == ("inconclusive", f"threads:2: no {stage}")


# -- what stands in the way ------------------------------------------------------------------------

FAILURE = Failure("trace", "TypeError: no", "m.py", 12, hint="mend it", trace="Traceback")


def failed(target: str = T, failure: Failure = FAILURE) -> Build:
    return Build(target, 0, 1, "main", 0, 0, 10, failure=failure)


@pytest.mark.parametrize(
    ("runs", "where"),
    [
        ([run("serial", failed())], None),
        ([run("serial", failed()), threads(), control()], None),
        ([serial(), run("threads:2", build(), failed())], "threads:2"),
        ([serial(), threads({}, {"hlo": "x"}), run("control", failed())], "control"),
    ],
)
def test_a_failed_build_is_no_verdict_and_says_where(runs, where):
    found = judge(T, runs, facts())
    assert found.verdict == "inconclusive"
    assert found.reason.startswith("m.py:12: TypeError: no")
    assert found.failure == FAILURE
    assert (found.first_stage, found.differing, found.stages) == (None, (), {})
    if where is not None:  # what fails under one schedule only is the schedule's finding
        assert where in found.reason


def test_a_neighbours_failure_is_its_own():
    runs = [run("serial", build(), failed(OTHER)), run("threads:2", build(), build(copy=1), failed(OTHER))]
    assert judge(T, runs, facts()).verdict == "agree"
    assert judge(OTHER, runs, facts()).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("kind", "peak"),
    [("threads:2", 1), ("processes:2", 1), ("threads:4", 3)],
)
def test_a_challenger_that_never_overlapped_is_no_evidence(kind, peak):
    apart = [build(copy=0, began=100, ended=110)]
    together = [build(copy=1 + copy, began=0, ended=10) for copy in range(peak)]
    found = judge(T, [serial(), run(kind, *apart, *together)], facts())
    assert found.verdict == "inconclusive"
    assert found.reason == f"{kind} never really overlapped: at most {peak} in flight at once"
    assert found.evidence["schedules"][kind]["peak_in_flight"] == peak


def test_an_overlap_of_neighbours_is_an_overlap():
    apart = run("threads:2", build(), build(OTHER, began=5, ended=15))
    assert verdict(run("serial", build(), build(OTHER, began=10, ended=20)), apart) == "agree"


def test_an_overlap_of_others_is_none_of_a_target_that_came_after_them():
    waves = run("threads:2", build("b", ended=10), build("a", ended=10), build("c", began=10, ended=20))
    runs = [run("serial", *(build(name) for name in "abc")), waves]
    assert [judge(name, runs, facts()).verdict for name in "abc"] == ["agree", "agree", "inconclusive"]
    found = judge("c", runs, facts())
    assert found.reason == "threads:2 never really overlapped: it was compiled when nothing else was"
    shown = found.evidence["schedules"]["threads:2"]
    assert (shown["peak_in_flight"], shown["own_in_flight"], shown["own_compiling"]) == (2, 1, 1)
    # A copy of anything beside it is company enough.
    accompanied = replace(waves, builds=(*waves.builds, build("b", copy=1, began=15, ended=25)))
    assert judge("c", [runs[0], accompanied], facts()).verdict == "agree"


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [serial()],
        [serial(), control()],
        [serial(), run("threads:1", build())],
        [serial(), control(), run("processes:1", build())],
    ],
    ids=["nothing", "serial", "control", "a pool of one thread", "a pool of one process"],
)
def test_what_compared_nothing_concurrent_is_no_agreement(runs):
    assert verdict(*runs) == "inconclusive"


def test_a_pool_of_one_is_compared_like_any_other_and_asked_for_no_overlap():
    alone = run("threads:1", build(hlo="x"))
    assert verdict(serial(), run("threads:1", build()), threads()) == "agree"
    assert verdict(serial(), alone, threads(), control()) == "diverged"


@pytest.mark.parametrize("place", range(3))
def test_a_schedule_that_did_not_build_the_target_is_no_evidence(place):
    runs = [serial(), threads(), control()]
    runs[place] = run(runs[place].schedule, build(OTHER), build(OTHER, copy=1))
    found = judge(T, runs, facts())
    assert found.verdict == "inconclusive"
    assert found.reason == f"{runs[place].schedule} did not come to build it"


def test_unlike_inputs_cannot_be_compared():
    others = run("threads:2", build(), replace(build(copy=1), inputs="others"))
    found = judge(T, [serial(), others], facts())
    assert found.verdict == "inconclusive"
    assert "example arguments differ" in found.reason


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({**ENVIRONMENT, "cores": 4}, "cores is 2 in one worker and 4 in another"),
        (
            {**ENVIRONMENT, "variables": {"XLA_FLAGS": "--b"}},
            "variables is XLA_FLAGS=--a in one worker and --b",
        ),
        ({**ENVIRONMENT, "variables": {}}, "variables is XLA_FLAGS=--a in one worker and None"),
        ({**ENVIRONMENT, "device": "H100"}, "device is None in one worker and H100 in another"),
        ({"jax": "0.10.2", "variables": {"XLA_FLAGS": "--a"}}, "cores is 2 in one worker and None"),
        ({**ENVIRONMENT, "variables": {"XLA_FLAGS": "--a", "JAX_X": None}}, "variables is"),
    ],
)
def test_unlike_environments_cannot_be_compared(other, said):
    for runs in (
        [serial(), replace(threads(), environments=(ENVIRONMENT, other))],
        [serial(), threads(), replace(control(), environments=(other,))],
        [replace(serial(), environments=(ENVIRONMENT, other)), threads()],
    ):
        found = judge(T, runs, facts())
        assert found.verdict == "inconclusive"
        assert f"environments are unlike: {said}" in found.reason


def test_files_changed_meanwhile_are_named():
    found = judge(T, [serial(), threads({}, {"hlo": "x"})], facts(changed=["lib/a.py", "m.py"]))
    assert found.verdict == "inconclusive"
    assert found.reason.startswith("lib/a.py, m.py changed while it was built")
    assert found.differing == ()


def test_a_change_under_another_target_does_not_count():
    assert judge(T, [serial(), threads()], Facts((), {}, {OTHER: ["a.py"]})).verdict == "agree"


@pytest.mark.parametrize("form", ["raw", "canonical"])
@pytest.mark.parametrize("stage", ["jaxpr", "object", "output"])
def test_artifacts_that_cannot_be_read_back_are_no_evidence(form, stage):
    def of() -> Build:
        one = build(lacking=(stage,))
        made = Artifact.of(stage, [part("a", "a"), part("b", f"{stage} meant", raw=f"{stage} written")])
        return replace(one, artifacts=(*one.artifacts, made))

    lost = digest(f"{stage} {'written' if form == 'raw' else 'meant'}".encode())
    runs = [run("serial", of()), run("threads:2", of(), replace(of(), copy=1))]
    assert verdict(*runs) == "agree"
    found = judge(T, runs, facts(unreadable=[lost]))
    assert found.verdict == "inconclusive"
    assert found.reason == f"serial: its {stage} could not be read back from the store"
    assert not any(shown["stored"]["identical"] for shown in found.evidence["schedules"].values())


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


# -- what is reported ------------------------------------------------------------------------------


def test_the_evidence_has_the_shape_of_the_status_document():
    reference = run("serial", build(began=0, ended=4_000), build(OTHER, began=4_000, ended=10_000))
    challenger = run(
        "threads:2", build(OTHER, began=0, ended=4_000, hlo="z"), build(began=1_000, ended=5_000, object="x")
    )
    found = judge(T, [reference, challenger], facts())
    assert found.evidence == {
        "rounds": 1,
        "cohort": 2,
        "repeat_runs_equal": True,
        "rules": {},
        "named_by_type": 0,
        "schedules": {
            "serial": {
                "builds": 2,
                "peak_in_flight": 1,
                "peak_compiling": 1,
                "own_in_flight": 1,
                "own_compiling": 1,
                "locations_identical": True,
                "wall_s": 1e-5,
                "speed_up": 1.0,
                "identical_stages": list(STAGES),
                "differing_stages": [],
                "output_bitwise": True,
                "max_abs": 0.0,
                "affinity": [0, 1],
                "stored": {"artifacts": 8, "identical": True},
            },
            "threads:2": {
                "builds": 2,
                "peak_in_flight": 2,
                "peak_compiling": 2,
                "own_in_flight": 2,
                "own_compiling": 2,
                "locations_identical": True,
                "wall_s": 5e-6,
                "speed_up": 2.0,
                "identical_stages": [stage for stage in STAGES if stage != "object"],
                "differing_stages": ["object"],
                "output_bitwise": True,
                "max_abs": 0.0,
                "affinity": [0, 1],
                "stored": {"artifacts": 8, "identical": False},
            },
        },
    }
    assert json.loads(json.dumps(found.evidence)) == found.evidence


def test_every_stage_shows_a_digest_per_schedule():
    found = judge(T, [serial(), threads({}, {"llvm": "x"}), control()], facts())
    same = artifact("llvm").canonical
    assert list(found.stages) == list(STAGES)
    assert found.stages["llvm"] == {
        "serial": same, "threads:2": artifact("llvm", "x").canonical, "control": same,
    }  # fmt: skip
    assert set(found.stages["hlo"].values()) == {artifact("hlo").canonical}


def test_the_evidence_of_a_failure_claims_nothing():
    found = judge(T, [run("serial", failed()), threads()], facts())
    for shown in found.evidence["schedules"].values():
        assert shown["identical_stages"] == []
        assert shown["output_bitwise"] is False
        assert shown["max_abs"] is None
        assert shown["stored"]["identical"] is False


def test_the_evidence_of_nothing_is_empty():
    found = judge(T, [], facts())
    assert (found.evidence["cohort"], found.evidence["schedules"]) == (0, {})


def test_distances_are_those_of_the_schedule():
    deltas = [
        delta("threads:2", max_abs=1e-7),
        delta("threads:2", max_abs=3e-7),
        delta("control", max_abs=1.0),
    ]
    found = judge(
        T,
        [serial(), threads({}, {"output": "x"}), threads({}, {}, {}), control(output="y")],
        facts(deltas=deltas),
    )
    shown = {name: one["max_abs"] for name, one in found.evidence["schedules"].items()}
    assert shown == {"serial": 0.0, "threads:2": 3e-7, "threads:3": 0.0, "control": 1.0}
    assert found.evidence["schedules"]["threads:2"]["output_bitwise"] is False


def test_a_difference_in_machine_code_names_the_kernel():
    def of(kernel: str) -> Build:
        one = build(lacking=("object",))
        parts = [part("main_kernel.o", "same"), part("loop_kernel.o", kernel)]
        return replace(one, artifacts=(*one.artifacts, Artifact.of("object", parts)))

    found = judge(
        T, [run("serial", of("a")), run("threads:2", of("a"), of("b")), run("control", of("a"))], facts()
    )
    assert found.cause["kernel"] == "loop_kernel"
    assert "loop_kernel" in found.cause["text"]
    assert "main_kernel" not in found.cause["text"]
    assert set(found.cause) == set(cause_of({}, "object")), (
        "the same fields, before and after it is looked into"
    )


@pytest.mark.parametrize(
    ("controls", "kind"),
    [([], "unknown"), ([control()], "schedule"), ([control(hlo="y")], "process")],
    ids=["no control", "the control agrees", "the control differs"],
)
def test_the_control_tells_schedule_from_process(controls, kind):
    found = judge(T, [serial(), threads({}, {"hlo": "x"}), *controls], facts())
    assert found.cause["kind"] == kind
    assert found.cause["kernel"] is None  # HLO has no kernels
    assert found.cause["text"].startswith("hlo differs in hlo; ")


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("0.obj-file.wrapped_add_kernel_module.o", "wrapped_add"),
        ("obj-file.loop.12_kernel_module.o", "loop.12"),
        ("ptx", None),
    ],
)
def test_a_kernel_has_one_name(name, kernel):
    def of(salt: str) -> Build:
        one = build(lacking=("object",))
        return replace(one, artifacts=(*one.artifacts, Artifact.of("object", [part(name, salt)])))

    found = judge(T, [run("serial", of("a")), run("threads:2", of("a"), of("b"))], facts())
    assert found.cause["kernel"] == kernel_of("object", name) == kernel
    assert (kernel or name) in found.cause["text"]


def test_many_pieces_are_counted_not_listed():
    def of(salt: str) -> Build:
        one = build(lacking=("object",))
        parts = [part(f"kernel_{n}.o", f"{n} {salt}") for n in range(9)]
        return replace(one, artifacts=(*one.artifacts, Artifact.of("object", parts)))

    found = judge(T, [run("serial", of("a")), run("threads:2", of("a"), of("b"))], facts())
    assert "kernel_0" in found.cause["text"]
    assert "more" in found.cause["text"]
    assert "kernel_8" not in found.cause["text"]


# -- speed-up --------------------------------------------------------------------------------------


def test_speed_up_counts_every_copy():
    reference = run("serial", build(began=0, ended=6), build(OTHER, began=6, ended=10))
    assert speed_up(reference, reference) == 1.0
    assert (
        speed_up(run("threads:2", build(began=0, ended=5), build(OTHER, began=0, ended=4)), reference) == 2.0
    )
    copies = [build(copy=copy, began=copy, ended=8) for copy in range(4)]
    assert speed_up(run("threads:4", *copies), reference) == 3.0


@pytest.mark.parametrize(
    "challenger",
    [run("threads:2"), run("threads:2", build(), failed()), run("threads:2", build(), build("m.py:h"))],
    ids=["nothing built", "something failed", "not in the reference"],
)
def test_no_speed_up_where_something_was_not_built(challenger):
    assert speed_up(challenger, serial()) is None


def test_no_speed_up_over_a_reference_that_failed():
    assert speed_up(threads(), run("serial", failed())) is None


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
