"""Attribution: which cause the counts of variations speak for, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pcvd.core import cause
from pcvd.core.builds import STAGES, Artifact, Build, Part
from pcvd.core.cause import RACE, Finding, is_plain
from pcvd.core.model import Failure, digest
from pcvd.core.variation import BETWEEN


def build(failure: Failure | None = None, lacking: tuple[str, ...] = (), **salts: str) -> Build:
    artifacts = tuple(
        Artifact.of(stage, [Part(stage, (text := digest(salts.get(stage, "").encode())), text, 1)])
        for stage in STAGES
        if stage not in lacking
    )
    return Build("m.py:f", 0, 1, "main", 0, 1, 2, "in", artifacts, failure)


REFERENCE = build()


def found(**counts: tuple[int, int]) -> dict[str, Finding]:
    """Findings by variation, as (differing, built); all others were tried once and flipped nothing."""
    named = {name.replace("_", "-"): pair for name, pair in counts.items()}
    tried = {one.name: named.get(one.name, (0, 1)) for one in BETWEEN} | named
    return {
        name: Finding(name, Finding.none(name).how, built, differs)
        for name, (differs, built) in tried.items()
    }


@pytest.mark.parametrize(
    ("counts", "traced", "compiled"),
    [
        ({"order": (5, 5)}, "order", "compile-order"),
        ({"thread": (5, 5)}, "thread", "thread"),
        ({"hash_seed": (5, 5)}, "hash-seed", "hash-seed"),
        ({"memory_layout": (5, 5), "hash_seed": (5, 5)}, "memory-layout", "memory-layout"),
        ({"neighbours": (5, 5)}, "neighbours", "neighbours"),
        ({"race": (2, 6)}, "race", "race"),
        ({"process": (5, 5), "order": (5, 5), "hash_seed": (5, 5), "race": (6, 6)}, "random", "random"),
        ({"order": (5, 5), "hash_seed": (5, 5), "memory_layout": (5, 5)}, "memory-layout", "compile-order"),
        ({"process": (1, 5), "order": (5, 5)}, "order", "compile-order"),
        ({"process": (2, 5), "order": (3, 5), "race": (3, 6)}, "random", "random"),
        ({"order": (1, 5)}, "order", "compile-order"),
        ({"after_itself": (5, 5), "race": (6, 6)}, "after-itself", "compile-order"),
        ({"after_itself": (5, 5), "order": (5, 5)}, "order", "compile-order"),
        # What flips once in a while is not what flips each time that builds overlap.
        ({"process": (0, 5), "order": (1, 5), "race": (6, 6)}, "race", "race"),
        ({"process": (1, 5), "thread": (1, 5), "race": (6, 6)}, "race", "race"),
        ({"order": (1, 5), "race": (3, 6)}, "race", "race"),
        ({"order": (3, 5), "race": (2, 6)}, "order", "compile-order"),
        ({"thread": (5, 5), "race": (6, 6)}, "thread", "thread"),
        ({}, "unknown", "unknown"),
    ],
)
def test_the_kind_of_cause_that_counts_speak_for(counts, traced, compiled):
    findings = found(**counts)
    assert cause.kind(findings, "jaxpr") == cause.kind(findings, "stablehlo") == traced
    assert cause.kind(findings, "llvm") == cause.kind(findings, "hlo") == compiled


def test_builds_are_counted_up_to_the_stage_that_matters():
    one = Finding.none("order").plus(REFERENCE, [build(object="x"), build(), build(output="y")], "object")
    assert (one.builds, one.differs, one.first_stage) == (3, 1, "object")
    more = one.plus(REFERENCE, [build(hlo="z")], "object")
    assert (more.builds, more.differs, more.first_stage) == (4, 2, "hlo")


def test_what_may_differ_on_the_way_is_no_evidence():
    builds = [build(object="x"), build(object="x", output="y")]
    one = Finding.none("order").plus(REFERENCE, builds, "output", ("llvm", "object"))
    assert (one.builds, one.differs, one.first_stage) == (2, 1, "output")
    assert cause.first_difference(REFERENCE, builds[0], "object", ("object",)) == "object"


def test_what_could_not_be_tried_is_told_until_it_could():
    one = replace(Finding.none("memory-layout"), untried="no zygote")
    told = cause.cause_of({"memory-layout": one}, "jaxpr")
    assert told["remarks"] == ["memory-layout could not be tried: no zygote"]
    assert told["evidence"][0]["untried"] == "no zygote"
    assert one.plus(REFERENCE, [build()], "jaxpr").untried is None


def test_a_build_that_failed_is_neither_evidence_for_nor_against():
    failed = build(Failure("crash", "it died"))
    one = Finding.none("thread").plus(REFERENCE, [failed, build()], "output")
    assert (one.builds, one.differs, one.failed) == (1, 0, 1)
    assert cause.cause_of({"thread": one}, "jaxpr")["remarks"] == ["1 build on a pool's thread failed"]


def test_a_stage_that_only_one_side_has_differs():
    assert cause.first_difference(REFERENCE, build(lacking=("llvm",)), "output") == "llvm"
    assert cause.first_difference(REFERENCE, build(lacking=("llvm",)), "hlo") is None


def test_the_sentence_says_what_flips_and_what_does_not():
    told = cause.cause_of(found(order=(5, 5), process=(0, 5), race=(2, 2)), "object")
    assert told["text"] == (
        "XLA's result depends on what its process has compiled before: object differs in 5 of 5 builds"
        " in another order, in 2 of 2 that overlapped others, in 0 of 5 with nothing changed but the process"
    )
    assert told["headline"] == "XLA's result depends on what its process has compiled before"
    assert "XLA's doing" in told["hint"]
    assert {one["variation"] for one in told["evidence"]} == {*(one.name for one in BETWEEN), RACE}


@pytest.mark.parametrize("stage", ["jaxpr", "stablehlo"])
@pytest.mark.parametrize(
    "kind", ["order", "after_itself", "thread", "hash_seed", "memory_layout", "process", "race"]
)
def test_what_the_model_does_has_advice_that_does_not_blame_the_compiler(stage, kind):
    told = cause.cause_of(found(**{kind: (1, 1)}), stage)
    assert told["hint"]
    assert "XLA" not in told["text"] + told["hint"]


def test_without_any_build_nothing_is_claimed():
    told = cause.cause_of({}, "llvm")
    assert told["kind"] == "unknown"
    assert told["text"] == told["headline"]
    assert told["evidence"] == told["remarks"] == []
    assert {told[name] for name in ("kernel", "pass", "file", "line", "place", "workaround")} == {None}


@pytest.mark.parametrize(
    ("counts", "settled"),
    [
        ({"process": (0, 5), "order": (5, 5)}, True),
        ({"process": (0, 2), "order": (2, 2)}, True),
        ({"process": (0, 1), "order": (1, 1)}, False),  # a coin may do that
        ({"process": (1, 2), "order": (2, 2)}, True),  # it differs by itself, and that is all that is said
        ({"process": (1, 2)}, True),
        ({"order": (1, 5)}, False),
        ({"process": (0, 5), "hash_seed": (2, 5)}, False),
        ({"process": (0, 10), "hash_seed": (5, 10)}, True),
        ({"race": (1, 3)}, False),
        ({"process": (0, 5), "race": (6, 6)}, True),
        ({}, True),
    ],
)
@pytest.mark.parametrize("stage", ["jaxpr", "object"])
def test_what_few_builds_say_is_said_to_be_unsettled(counts, settled, stage):
    findings = found(**counts)
    assert cause.is_settled(findings, stage) is settled
    headline = cause.cause_of(findings, stage)["headline"]
    assert headline.startswith("perhaps ") is not settled


@pytest.mark.parametrize(
    "counts", [{"process": (1, 2), "order": (2, 2)}, {"process": (1, 3), "race": (3, 3)}]
)
def test_what_differs_by_itself_is_blamed_on_nothing_else_by_chance(counts):
    assert cause.kind(found(**counts), "object") == "random"


def test_what_callbacks_give_is_not_blamed_on_the_compiler():
    told = cause.cause_of(found(order=(5, 5), process=(0, 5)), "output", cause.CALLS)
    assert told["kind"] == "order"
    assert "callbacks" in told["headline"]
    assert "callback" in told["hint"]


@pytest.mark.parametrize("stage", ["hlo", "object", "output"])
def test_where_the_programs_are_unlike_the_compiler_is_not_blamed(stage):
    told = cause.cause_of(found(process=(5, 5)), stage, cause.OTHER)
    assert "XLA" not in told["text"] + told["hint"]


def plain(stage: str, *untried: str, **counts: tuple[int, int]) -> bool:
    """Whether nothing more has to be tried after these findings, as (differing, built)."""
    named = {name.replace("_", "-"): pair for name, pair in counts.items()}
    tried = {
        name: Finding(name, Finding.none(name).how, built, differs)
        for name, (differs, built) in named.items()
    }
    return is_plain(tried, stage, untried)


def test_nothing_more_has_to_be_tried_once_one_flips_each_build_and_nothing_changed_none():
    assert plain("object", "thread", "neighbours", process=(0, 2), order=(2, 2))
    assert not plain("object", "thread", process=(0, 2), order=(1, 2))  # now and then
    assert not plain("object", "thread", process=(1, 2), order=(2, 2))  # so may nothing changed
    assert not plain("object", "thread", order=(2, 2))  # there is nothing to hold it against
    assert not plain("object", "thread", process=(0, 2), order=(0, 2))
    assert not plain("object", "thread", process=(0, 2), order=(0, 2), race=(2, 2))


def test_what_would_be_named_instead_has_to_be_tried_first():
    # The control has tried the hash seed, which is the least likely cause where machine code differs.
    assert not plain("object", "thread", "memory-layout", process=(0, 1), order=(0, 1), hash_seed=(1, 1))
    assert plain("jaxpr", "order", "thread", process=(0, 1), memory_layout=(0, 1), hash_seed=(1, 1))
    # Targets that differ at other stages are looked into together.
    assert not plain("object", "order", process=(0, 1), memory_layout=(1, 1))


def test_what_differs_each_time_by_itself_needs_no_further_variation():
    assert plain("jaxpr", "order", "thread", process=(2, 2), memory_layout=(1, 1))
    assert not plain("jaxpr", "order", "thread", process=(1, 2), memory_layout=(1, 1))
