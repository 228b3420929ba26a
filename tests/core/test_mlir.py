"""Printed StableHLO: operations without locations, and the lines behind them."""

from __future__ import annotations

import pytest

from pcvd.core.hlo import Source
from pcvd.core.mlir import Listing

TEXT = r"""#loc1 = loc("x")
module @jit_f attributes {mhlo.num_replicas = 1 : i32} {
  func.func public @main(%arg0: tensor<4xf32> loc("x")) -> (tensor<4xf32> {jax.result_info = "loc(\22) "}) {
    %cst = stablehlo.constant dense<2.000000e+00> : tensor<f32> loc(#loc9)
    %0 = stablehlo.broadcast_in_dim %cst, dims = [] : (tensor<f32>) -> tensor<4xf32> loc(#loc20)
    %1 = call @relu(%0) : (tensor<4xf32>) -> tensor<4xf32> loc(#loc21)
    %2 = "stablehlo.sort"(%1) <{dimension = 0 : i64}> ({
    ^bb0(%arg1: tensor<f32> loc("sort:"(#loc6)), %arg2: tensor<f32> loc("sort:"(#loc6))):
      %3 = stablehlo.compare LT, %arg1, %arg2 : (tensor<f32>, tensor<f32>) -> tensor<i1> loc(#loc6)
      stablehlo.return %3 : tensor<i1> loc(#loc6)
    }) : (tensor<4xf32>) -> tensor<4xf32> loc(#loc22)
    return %2 : tensor<4xf32> loc(#loc9)
  } loc(#loc)
  func.func private @relu(%arg0: tensor<4xf32> loc(unknown)) -> tensor<4xf32> {
    %0 = stablehlo.maximum %arg0, %arg0 : tensor<4xf32> loc(#loc7)
    return %0 : tensor<4xf32> loc(#loc)
  } loc(#loc)
} loc(#loc)
#loc = loc(unknown)
#loc2 = loc("/project/m\C3\B6dels/a.py":12:4 to :9)
#loc3 = loc("/project/.venv/lib/python3.11/site-packages/flax/linen.py":40:4 to :9)
#loc4 = loc("/project/train.py":7:0 to :9)
#loc5 = loc("<module>"(#loc4))
#loc6 = loc("sort")
#loc7 = loc("max")
#loc8 = loc("forward"(#loc2))
#loc9 = loc("jit(f)"(#loc5))
#loc10 = loc("apply"(#loc3))
#loc11 = loc(callsite(#loc8 at #loc5))
#loc12 = loc(callsite(#loc10 at #loc11))
#loc20 = loc("jit(f)/broadcast"(#loc12))
#loc21 = loc("jit(f)/relu"(#loc11))
#loc22 = loc(fused["jit(f)/sort"(callsite("g"("/project/b.py":3:1) at #loc5)), #loc21])
"""


def number(start: str, behind: int = 0) -> int:
    codes = [one.code for one in Listing(TEXT).operations]
    return next(n for n, code in enumerate(codes) if n >= behind and code.lstrip().startswith(start))


def test_operations_stand_without_locations():
    codes = [one.code for one in Listing(TEXT).operations]
    assert len(codes) == TEXT.count("\n") - TEXT.count("\n#") - 1
    assert codes[number("func")] == (
        r'  func.func public @main(%arg0: tensor<4xf32>) -> (tensor<4xf32> {jax.result_info = "loc(\22) "}) {'
    )
    assert codes[number("^bb0")] == "    ^bb0(%arg1: tensor<f32>, %arg2: tensor<f32>):"
    assert not any("#loc" in code for code in codes)


@pytest.mark.parametrize(
    ("start", "source"),
    [
        (
            "%0 = stablehlo.broadcast",
            Source("mödels/a.py", 12, "jit(f)/broadcast"),
        ),  # behind the library's frame
        ("%cst", Source("mödels/a.py", 12, "jit(f)/broadcast")),  # constants are where they are used
        ("%1 = call", Source("mödels/a.py", 12, "jit(f)/relu")),
        (
            "%0 = stablehlo.maximum",
            Source("mödels/a.py", 12, "max"),
        ),  # a function without frames, through its call
        ('%2 = "stablehlo.sort"', Source("b.py", 3, "jit(f)/sort")),  # at the end of its regions
    ],
)
def test_the_line_behind_an_operation(start, source):
    assert Listing(TEXT).source(number(start), "/project") == source


def test_no_line_outside_of_the_project():
    assert Listing(TEXT).source(number("%1 = call"), "/elsewhere") == Source(None, None, "jit(f)/relu")
    assert Listing("module @m {\n}").source(0, "/project") is None


def test_functions_that_call_each_other_end():
    text = "module @m {\n  func.func private @a() {\n    %0 = call @a() : () -> () loc(#loc)\n  }\n}"
    assert Listing(text).source(2, "/project") is None


def test_locations_that_name_each_other_end():
    text = "  %0 = f loc(#loc1)\n#loc1 = loc(#loc2)\n#loc2 = loc(callsite(#loc1 at #loc2))\n"
    assert Listing(text).source(0, "/project") is None
