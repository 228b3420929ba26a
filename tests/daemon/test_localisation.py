"""Places of differences, with builders that only pretend: what is proved, what is suspected, and where."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from pcvd.builders.protocol import Order
from pcvd.core.canonical import Context, canonicalize
from pcvd.core.chance import Tally
from pcvd.core.model import Failure, TargetSpec
from pcvd.core.schedule import SERIAL, Schedule
from pcvd.localisation import Rebuilds, Scene, locate

SPEC = TargetSpec("models/loop.py:fori")
KERNEL = "obj-file.call_computation_kernel_module.o"
RIGHT = Schedule("threads", 1)
DUMPS = {
    path.name: path.read_text()
    for path in (Path(__file__).parents[1] / "core" / "data" / "jax-0.10").glob("*.txt")
}
ALWAYS = Tally(5, 5)


def is_right(order):
    return order.schedule == RIGHT


@pytest.fixture
def located(fake):
    """What `locate` finds between two ways to build a target of which `makes` tells the artifacts."""

    def find(makes, stage, seen=ALWAYS):
        builders = fake(makes)

        async def work():
            orders = [Order.of([SPEC], schedule, 0) for schedule in (SERIAL, RIGHT)]
            left, right = [(await builders.carry_out(order)).run.builds[0] for order in orders]
            builders.orders.clear()
            scene = Scene(SPEC.entry, stage, *orders, left, right, seen)
            return await locate(Rebuilds(builders), builders.blobs, "/project", scene)

        found = asyncio.run(work())
        return found, builders

    return find


def hoisting(chance=None, guilty="small-while-loop-hoisting", needed=()):
    """A compiler whose pass `guilty` makes the right side's kernel another one; with `chance`, it comes out
    otherwise now and then by itself, whatever is left out.
    """

    def makes(order, place):
        if set(order.manner.without) & set(needed):
            return Failure("compile", "the compiler aborted")
        without = guilty in order.manner.without
        differs = not without if chance is None else chance()
        code = "other" if is_right(order) and differs else "usual"
        return {"object": {KERNEL: code, "obj-file.rest.o": "rest"}, "passes": DUMPS}

    return makes


def test_a_pass_is_found_with_its_kernel_its_line_and_a_way_out(located):
    found, _ = located(hoisting(), "object")
    assert found["kernel"] == "call_computation"
    assert found["pass"] == "small-while-loop-hoisting"
    assert found["workaround"] == "XLA_FLAGS=--xla_disable_hlo_passes=small-while-loop-hoisting"
    assert (found["file"], found["line"]) == ("models/loop.py", 21)
    assert found["instruction"] == "call"
    assert "jit(fori)/while" in found["place"]
    assert found["remarks"] == []


def test_a_pass_that_changes_nothing_is_not_offered(located):
    found, _ = located(hoisting(guilty="no such pass"), "object")
    assert (found["pass"], found["workaround"]) == (None, None)
    assert found["kernel"] == "call_computation"
    assert found["remarks"] == ["no single compiler pass that can be left out makes the difference"]


def test_a_pass_that_the_compiler_needs_is_not_offered(located):
    found, _ = located(hoisting(needed=["small-while-loop-hoisting"]), "object")
    assert (found["pass"], found["workaround"]) == (None, None)


def test_what_seldom_differs_takes_more_builds_to_prove(located):
    def pairs(seen):
        found, builders = located(hoisting(), "object", seen)
        guilty = [order for order in builders.orders if "small-while-loop-hoisting" in order.manner.without]
        return found["pass"], len(guilty) // 2

    assert pairs(ALWAYS) == ("small-while-loop-hoisting", 4)
    assert pairs(Tally(2, 2)) == ("small-while-loop-hoisting", 5)  # and one more of those that differ
    assert pairs(Tally(5, 1))[0] is None


def test_what_one_search_has_built_serves_the_next(fake):
    """Two targets of one process that differ through the same pass: each pair of builds tells of both."""
    specs = [SPEC, TargetSpec("models/loop.py:other")]
    builders = fake(hoisting())

    async def work():
        orders = [Order.of(specs, schedule, 0) for schedule in (SERIAL, RIGHT)]
        left, right = [(await builders.carry_out(order)).run for order in orders]
        builders.orders.clear()
        rebuilds, passes, built = Rebuilds(builders), [], []
        for spec in specs:
            sides = left.of(spec.entry)[0], right.of(spec.entry)[0]
            scene = Scene(spec.entry, "object", *orders, *sides, ALWAYS)
            passes.append((await locate(rebuilds, builders.blobs, "/project", scene))["pass"])
            built.append(len(builders.orders))
        return passes, built

    passes, (first, both) = asyncio.run(work())
    assert passes == ["small-while-loop-hoisting"] * 2
    assert both == first > 1


def test_what_may_be_chance_is_suspected_and_no_more(located):
    found, _ = located(hoisting(), "object", Tally(5, 1))
    assert (found["pass"], found["workaround"]) == (None, None)
    assert any("small-while-loop-hoisting is suspected" in remark for remark in found["remarks"])


def test_where_nothing_needs_to_change_no_pass_is_looked_for(located):
    found, builders = located(hoisting(), "object", Tally())
    assert (found["pass"], found["workaround"]) == (None, None)
    assert found["remarks"] == ["it differs with nothing changed, so no compiler pass was looked for"]
    assert len(builders.orders) == 1


def test_a_difference_that_does_not_show_again_proves_nothing(located):
    times = iter(range(1000))
    found, _ = located(hoisting(chance=lambda: next(times) == 0), "object")
    assert (found["pass"], found["workaround"]) == (None, None)
    (remark,) = found["remarks"]
    assert remark.startswith("the difference did not show again in 3 pairs of builds")


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_an_innocent_pass_is_hardly_ever_offered(located, rate):
    """As an investigation does it: five builds are counted, the first that differs is looked into."""
    drawn = random.Random(f"pcv {rate}")
    offered = 0
    for _ in range(100):
        counted = sum(drawn.random() < rate for _ in range(5))
        if counted:
            found, _ = located(hoisting(chance=lambda: drawn.random() < rate), "object", Tally(5, counted))
            offered += found["workaround"] is not None
            assert (found["pass"] is None) == (found["workaround"] is None)
    assert offered <= 1


# -- optimized HLO ---------------------------------------------------------------------------------

MODULE = """HloModule jit_f, is_scheduled=true

FileNames
1 "/project/m.py"

FunctionNames
1 "f"

FileLocations
1 {{file_name_id=1 function_name_id=1 line=3 end_line=3 column=1 end_column=9}}
2 {{file_name_id=1 function_name_id=1 line=9 end_line=9 column=1 end_column=9}}

StackFrames
1 {{file_location_id=1 parent_frame_id=1}}
2 {{file_location_id=2 parent_frame_id=1}}

ENTRY %main ({0}x.1: f32[4]) -> f32[4] {{
  %{0}x.1 = f32[4]{{0}} parameter(0)
  %{0}a.7 = f32[4]{{0}} sine(%{0}x.1), metadata={{op_name="jit(f)/sin" stack_frame_id=1}}
  ROOT %{0}s = f32[4]{{0}} subtract({1}), metadata={{op_name="jit(f)/sub" stack_frame_id=2}}
}}
"""


def module(number, *operands):
    return MODULE.format(number, ", ".join(f"%{number}{one}" for one in operands))


def hlo(text):
    return text, canonicalize("hlo", text.encode(), Context("", ""))[0].decode()


def swapping(again=True, without=()):
    """A compiler whose pass `algsimp` swaps two operands on the right side, where other names are in use."""
    times = iter(range(1000))

    def makes(order, place):
        sides = module("", "a.7", "x.1"), module("n", "x.1", "a.7")
        swapped = is_right(order) and "algsimp" not in order.manner.without and (again or next(times) == 0)
        text = sides[1] if swapped else sides[0]
        dumps = {
            "module_0001.jit_f.0001.simplification.after_pipeline-start.before_algsimp.txt": sides[0],
            "module_0001.jit_f.0002.simplification.after_algsimp.before_dce.txt": text,
            "module_0001.jit_f.cpu_after_optimizations.txt": text,
        }
        return {"hlo": {"module_0.hlo": hlo(text)}, "passes": dumps}

    return makes


def test_the_instruction_that_differs_and_not_one_of_another_name(located):
    found, _ = located(swapping(), "hlo")
    assert (found["file"], found["line"], found["instruction"]) == ("m.py", 9, "s")
    assert found["place"].startswith("m.py:9 (jit(f)/sub): ")
    assert found["pass"] == "algsimp"
    assert found["workaround"].endswith("=algsimp")


def test_where_it_does_not_show_again_the_place_is_that_of_the_builds_that_differed(located):
    found, _ = located(swapping(again=False), "hlo")
    assert (found["file"], found["line"]) == ("m.py", 9)
    assert "equal" not in found["place"]
    assert found["pass"] is None
    assert "built again with every pass told, both came out alike" in found["remarks"]


# -- what is traced --------------------------------------------------------------------------------

JAXPR = """{{ lambda ; a:f32[4]. let
    b:f32[4] = pure_callback[
      callback=<function host at 0x{0}>
      kept=frozenset({{{1}}})
    ] a   # /project/m.py:8:4 (f)
    c:f32[4] = {2} b   # /project/m.py:10:4 (f)
  in (c,) }}
"""


def jaxprs(again=True):
    times = iter(range(1000))

    def makes(order, place):
        other = is_right(order) and (again or next(times) == 0)
        listed = JAXPR.format(*(("7f00aa", "'b', 'a'", "cos") if other else ("7f0000", "'a', 'b'", "sin")))
        plain = "\n".join(line.partition("   #")[0] for line in listed.splitlines()) + "\n"
        context = Context("", "")
        return {
            stage: (text, canonicalize("jaxpr", text.encode(), context)[0].decode())
            for stage, text in (("jaxpr", plain), ("lines", listed))
        }

    return makes


@pytest.mark.parametrize("again", [True, False])
def test_neither_an_address_nor_a_sets_order_is_where_a_jaxpr_differs(located, again):
    found, _ = located(jaxprs(again), "jaxpr")
    assert (found["file"], found["line"]) == ("m.py", 10)
    assert "sin" in found["place"]
    assert "cos" in found["place"]


def test_the_operation_that_differs(located):
    text = """module @jit_f {{
  func.func public @main(%arg0: tensor<f32>) -> tensor<f32> {{
    %0 = stablehlo.{} %arg0 : tensor<f32> loc(#loc1)
    return %0 : tensor<f32> loc(#loc)
  }} loc(#loc)
}} loc(#loc)
#loc = loc(unknown)
#loc1 = loc("/project/m.py":5:4 to :9)
"""

    def makes(order, place):
        located = text.format("cosine" if is_right(order) else "sine")
        return {"stablehlo": located.replace(" loc(#loc1)", ""), "locations": located}

    found, _ = located(makes, "stablehlo")
    assert (found["file"], found["line"]) == ("m.py", 5)
    assert "cosine" in found["place"]


def test_a_fault_in_the_search_is_a_remark(located, monkeypatch):
    def at_fault(*_):
        raise ValueError("what nobody foresaw")

    monkeypatch.setattr("pcvd.core.passes.suspects", at_fault)
    found, _ = located(hoisting(), "object")
    assert found["kernel"] == "call_computation"
    assert found["remarks"] == [
        "the place could not be looked for, by a fault inside pcv: ValueError: what nobody foresaw"
    ]
