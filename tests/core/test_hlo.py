"""HLO texts, from both supported versions of XLA and from the one that is installed; and texts that are
none.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcvd.core.hlo import Module, Source, instructions_of, kernel_of

DATA = Path(__file__).with_name("data")
VERSIONS = ("jax-0.10", "jax-0.12")


def optimized(version: str) -> str:
    return next((DATA / version).glob("*.cpu_after_optimizations.txt")).read_text()


@pytest.fixture(scope="module", params=VERSIONS)
def loop(request: pytest.FixtureRequest) -> Module:
    return Module.parse(optimized(request.param))


def test_reads_computations_and_instructions(loop):
    assert loop.name == "jit_fori"
    assert loop.instructions["call"].opcode == "call"
    assert loop.instructions["call"].computation == loop.entry
    assert loop.instructions[loop.computations[loop.entry][0]].opcode == "parameter"
    (hoisted,) = loop.instructions["call"].called
    (loops,) = (loop.instructions[name] for name in loop.computations[hoisted] if "while" in name)
    assert len(loops.called) == 2
    assert set(loops.called) <= set(loop.computations)
    assert loops.operands == (loop.computations[hoisted][0],)


def test_reads_types_that_are_tuples_of_tuples():
    line = "  ROOT %w = ((f32[2]{0:T(8,128)}, /*index=1*/s32[]), pred[]) while(%t), condition=%c, body=%b"
    module = Module.parse(f"ENTRY %main (a: f32[]) -> f32[] {{\n{line}\n}}")
    assert module.instructions["w"].opcode == "while"
    assert module.instructions["w"].called == ("c", "b")


@pytest.mark.parametrize(
    ("attributes", "called"),
    [
        ("calls=%f", ("f",)),
        ("to_apply=region_0.1", ("region_0.1",)),
        ("branch_computations={%a, %b.2}", ("a", "b.2")),
        ("called_computations={%a}", ("a",)),
        ("select=%s, scatter=%t", ("s", "t")),
        ("true_computation=%a, false_computation=%b", ("a", "b")),
        ('backend_config={"calls":"%x"}, frontend_attributes={a="calls=%x, body=%y"}', ()),
        ('metadata={op_name="jit(f)/to_apply=%x"}', ()),
    ],
)
def test_called_computations(attributes, called):
    module = Module.parse(f"ENTRY %main (a: f32[]) -> f32[] {{\n  ROOT %i = f32[] op(%a), {attributes}\n}}")
    assert module.instructions["i"].called == called


def test_strings_may_look_like_hlo():
    name = r"a\"} %x = f32[] add(), metadata={ } {"
    text = f'ENTRY %m (a: f32[]) -> f32[] {{\n  ROOT %i = f32[] sine(%a), metadata={{op_name="{name}"}}\n}}'
    assert Module.parse(text).instructions["i"].op_name == name.replace('\\"', '"')


def test_a_constant_of_megabytes_is_passed_over():
    values = ", ".join(["1.5"] * 200_000)
    metadata = 'metadata={op_name="w" source_file="/project/m.py" source_line=3}'
    text = f"ENTRY %m () -> f32[] {{\n  ROOT %c = f32[200000]{{0}} constant({{{values}}}), {metadata}\n}}"
    module = Module.parse(text)
    assert module.source_of(module.instructions["c"], "/project") == Source("m.py", 3, "w")


def test_source_through_the_table_of_stack_frames(loop):
    assert loop.source_of(loop.instructions["call"], "/project") == Source(
        "models/loop.py", 21, loop.instructions["call"].op_name
    )


FRAMES = """HloModule m

FileNames
1 "/project/train.py"
2 "/project/.venv/lib/python3.11/site-packages/flax/linen.py"
3 "/elsewhere/x.py"
4 "/project/m\\303\\266dels/a.py"

FunctionNames
1 "<module>"

FileLocations
1 {file_name_id=1 function_name_id=1 line=10 end_line=10 column=0 end_column=19}
2 {file_name_id=2 function_name_id=1 line=20 end_line=20 column=0 end_column=19}
3 {file_name_id=3 function_name_id=1 line=30 end_line=30 column=0 end_column=19}
4 {file_name_id=4 function_name_id=1 line=40 end_line=40 column=0 end_column=19}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=4 parent_frame_id=2}
3 {file_location_id=2 parent_frame_id=3}
4 {file_location_id=3 parent_frame_id=1}
5 {file_location_id=2 parent_frame_id=4}


%inner (a: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %one = f32[] sine(%a), metadata={op_name="one" stack_frame_id=1}
  %two = f32[] sine(%one), metadata={op_name="two" stack_frame_id=3}
  ROOT %three = f32[] sine(%two), metadata={op_name="three" stack_frame_id=2}
}

ENTRY %main (x: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %library = f32[] sine(%x), metadata={op_name="library" stack_frame_id=3}
  %foreign = f32[] sine(%library), metadata={op_name="foreign" stack_frame_id=4}
  %copied = f32[] copy(%foreign)
  ROOT %made = f32[] call(%copied), to_apply=%inner
}
"""


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("library", Source("mödels/a.py", 40, "library")),  # the innermost frame is an installed package's
        ("foreign", Source(None, None, "foreign")),
        ("copied", None),
        ("made", Source("mödels/a.py", 40, "one")),  # two of three, through what it applies
    ],
)
def test_innermost_frame_in_the_project(name, source):
    module = Module.parse(FRAMES)
    assert module.source_of(module.instructions[name], "/project/") == source


def test_near_follows_values_back_and_then_forth():
    module = Module.parse(FRAMES)
    near = module.near(module.instructions["copied"], "/project")
    assert near == Source("mödels/a.py", 40, "library")
    near = module.near(module.instructions["x"], "/project")
    assert near == Source("mödels/a.py", 40, "library")


def test_frames_that_call_themselves_end():
    text = FRAMES.replace(
        "3 {file_location_id=2 parent_frame_id=3}", "3 {file_location_id=3 parent_frame_id=4}"
    )
    module = Module.parse(text)
    assert module.source_of(module.instructions["library"], "/project") == Source(None, None, "library")


def test_computations_that_call_themselves_end():
    text = "%a (x: f32[]) -> f32[] {\n  ROOT %i = f32[] call(%x), to_apply=%a\n}"
    module = Module.parse(text)
    assert module.source_of(module.instructions["i"], "/project") is None


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


@given(st.text())
@example('%a (x) -> f32[] {\n  %i = f32[] sine(%a), metadata={op_name="')
@example("StackFrames\n1 {file_location_id=99999999999999999999 parent_frame_id=1}")
@example("FileNames\nFileNames\n1 {}\n9 {")
def test_any_text_is_read(text):
    module = Module.parse(text)
    for instruction in module.instructions.values():
        module.source_of(instruction, "/project")
        module.near(instruction, "/project")


@given(st.data())
def test_a_damaged_module_is_read(data):
    text = optimized(data.draw(st.sampled_from(VERSIONS)))
    at = data.draw(st.integers(0, len(text)))
    text = text[:at] + data.draw(st.text(max_size=20)) + text[at + data.draw(st.integers(0, 200)) :]
    module = Module.parse(text)
    for instruction in module.instructions.values():
        module.source_of(instruction, "/project")


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


def test_a_number_longer_than_python_converts_is_no_row():
    rows = f'FileNames\n{"9" * 5000} "m.py"\n'
    assert Module.parse(f"HloModule m\n\n{rows}").name == "m"
