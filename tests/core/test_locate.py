"""Places of differences: in the texts of the JAX that is installed, with one thing changed at a time, and
in texts that are none.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcvd.core.canonical import Context, canonicalize
from pcvd.core.locate import Place, in_constants, in_hlo, in_jaxpr, in_kernel, in_stablehlo

DATA = Path(__file__).with_name("data")
ROOT = str(DATA)
MODEL = "variants.py"


def line_of(code: str) -> int:
    """The line of the model that holds `code`."""
    (found,) = (n for n, line in enumerate((DATA / MODEL).read_text().splitlines(), 1) if code in line)
    return found


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variants")
    subprocess.run([sys.executable, str(DATA / MODEL), str(folder)], check=True, timeout=300)
    return folder


def read(folder: Path, *names: str) -> list[str]:
    return [(folder / name).read_text() for name in names]


def canonical(*texts: str) -> tuple[str, ...]:
    made = (canonicalize("hlo", text.encode(errors="replace"), Context("", ""))[0] for text in texts)
    return tuple(text.decode(errors="replace") for text in made)


@pytest.mark.parametrize(
    ("variant", "code", "left", "right"),
    [
        ("flip", "v * 3 if flip else v + 3", "add", "mul"),
        ("scale", "y = y + helper(y * scale)", "1.0", "2.0"),
        ("dtype", "lax.fori_loop", "scan", "bfloat16"),
    ],
)
def test_the_equation_that_differs(texts, variant, code, left, right):
    place = in_jaxpr(*read(texts, "base.jaxpr", f"{variant}.jaxpr"), ROOT)
    assert (place.file, place.line) == (MODEL, line_of(code))
    first, _, second = place.text.partition(" against ")
    assert left in first
    assert right in second
    assert left in place.instruction


def test_another_dtype_also_says_that_the_constants_differ(texts):
    place = in_jaxpr(*read(texts, "base.jaxpr", "dtype.jaxpr"), ROOT)
    assert "arguments or constants differ" in place.text


@pytest.mark.parametrize(
    ("number", "code"),
    [(0, "lax.fori_loop"), (1, "jnp.cumsum(y) + offset"), (2, "np.arange(3"), (3, "np.arange(3")],
)
def test_where_a_constant_is_used(texts, number, code):
    # Two of the model's own, and that of the helper each time it is applied.
    (text,) = read(texts, "base.jaxpr")
    place = in_constants(f"constant_{number:04d}", text, ROOT, "float32[3]")
    assert (place.file, place.line) == (MODEL, line_of(code))


@pytest.mark.parametrize(
    ("name", "label"),
    [("constant_0004", "float32[3]"), ("constant_0001", "float32[4]"), ("signature.txt", "")],
)
def test_a_constant_that_the_jaxpr_does_not_show(texts, name, label):
    (text,) = read(texts, "base.jaxpr")
    place = in_constants(name, text, ROOT, label)
    assert (place.file, place.line) == (None, None)
    assert place.text


@pytest.mark.parametrize(
    ("variant", "code"),
    [
        ("flip", "v * 3 if flip else v + 3"),
        ("scale", "y = y + helper(y * scale)"),
        ("dtype", "lax.fori_loop"),
        ("offset", "jnp.cumsum(y) + offset"),
    ],
)
def test_the_operation_that_differs(texts, variant, code):
    place = in_stablehlo(*read(texts, "base.mlir", f"{variant}.mlir"), ROOT)
    assert (place.file, place.line) == (MODEL, line_of(code))
    assert place.instruction.startswith("%")


def test_the_instruction_that_differs(texts):
    left, right, debug = read(texts, "base.hlo", "flip.hlo", "base.debug")
    place = in_hlo(canonical(left, right), (left, right), debug, ROOT)
    assert (place.file, place.line) == (MODEL, line_of("v * 3 if flip else v + 3"))
    assert f"%{place.instruction} = " in debug


def test_an_instruction_that_only_the_other_side_has(texts):
    # The dumped module may be either side's.
    left, right, debug = read(texts, "base.hlo", "flip.hlo", "flip.debug")
    assert in_hlo(canonical(left, right), (left, right), debug, ROOT).file == MODEL


def test_equal_texts_have_no_place(texts):
    jaxpr, stablehlo, hlo, debug = read(texts, "base.jaxpr", "base.mlir", "base.hlo", "base.debug")
    for place in (
        in_jaxpr(jaxpr, jaxpr, ROOT),
        in_stablehlo(stablehlo, stablehlo, ROOT),
        in_hlo(canonical(hlo, hlo), (hlo, hlo), debug, ROOT),
    ):
        assert place == Place(None, None, None, None, place.text)
        assert "equal" in place.text


def test_positions_alone_are_no_difference(texts):
    jaxpr, stablehlo = read(texts, "base.jaxpr", "base.mlir")
    assert "equal" in in_jaxpr(jaxpr, jaxpr.replace(MODEL, "a_longer_name_of_a_model.py"), ROOT).text
    moved = stablehlo.replace(MODEL, "moved.py").replace("#loc1", "#loc1000")
    assert moved != stablehlo
    assert "equal" in in_stablehlo(stablehlo, moved, ROOT).text


@pytest.mark.parametrize("version", ["jax-0.10", "jax-0.12"])
def test_the_kernel_of_a_hoisted_loop(version):
    optimized = next((DATA / version).glob("*.cpu_after_optimizations.txt")).read_text()
    place = in_kernel("obj-file.call_computation_kernel_module.o", optimized, "/project")
    assert (place.kernel, place.instruction) == ("call_computation", "call")
    assert (place.file, place.line) == ("models/loop.py", 21)
    assert "jit(fori)/while" in place.text


@pytest.mark.parametrize("part", ["obj-file.no_such_kernel.o", "ptx", ""])
def test_a_kernel_without_an_instruction(part):
    place = in_kernel(part, "", "/project")
    assert place.instruction is None
    assert place.text


def test_a_project_elsewhere_has_no_line(texts):
    place = in_jaxpr(*read(texts, "base.jaxpr", "flip.jaxpr"), "/elsewhere")
    assert (place.file, place.line) == (None, None)
    assert "body" in place.text


def test_one_side_ends_early():
    left = "{ lambda ; a:f32[]. let\n    b:f32[] = sin a   # /p/m.py:3:4 (f)\n"
    right = left + "    c:f32[] = cos b   # /p/m.py:4:4 (f)\n"
    for pair in ((left, right), (right, left)):
        place = in_jaxpr(*pair, "/p")
        assert (place.file, place.line) == ("m.py", 4)
        assert "one side only" in place.text


def test_without_positions_there_is_still_the_equation():
    left = "{ lambda ; a:f32[]. let\n    b:f32[] = sin a\n  in (b,) }"
    place = in_jaxpr(left, left.replace("sin", "cos"), "/p")
    assert place == Place(None, "b:f32[] = sin a", None, None, "`b:f32[] = sin a` against `b:f32[] = cos a`")


def test_a_long_constant_is_cut_to_where_it_differs():
    values = ["1.5"] * 100_000
    other = [*values[:70_000], "2.5", *values[70_001:]]
    left, right = (
        f'module @m {{\n  %c = stablehlo.constant dense<[{", ".join(one)}]> : tensor<f32> loc("w")\n}}\n'
        for one in (values, other)
    )
    place = in_stablehlo(left, right, "/p")
    assert "2.5" in place.text
    assert len(place.text) < 500


def test_thousands_of_equations():
    line = "    b:f32[] = sin a   # /p/m.py:{}:4 (f)\n"
    left = "{ lambda ; a:f32[]. let\n" + "".join(line.format(n) for n in range(20_000))
    right = left.replace(line.format(19_000), line.format(19_000).replace("sin", "cos"))
    assert in_jaxpr(left, right, "/p").line == 19_000


@given(st.text(), st.text())
@example("let a = { lambda ; b. let c = f[jaxpr=a] in (c,) } in", "{ lambda ; a:f32[]. let")
@example("{ lambda a:f32[]; b:f32[]. let", "{ lambda c:f32[]; b:f32[]. let")
@example("#loc = loc(#loc)\n  %0 = f loc(#loc)", "#loc = loc(callsite(#loc at #loc))\n  %1 = f loc(#loc)")
def test_any_texts_have_places(left, right):
    for place in (
        in_jaxpr(left, right, "/p"),
        in_stablehlo(left, right, "/p"),
        in_hlo((left, right), (left, right), left, "/p"),
        in_hlo(canonical(left, right), (left, right), left, "/p"),
        in_constants(left, right, "/p"),
        in_kernel(left, right, "/p"),
    ):
        assert place.text


@given(st.data())
def test_damaged_texts_have_places(texts, data):
    for ending, locate in ((".jaxpr", in_jaxpr), (".mlir", in_stablehlo)):
        (text,) = read(texts, f"base{ending}")
        at = data.draw(st.integers(0, len(text)))
        damaged = text[:at] + data.draw(st.text(max_size=10)) + text[at + data.draw(st.integers(0, 300)) :]
        assert locate(text, damaged, ROOT).text
        assert locate(damaged, text, ROOT).text
        assert in_constants(f"constant_{data.draw(st.integers(0, 9))}", damaged, ROOT).text
