"""Comparison kernel by kernel: what makes a verdict, what is only told, and what is no evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pcvd.core.builds import LINKED, STAGES, Artifact, Build, Kernel, Part, Run
from pcvd.core.compare import judge
from pcvd.core.evidence import Facts
from pcvd.core.model import Failure, OutputDelta, digest
from pcvd.core.partition import leaves, lonely
from pcvd.core.succession import puzzling

T = "m.py:f"
FACTS = Facts(("llvm", "object", "executable"), {}, {}, partition="auto")
A, B = Kernel("kernel_a", "a", "block", "m.py", 7, 24), Kernel("kernel_b", "b", "", "m.py", 9, 1)
ALL = Kernel(LINKED, uses=25)


def artifact(stage, text="same"):
    return Artifact.of(stage, [Part(stage, digest(text.encode()), digest(text.encode()), 9)])


def build(kernel=None, copy=0, began=0, failure=None, repeats=None, **texts):
    """A build whose stages hold the given texts; of a target in one piece, of a kernel, or linked."""
    stages = ("output",) if kernel is ALL else STAGES if kernel is None else STAGES[:-1]
    made = () if failure else tuple(artifact(stage, texts.get(stage, "same")) for stage in stages)
    compiling = 0 if kernel is ALL or failure else began + 1
    ended = 0 if failure else began + 10
    return Build(T, copy, 1, "main", began, began + 1, ended, "in", made, failure, repeats, compiling, kernel)


def apart(*kernels):
    """Kernels that are built one after another."""
    starts = [20 * place for place, _ in enumerate(kernels)]
    return tuple(
        replace(one, began_ns=start, compiling_ns=one.compiling_ns and start + 1, ended_ns=start + 10)
        for start, one in zip(starts, kernels, strict=True)
    )


def run(schedule, *kernels, **texts):
    """A run of one target, in one piece and by these kernels, all of them at once; serially one by one."""
    kernels = kernels or (build(A), build(B), build(ALL, repeats=True))
    if schedule in {"serial", "control"}:
        kernels = apart(*kernels)
    copies = 2 if schedule == "threads:2" else 1
    wholes = tuple(replace(build(**texts), copy=copy, repeats=True) for copy in range(copies))
    every = tuple(replace(one, copy=whole.copy) for whole in wholes for one in kernels)
    return Run(schedule, (T,) * len(wholes), wholes, "zygote", 1, (0,), ({"jax": "1"},), kernels=every)


def judged(*runs, facts=FACTS):
    return judge(T, runs, facts)


def test_equal_kernels_agree_and_are_counted():
    found = judged(run("serial"), run("threads:2"))
    assert (found.verdict, found.kernels["verdict"]) == ("agree", "agree")
    assert (found.kernels["kernels"], found.kernels["steps"]) == (2, 25)
    assert found.kernels["schedules"]["threads:2"] == {"builds": 4, "peak_in_flight": 4}
    assert found.kernels["linked"]["against_whole"]["bitwise"] is True


def test_without_a_policy_nothing_is_told_of_kernels():
    assert judged(run("serial"), run("threads:2"), facts=replace(FACTS, partition="whole")).kernels is None


@pytest.mark.parametrize(
    ("stage", "verdict"), [("object", "equivalent"), ("hlo", "diverged"), ("stablehlo", "diverged")]
)
def test_a_kernel_that_differs_makes_the_verdict_by_the_same_rules(stage, verdict):
    other = run("threads:2", build(A), build(B, **{stage: "other"}), build(ALL))
    found = judged(run("serial"), other, run("control"))
    assert (found.verdict, found.first_stage, found.differing) == (verdict, stage, (stage,))
    (told,) = found.kernels["differing"]
    assert (told["name"], told["file"], told["line"], told["stages"]) == ("kernel_b", "m.py", 9, [stage])
    assert told["runs"] == {"threads:2": [stage]}
    assert found.output["bitwise"] is True
    assert (found.cause["kind"], found.cause["kernel"], found.cause["line"]) == ("kernel", "kernel_b", 9)
    assert not puzzling(found)
    assert found.evidence["schedules"]["threads:2"]["differing_stages"] == [stage]
    assert stage not in found.evidence["schedules"]["threads:2"]["identical_stages"]


def test_a_control_that_differs_as_well_makes_it_unstable():
    other = (build(A), build(B, hlo="other"), build(ALL))
    assert judged(run("serial"), run("threads:2", *other), run("control", *other)).verdict == "unstable"


@pytest.mark.parametrize(("extra", "only"), [("serial", "serial"), ("threads:2", "others")])
def test_a_kernel_that_one_side_alone_has_is_a_difference(extra, only):
    few = (build(A), build(ALL))
    runs = [run(name) if name == extra else run(name, *few) for name in ("serial", "threads:2")]
    found = judged(*runs)
    assert (found.verdict, found.first_stage) == ("diverged", "jaxpr")
    (told,) = found.kernels["differing"]
    assert (told["name"], told["only"]) == ("kernel_b", only)


def test_linked_programs_must_give_the_same_bits_whatever_is_tolerated_elsewhere():
    other = run("threads:2", build(A), build(B), build(ALL, output="other"))
    for tolerate in ((), STAGES):
        found = judged(run("serial"), other, facts=replace(FACTS, tolerate=tolerate))
        assert (found.verdict, found.first_stage) == ("diverged", "output")
    assert found.kernels["linked"]["bitwise"] is False


def test_a_linked_program_that_does_not_repeat_itself_is_unstable():
    unsteady = (build(A), build(B), build(ALL, repeats=False))
    assert judged(run("serial", *unsteady), run("threads:2")).verdict == "unstable"


def test_a_kernel_that_fails_is_told_and_leaves_the_verdict_on_the_whole():
    failure = Failure("compile", "kernel_b: no", "m.py", 9, "do otherwise")
    found = judged(run("serial", build(A), build(B, failure=failure)), run("threads:2"))
    assert (found.verdict, found.failure) == ("agree", None)
    assert (found.kernels["verdict"], found.kernels["reason"]) == ("inconclusive", "m.py:9: kernel_b: no")
    assert found.kernels["failure"]["hint"] == "do otherwise"
    assert found.kernels["linked"] is None


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (replace(run("threads:2"), kernels=()), "did not come to build"),
        (replace(run("threads:2"), kernels=run("threads:2").kernels[:3]), "did not come to build"),
        (replace(run("threads:2"), kernels=apart(*run("threads:2").kernels)), "at once"),
        (run("threads:2", build(A), replace(build(B), artifacts=()), build(ALL)), "kernel_b: no stablehlo"),
        (run("threads:2", build(A), build(B)), "did not come to link"),
    ],
)  # fmt: skip
def test_what_was_not_compared_is_not_agreement(other, reason):
    found = judged(run("serial"), other)
    assert found.verdict == ("agree" if reason == "at once" else "inconclusive")
    assert found.kernels["verdict"] == "inconclusive"
    assert reason in found.kernels["reason"]


def test_an_artifact_that_cannot_be_read_back_is_no_evidence():
    facts = replace(FACTS, unreadable=frozenset({digest(b"odd")}))
    odd = (build(A, hlo="odd"), build(B), build(ALL))
    found = judged(run("serial", *odd), run("threads:2", *odd), facts=facts)
    assert "could not be read back" in found.kernels["reason"]


NEAR = [run(name, build(A), build(B), build(ALL, output="near")) for name in ("serial", "threads:2")]


def distance(within):
    return OutputDelta(LINKED, "output", "f32[1]", False, 1e-7, 1e-6, 2.0, within_tolerance=within)


def test_how_far_the_linked_program_is_from_the_whole_one_is_told():
    ((mine, theirs),) = leaves(T, NEAR[0])
    assert (mine.canonical, theirs.canonical) == (digest(b"same"), digest(b"near"))
    found = judged(*NEAR, facts=replace(FACTS, linked={T: [distance(within=True)]}))
    assert (found.verdict, found.reason) == ("agree", None)
    assert found.kernels["linked"]["against_whole"] == {
        "bitwise": False, "max_abs": 1e-7, "max_rel": 1e-6, "max_ulps": 2.0, "within_tolerance": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("deltas", "said"), [([distance(within=False)], "is 1e-07 apart, beyond"), ([], "how far is not known")]
)
def test_beyond_tolerance_it_is_another_program_and_no_agreement(deltas, said):
    facts = replace(FACTS, linked={T: deltas})
    found = judged(*NEAR, facts=facts)
    assert (found.verdict, found.kernels["verdict"]) == ("inconclusive", "agree")
    assert said in found.reason
    assert found.kernels["linked"]["against_whole"]["within_tolerance"] is False
    other = run("threads:2", build(A), build(B, hlo="other"), build(ALL, output="near"))
    assert judged(NEAR[0], other, facts=facts).verdict == "diverged"


def test_kernels_that_nothing_overlapped_are_built_again():
    assert not lonely(T, run("threads:2"))
    assert not lonely(T, run("serial"))
    single = replace(run("threads:2"), kernels=apart(build(A), build(B), build(ALL)))
    assert lonely(T, single)
    failed = replace(single, kernels=(*single.kernels, build(A, failure=Failure("compile", "no"))))
    assert not lonely(T, failed)
