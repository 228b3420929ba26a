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


# What XLA:CPU does to loops, and how to keep it from doing so.
HOISTING = "small-while-loop-hoisting"


class Row(NamedTuple):
    """More than one verdict, stage, kind or line is given only where each of them truly happens."""

    cause: str
    target: str
    verdict: str | set[str]
    first: str | set[str] | None = None
    kind: str | set[str] | None = None
    at: str | set[str] | None = None
    """Of a cause that has a place: what stands in that line of the model."""
    kernel: str | None = None
    flag: str | None = None
    """The compiler pass that makes the difference."""
    project: str | None = None
    """Rows of one name are built together; without a name, the model's own targets are. Of those that differ,
    four are followed to a place."""
    settings: str = ""
    through: tuple[str, str] | None = None
    """Of a row that agrees: the difference that was there, as a stage and the rule that takes it away."""


# fmt: off
ROWS = {
    "1": Row("thread-local configuration lost in the pool", "thread_config.py:interpolated",
             "diverged", "jaxpr", "thread", "jnp.linspace"),
    "3": Row("set order under another hash seed", "set_order.py:features",
             "unstable", "jaxpr", "hash-seed", "WEIGHTS[name] + 1", project="numbers"),
    "4": Row("ordered effects in the order of addresses", "effect_order.py:exchanged",
             "unstable", "stablehlo", BY_ADDRESS, "send.bind", project="effects"),
    "4-two": Row("the same with two effects, by luck", "effect_order.py:logged",
             {"unstable", "agree"}, {"stablehlo", None}, {*BY_ADDRESS, "hash-seed", None},
             {"jax.debug.print", "return io_callback"}, project="effects"),
    "5": Row("array constant drawn at trace time", "drawn_constant.py:noisy",
             "unstable", "jaxpr", "random", "np.random.rand", project="effects"),
    "6-hash": Row("scalar constant from hash()", "scalar_constants.py:bucket",
             "unstable", "jaxpr", "hash-seed", 'hash("bucket")', project="numbers"),
    "6-time": Row("scalar constant from the clock", "scalar_constants.py:stamp",
             "unstable", "jaxpr", "random", "time.time_ns()", project="numbers"),
    "6-id": Row("scalar constant from id()", "scalar_constants.py:address",
             "unstable", "jaxpr", BY_ADDRESS, "id(owner)", project="numbers"),
    "7": Row("mutable counter shared by targets", "shared_counter.py:large",
             "diverged", "jaxpr", "order", "x / next(depth)"),
    "7-own": Row("mutable counter of its own", "own_counter.py:deepening",
             "diverged", "jaxpr", "after-itself", "x / next(depth)"),
    "10": Row("compile order inside XLA", "loop.py:decode",
             "equivalent", COMPILED, "compile-order", "lax.while_loop", "call.1_computation", HOISTING),
    "10-strict": Row("the same where nothing is tolerated", "loop.py:decode",
             "diverged", COMPILED, "compile-order", "lax.while_loop", "call.1_computation", HOISTING,
             settings=STRICT),
    "10-beside": Row("its neighbour, which has no loop", "loop.py:table",
             "agree"),
    "10-threads": Row("the same, after arguments were made", "loop_arguments.py:accumulate",
             "equivalent", ANY_COMPILED, BY_LUCK, "lax.scan"),
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
             {"unstable", "diverged"}, "jaxpr", {"random", "race"}, {"return x * w", "return w * x"},
             project="effects"),
    "17": Row("nondeterministic run of one executable", "random_run.py:sampled",
             "unstable", "output", "run", project="effects"),
    "17-loop": Row("the same behind a loop, which XLA gives other code", "random_loop.py:sampled",
             "unstable", {*ANY_COMPILED, "output"}, "run"),
    "18": Row("callbacks' identities", "callbacks.py:through_function",
             "agree", project="sound"),
    "18-method": Row("the same for a method", "callbacks.py:through_method",
             "agree", project="sound"),
    "19": Row("static arguments with a wrong __eq__", "loose_equality.py:widest",
             "diverged", "jaxpr", "order", "x * config.width"),
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
    if "output" not in target["differing"] and target["first_stage"] in ANY_COMPILED | {None}:
        assert target["output"]["bitwise"]


@pytest.mark.parametrize("row", EACH)
def test_cause(row, come_out, assert_cause):
    target = come_out(row)
    assert_cause(target, among(row.kind))
    assert (target["cause"] is None) == (target["verdict"] == "agree")


PLACED = [
    pytest.param(row, id=name, marks=pytest.mark.chance if name in BY_CHANCE else ())
    for name, row in ROWS.items()
    if row.at
]


@pytest.mark.parametrize("row", PLACED)
def test_place(row, come_out, line_of):
    cause = come_out(row)["cause"]
    if cause is None or cause["stage"] == "executable":  # by luck; and all of a module has no line
        assert row.target in {ROWS[name].target for name in BY_CHANCE}
        return
    file = row.target.partition(":")[0]
    assert cause["file"] == file
    assert cause["line"] in {line_of(file, text) for text in among(row.at)}, cause["place"]
    assert cause["place"].startswith(f"{file}:{cause['line']}")


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items() if row.flag])
def test_the_kernel_the_pass_and_the_way_out(row, come_out):
    cause = come_out(row)["cause"]
    assert (cause["kernel"], cause["pass"]) == (row.kernel, row.flag), cause["remarks"]
    assert cause["workaround"] == f"XLA_FLAGS=--xla_disable_hlo_passes={row.flag}"


@pytest.mark.parametrize("row", EACH)
def test_only_what_is_proved_is_offered(row, come_out):
    cause = come_out(row)["cause"] or {}
    assert (cause.get("pass") is None) == (cause.get("workaround") is None)


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
def test_the_cause_of_a_raced_global(raced, assert_cause, line_of):
    for one in raced:
        assert_cause(one, {"race"} if one["verdict"] == "diverged" else {None})
        if one["cause"]:
            line = line_of("raced_global.py", 'x * settings["scale"]')
            assert (one["cause"]["file"], one["cause"]["line"]) == ("raced_global.py", line)
