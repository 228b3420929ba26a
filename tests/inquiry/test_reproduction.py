"""Reproductions: what they hold, under which conditions they try a program, and that they hold no paths."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys

import pytest

from pcvd.core.errors import UsageError
from pcvd.core.model import digest
from pcvd.inquiry.reproduction import stripped

F, G = "m.py:f", "m.py:g"
LOCATED = """#loc1 = loc("x")
module @jit_f {
  func.func public @main(%arg0: tensor<f32> loc("x")) -> tensor<f32> {
    %0 = stablehlo.add %arg0, %arg0 : tensor<f32> loc(#loc2)
    return %0 : tensor<f32> loc(#loc)
  } loc(#loc)
} loc(#loc)
#loc = loc(unknown)
#loc2 = loc("jit(f)/add"("/home/somebody/model.py":3:4 to :9))
"""


def repro(records, **changes):
    document = records.ask("repro", **changes)
    return document, json.loads(document["files"]["repro.json"])


@pytest.fixture
def cohort(records):
    """Record two targets in one process, of which `f` differs in machine code where the order is another."""

    def make(kind):
        other = b"\x7fELF other"
        records.record(
            records.run("serial", records.build(G, stablehlo=b"module @jit_g {\n}\n"), records.build(F)),
            records.run(
                "threads:2",
                records.build(F, object=other),
                records.build(G, stablehlo=b"module @jit_g {\n}\n"),
            ),
            targets=(G, F),
            cause={"kind": kind, "workaround": "XLA_FLAGS=--xla_disable_hlo_passes=p"},
        )

    return make


def test_the_programs_of_the_cohort_in_the_references_order(records, cohort):
    cohort("compile-order")
    document, manifest = repro(records)
    assert document["shows"] == manifest["shows"] == "compiler"
    assert [one["name"] for one in manifest["programs"]] == [G, F]
    assert manifest["subject"] == 1
    assert document["files"][manifest["programs"][0]["file"]] == "module @jit_g {\n}\n"
    assert manifest["variables"] == {"JAX_PLATFORMS": "cpu"}
    assert "XLA_FLAGS=--xla_disable_hlo_passes=p" in document["files"]["README.md"]
    order = next(one for one in manifest["conditions"] if one["name"] == "order")
    assert order["order"] == [1, 0]
    assert manifest["reference"]["order"] == [0, 1]


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("compile-order", ["again", "after-itself", "order", "alone"]),
        ("after-itself", ["again", "after-itself", "order"]),
        ("random", ["again"]),
        ("thread", ["again", "thread", "race"]),
        ("race", ["again", "race"]),
        ("hash-seed", ["again", "hash-seed", "memory-layout"]),
        ("affinity", ["again", "affinity"]),
        ("unknown", ["again"]),
        ("never heard of", ["again"]),
    ],
)
def test_what_the_cause_suggests_is_tried_first(records, cohort, kind, first):
    cohort(kind)
    _, manifest = repro(records)
    conditions = manifest["conditions"]
    assert [one["name"] for one in conditions if one["suspected"]] == first
    assert [one["name"] for one in conditions][: len(first)] == first
    assert len({one["name"] for one in conditions}) == len(conditions) == 9
    for one in conditions:
        assert 1 in one["order"]
        assert len(one["order"]) >= one.get("threads", 0)


def test_alone_in_its_cohort_a_target_has_no_other_order(records, twice):
    twice(object=b"\x7fELF other")
    _, manifest = repro(records)
    assert not {"order", "alone"} & {one["name"] for one in manifest["conditions"]}


@pytest.mark.parametrize("stage", ["jaxpr", "stablehlo"])
def test_where_the_programs_differ_both_are_there_and_no_compiler_is_blamed(records, twice, stage):
    changed = {"stablehlo": b"module @jit_f {\n  other\n}\n"} | (
        {"jaxpr": b"other"} if stage == "jaxpr" else {}
    )
    twice(**changed)
    document, manifest = repro(records)
    assert (document["shows"], manifest["stage"]) == ("tracing", stage)
    assert document["files"]["other.mlir"] == "module @jit_f {\n  other\n}\n"
    assert document["files"]["reference.mlir"] != document["files"]["other.mlir"]
    assert "not of XLA" in document["files"]["README.md"]
    assert "it traces nothing" in document["remarks"][0]


def test_a_neighbours_program_that_is_lost_is_left_out_and_the_targets_own_is_needed(records, cohort):
    cohort("order")
    records.without(digest(b"module @jit_g {\n}\n"))
    document, manifest = repro(records)
    assert [one["name"] for one in manifest["programs"]] == [F]
    assert "left out" in document["remarks"][0]
    assert document["remarks"][0] in document["files"]["README.md"]
    records.spoil(digest(document["files"][manifest["programs"][0]["file"]].encode()))
    with pytest.raises(UsageError, match="could not be read back"):
        records.ask("repro")


def test_where_nothing_differs_there_is_nothing_to_reproduce(records, twice):
    twice()
    with pytest.raises(UsageError, match="nothing differs"):
        records.ask("repro")


def test_a_run_that_contradicts_itself_shows_in_no_compilation(records):
    records.record(
        *(
            records.run(name, records.build(output=output))
            for name, output in (("serial", b"1"), ("threads:2", b"2"))
        ),
        cause={"kind": "run", "stage": "output"},
    )
    with pytest.raises(UsageError, match="no compilation shows that"):
        records.ask("repro")


def test_a_difference_of_the_outputs_alone_is_not_what_the_script_shows(records, twice):
    twice(output=b"\0" * 8)
    document, _ = repro(records)
    assert "the script compiles only" in document["remarks"][0]


def test_the_script_needs_nothing_but_jax_and_numpy(records, twice):
    twice(object=b"\x7fELF other")
    document, _ = repro(records)
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(document["files"]["repro.py"]))
        for name in (
            [one.name for one in node.names] if isinstance(node, ast.Import)
            else [node.module] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert imported - set(sys.stdlib_module_names) == {"jax", "jaxlib", "numpy"}


@pytest.fixture
def script(records, twice, tmp_path):
    """The script as a module."""
    twice(object=b"\x7fELF other")
    path = tmp_path / "repro.py"
    path.write_text(repro(records)[0]["files"]["repro.py"])
    spec = importlib.util.spec_from_file_location("repro", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HLO = """HloModule m

ENTRY %main ({0}x.1: f32[4]) -> f32[4] {{
  %{0}x.1 = f32[4]{{0}} parameter(0)
  ROOT %{0}s = f32[4]{{0}} custom-call(%{0}x.1), backend_config="%name"
}}
"""
LLVM = "define void @f() !dbg !{0} {{\n  ret void, !tbaa !{1}\n}}\n!{0} = !{{i32 1}}\n!{1} = !{{!{0}}}\n"


def test_the_script_leaves_out_what_pcv_does(script):
    assert script.named_anew(HLO.format("")) == script.named_anew(HLO.format("other_"))
    assert '"%name"' in script.named_anew(HLO.format(""))
    assert script.named_anew(HLO.format("")) != script.named_anew(HLO.format("").replace("f32", "f64"))
    assert script.renumbered(LLVM.format(1, 4)) == script.renumbered(LLVM.format(7, 2))
    assert script.renumbered(LLVM.format(1, 4)) != script.renumbered(
        LLVM.format(1, 4).replace("i32 1", "i32 2")
    )


def test_the_script_compares_constants_in_full(script):
    import jax
    import numpy as np

    texts = [
        script.printed(
            jax.jit(lambda x, values=values: x + values)
            .lower(np.zeros(64, np.float32))
            .compile()
            .runtime_executable()
            .hlo_modules()[0]
        )
        for values in (np.arange(64, dtype=np.float32), np.arange(64, dtype=np.float32)[::-1].copy())
    ]
    assert script.named_anew(texts[0]) != script.named_anew(texts[1])
    assert "..." not in texts[0]


def test_source_positions_are_stripped():
    assert stripped(LOCATED).splitlines() == [
        "module @jit_f {",
        "  func.func public @main(%arg0: tensor<f32>) -> tensor<f32> {",
        "    %0 = stablehlo.add %arg0, %arg0 : tensor<f32>",
        "    return %0 : tensor<f32>",
        "  }",
        "}",
    ]
    for text in ("module {\n}\n", 'call_target_name = "a loc(b)"\n'):
        assert stripped(text) == text
