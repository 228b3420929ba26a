"""The verdict where something is absent, and what stands in the way of any verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest
from runs import (
    ENVIRONMENT,
    FAILURE,
    OTHER,
    T,
    build,
    control,
    facts,
    failed,
    part,
    run,
    serial,
    threads,
    verdict,
)

from pcvd.core.builds import REQUIRED_STAGES, STAGES, Artifact, Build
from pcvd.core.compare import judge
from pcvd.core.evidence import Facts
from pcvd.core.model import digest

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
