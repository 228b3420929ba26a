"""The catalogue of causes: for each a model in models/, and what must come out of it.

Every row is checked by the real command. Rows of one project are built together, since what comes of them
does not depend on neighbours; rows that depend on an order or on a thread have projects to themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

STRICT = "tolerate = []"
COMPILED = {"llvm", "object"}  # jax 0.12 writes down no LLVM IR
ANY_COMPILED = {*COMPILED, "executable"}  # where one layout of two comes out again, only numbers in it differ

# How JAX's own threads put arguments on the device shows in the next loop's code, on jax 0.12: one of two
# layouts, by chance, for all of a process.
BY_LUCK = {"compile-order", "thread", "random"}

# Where an object lies may change with the layout of a process, or from fork to fork.
BY_ADDRESS = {"memory-layout", "random"}


class Row(NamedTuple):
    """More than one verdict, stage or kind is given only where each of them truly happens."""

    cause: str
    target: str
    verdict: str | set[str]
    first: str | set[str] | None = None
    kind: str | set[str] | None = None
    project: str | None = None
    """Rows of one name are built together; without a name, the model's own targets are."""
    settings: str = ""
    through: tuple[str, str] | None = None
    """Of a row that agrees: the difference that was there, as a stage and the rule that takes it away."""


# fmt: off
ROWS = {
    "1": Row("thread-local configuration lost in the pool", "thread_config.py:interpolated",
             "diverged", "jaxpr", "thread"),
    "3": Row("set order under another hash seed", "set_order.py:features",
             "unstable", "jaxpr", "hash-seed", project="unsound"),
    "4": Row("ordered effects in the order of addresses", "effect_order.py:exchanged",
             "unstable", "stablehlo", BY_ADDRESS, project="unsound"),
    "4-two": Row("the same with two effects, by luck", "effect_order.py:logged",
             {"unstable", "agree"}, {"stablehlo", None}, {*BY_ADDRESS, "hash-seed", None}, project="unsound"),
    "5": Row("array constant drawn at trace time", "drawn_constant.py:noisy",
             "unstable", "jaxpr", "random", project="unsound"),
    "6-hash": Row("scalar constant from hash()", "scalar_constants.py:bucket",
             "unstable", "jaxpr", "hash-seed", project="unsound"),
    "6-time": Row("scalar constant from the clock", "scalar_constants.py:stamp",
             "unstable", "jaxpr", "random", project="unsound"),
    "6-id": Row("scalar constant from id()", "scalar_constants.py:address",
             "unstable", "jaxpr", BY_ADDRESS, project="unsound"),
    "7": Row("mutable counter shared by targets", "shared_counter.py:large",
             "diverged", "jaxpr", "order"),
    "10": Row("compile order inside XLA", "loop.py:decode",
             "equivalent", COMPILED, "compile-order"),
    "10-strict": Row("the same where nothing is tolerated", "loop.py:decode",
             "diverged", COMPILED, "compile-order", settings=STRICT),
    "10-beside": Row("its neighbour, which has no loop", "loop.py:table",
             "agree"),
    "10-threads": Row("the same, after arguments were made", "loop_arguments.py:accumulate",
             "equivalent", ANY_COMPILED, BY_LUCK),
    "11": Row("order of object files", "kernels.py:several",
             "agree", project="sound", through=("executable", "object-order")),
    "12": Row("module ids", "kernels.py:attention",
             "agree", project="sound", through=("executable", "module-id")),
    "13": Row("caller's stack in locations", "call_sites.py:once",
             "agree", project="sound", through=("locations", "")),
    "14": Row("scope names from a counter", "scope_names.py:small",
             "agree", project="sound", through=("locations", "")),
    "14-inner": Row("scope names of whoever traced an inner function first", "inner_names.py:shuffled",
             {"agree", "equivalent"}, {*ANY_COMPILED, None}, {*BY_LUCK, None}),
    "16": Row("choice by timing", "stopwatch.py:tuned",
             {"unstable", "diverged"}, "jaxpr", {"random", "race"}, project="unsound"),
    "17": Row("nondeterministic run of one executable", "random_run.py:sampled",
             "unstable", "output", "run", project="unsound"),
    "18": Row("callbacks' identities", "callbacks.py:through_function",
             "agree", project="sound"),
    "18-method": Row("the same for a method", "callbacks.py:through_method",
             "agree", project="sound"),
    "19": Row("static arguments with a wrong __eq__", "loose_equality.py:widest",
             "diverged", "jaxpr", "order"),
}
# fmt: on

BY_CHANCE = {"4-two", "10-threads", "16"}
EACH = [
    pytest.param(row, id=name, marks=pytest.mark.chance if name in BY_CHANCE else ())
    for name, row in ROWS.items()
]


def among(outcome):
    """The values that are allowed."""
    return outcome if isinstance(outcome, set) else {outcome}


@pytest.fixture(scope="module")
def come_out(lay_out, found):
    """What a row's target came to. A project is checked once, when its first row is asked for."""
    checked = {}

    def look(row):
        key = (row.project or row.target.partition(":")[0], row.settings)
        if key not in checked:
            rows = [one for one in ROWS.values() if one.project == row.project is not None] or [row]
            models = dict.fromkeys(one.target.partition(":")[0] for one in rows)
            checked[key] = found(lay_out(*models, settings=row.settings))
        return checked[key][row.target]

    return look


@pytest.mark.parametrize("row", EACH)
def test_verdict(row, come_out):
    target = come_out(row)
    assert target["verdict"] in among(row.verdict), target["reason"]
    assert target["first_stage"] in among(row.first), target["reason"]
    assert target["fresh"]
    assert target["evidence"]["schedules"]["threads:2"]["peak_in_flight"] == 2
    if target["verdict"] != "agree":
        assert "control" in target["evidence"]["schedules"]
    if target["first_stage"] in ANY_COMPILED | {None}:
        assert target["output"]["bitwise"]


@pytest.mark.parametrize("row", EACH)
def test_cause(row, come_out, assert_cause):
    assert_cause(come_out(row), among(row.kind))


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items() if row.through])
def test_agrees_although_something_differs(row, come_out):
    evidence = come_out(row)["evidence"]
    stage, rule = row.through
    if stage == "locations":
        assert not evidence["schedules"]["threads:2"]["locations_identical"]
    else:
        assert rule in evidence["rules"][stage]


def test_a_loop_is_not_a_matter_of_the_program(come_out):
    target = come_out(ROWS["10"])
    threads = target["evidence"]["schedules"]["threads:2"]
    assert {"jaxpr", "stablehlo", "hlo", "output"} <= set(threads["identical_stages"])
    assert "object" in threads["differing_stages"]
    assert target["evidence"]["schedules"]["control"]["differing_stages"] == []


@pytest.fixture(scope="module")
def raced(lay_out, found):
    """What came of row 2. Whichever is traced second takes its settings from the other: one of the two."""
    return found(lay_out("raced_global.py")).values()


@pytest.mark.chance
def test_a_raced_global(raced):
    assert sorted(one["verdict"] for one in raced) == ["agree", "diverged"]
    assert {one["first_stage"] for one in raced} == {None, "jaxpr"}


@pytest.mark.chance
def test_the_cause_of_a_raced_global(raced, assert_cause):
    for one in raced:
        assert_cause(one, {"race"} if one["verdict"] == "diverged" else {None})
