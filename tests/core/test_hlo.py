"""HLO texts, from both supported versions of XLA and from the one that is installed; and texts that are
none.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcvd.core.hlo import Module, Source

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


def test_a_number_longer_than_python_converts_is_no_row():
    rows = f'FileNames\n{"9" * 5000} "m.py"\n'
    assert Module.parse(f"HloModule m\n\n{rows}").name == "m"
