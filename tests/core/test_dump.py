"""Dumps of passes: what their names tell, and their order."""

from __future__ import annotations

import pytest

from pcvd.core.dump import in_order, parse


@pytest.mark.parametrize(
    ("file", "number", "name", "pass_name"),
    [
        (
            "module_0001.jit_f.0023.HLO_passes_after.after_small-while-loop-hoisting.before_propagate.txt",
            23,
            "HLO_passes_after/small-while-loop-hoisting",
            "small-while-loop-hoisting",
        ),
        (
            "module_0001.jit_a.b.0007.simplification.after_pipeline-start.before_algsimp.txt",
            7,
            "simplification/pipeline-start",
            "",
        ),
        (
            "0020.copy-insertion.after_removing_unnecessary_copies.txt",
            20,
            "copy-insertion/removing_unnecessary_copies",
            "copy-insertion",
        ),
        (
            "0024.HLO_passes_after_layout_assignment.after_apply-xla-transforms-35.before_x.txt",
            24,
            "HLO_passes_after_layout_assignment/apply-xla-transforms",
            "apply-xla-transforms",
        ),
        ("module_0001.jit_f.before_optimizations.txt", -1, "before_optimizations", ""),
        ("0.before_optimizations.txt", -1, "before_optimizations", ""),
        ("module_0001.jit_f.sm_9.0_gpu_after_optimizations.txt", 1 << 62, "after_optimizations", ""),
        ("sm_9.0_gpu_after_optimizations.txt", 1 << 62, "after_optimizations", ""),
        ("cpu_after_optimizations.txt", 1 << 62, "after_optimizations", ""),
    ],
)
def test_a_dumps_name(file, number, name, pass_name):
    dump = parse(file)
    assert dump is not None
    assert (dump.number, dump.name, dump.pass_name) == (number, name, pass_name)


@pytest.mark.parametrize(
    "file",
    [
        "module_0001.jit_f.cpu_after_optimizations-buffer-assignment.txt",
        "module_0001.jit_f.obj-file.call_computation_kernel_module.o",
        "module_0001.jit_f.debug_options",
        "jaxpr.txt",
        "",
    ],
)
def test_other_files_are_no_dumps(file):
    assert parse(file) is None


def test_dumps_stand_between_what_went_in_and_what_came_out():
    files = [
        "module_0001.jit_f.cpu_after_optimizations.txt",
        "module_0001.jit_f.0010.a.after_p.before_q.txt",
        "module_0001.jit_f.0009.a.after_q.before_p.txt",
        "module_0001.jit_f.before_optimizations.txt",
        "module_0000.jit_g.0011.a.after_p.before_q.txt",
        "module_0001.jit_f.debug_options",
    ]
    assert [(dump.module, dump.after) for dump in in_order(files)] == [
        (0, "p"), (1, "before_optimizations"), (1, "q"), (1, "p"), (1, "after_optimizations"),
    ]  # fmt: skip
