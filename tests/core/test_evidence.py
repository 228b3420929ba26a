"""Evidence: what is told of the runs behind a verdict, of its cause, and of how much faster they were."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from runs import OTHER, T, artifact, build, control, delta, facts, failed, part, run, serial, threads

from pcvd.core.builds import STAGES, Artifact, Build
from pcvd.core.case import kernel_of
from pcvd.core.cause import cause_of
from pcvd.core.compare import judge
from pcvd.core.evidence import speed_up

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
