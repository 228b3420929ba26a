"""Kernels: their names, and the instructions that they are, down to lines of the installed JAX's programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pcvd.core.hlo import Module
from pcvd.core.kernel import instructions_of, kernel_of

DATA = Path(__file__).with_name("data")


@pytest.fixture(scope="module", params=["jax-0.10", "jax-0.12"])
def loop(request: pytest.FixtureRequest) -> Module:
    return Module.parse(next((DATA / request.param).glob("*.cpu_after_optimizations.txt")).read_text())


@pytest.mark.parametrize(
    ("part", "kernel"),
    [
        ("obj-file.call_computation_kernel_module.o", "call_computation"),
        ("call.2_computation_kernel_module.ir-no-opt.ll", "call.2_computation"),
        ("obj-file.__compute_module_wrapped_add.3.o", "wrapped_add.3"),
        ("__compute_module_wrapped_add.ir-with-opt.ll", "wrapped_add"),
        ("module_0012.jit_f.obj-file.wrapped_scatter.o", "wrapped_scatter"),
        (
            "1.obj-file.bitcast_dynamic-update-slice_fusion.1_kernel_module.o",
            "bitcast_dynamic-update-slice_fusion.1",
        ),
        ("obj-file.part_00.o", "part_00"),
        ("ptx", ""),
        ("module_0003.jit_f.cubin", ""),
        ("", ""),
    ],
)
def test_kernels_are_named_by_their_files(part, kernel):
    assert kernel_of(part) == kernel


def test_a_hoisted_loop_is_its_call(loop):
    found = instructions_of("call_computation", loop)
    assert [one.name for one in found.instructions] == ["call"]
    assert not found.remark


@pytest.mark.parametrize("kernel", ["", "nothing_like_it", "part_07"])
def test_a_kernel_nobody_knows_gets_a_remark(kernel, loop):
    found = instructions_of(kernel, loop)
    assert found.instructions == ()
    assert found.remark


def test_gpu_symbols_have_no_dots(loop):
    name = next(name for name in loop.instructions if "." in name)
    (found,) = instructions_of(name.replace(".", "_").replace("-", "_"), loop).instructions
    assert found.name == name


def test_every_kernel_of_the_installed_jax_leads_to_a_line(tmp_path):
    script = DATA / "kernels.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=300)
    lines = script.read_text().splitlines()
    seen = set()
    for folder in sorted(tmp_path.iterdir()):
        module = Module.parse(next(folder.glob("*after_optimizations.txt")).read_text())
        for file in folder.glob("*.o"):
            found = instructions_of(kernel_of(file.name), module)
            assert found.instructions, f"{folder.name}: {file.name}: {found.remark}"
            for one in found.instructions:
                source = module.source_of(one, str(DATA))
                if source is None or source.file is None:
                    source = module.near(one, str(DATA))
                assert source is not None, f"{folder.name}: {file.name}: {one}"
                head = next(line for line in lines[source.line - 1 :: -1] if line.startswith("def "))
                assert head == f"def {folder.name}(x):"
            seen.add(folder.name)
    # XLA:CPU has library calls, not kernels, for some; should a program leave none, it shows nothing here.
    assert len(seen) >= 10
