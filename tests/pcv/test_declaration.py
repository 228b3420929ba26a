from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pcv

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Model = Callable[..., ModuleType]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Model:
    """Writes a module and imports it, as a worker does: from its path, under a name of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a reload within a second must read the source

    def write_and_import(text: str, name: str = "m") -> ModuleType:
        name = f"{name}_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        module = importlib.import_module(name)
        request.addfinalizer(lambda: sys.modules.pop(name, None))
        return module

    return write_and_import


def of(module: ModuleType) -> list[pcv.Declaration]:
    return [declaration for declaration in pcv.declared() if declaration.module == module.__name__]


def test_each_form_is_written_down(model: Model) -> None:
    module = model("""\
        import functools, pcv

        @pcv.target
        def bare(): pass

        @pcv.target("f32[32,128]", "models/mlp.py:init_params")
        def shapes(x, params): pass

        def example_args(): return (1,)

        @pcv.target(args=example_args)
        def made(x): pass

        @pcv.target(args="models/mlp.py:example_args")
        def entry(x): pass

        VALUE = [1.0]
        @pcv.target(args=(VALUE, "key[]", example_args))
        def mixed(x, y, z): pass

        @pcv.target(
            args=["f32[]"],
            name="other",
        )
        def named(x): pass

        @pcv.target()
        def called(): pass

        @pcv.target("f32[1]", example_args)
        def positional(x, y): pass

        @pcv.target(lambda: 1)
        def by_lambda(x): pass

        @pcv.target(functools.partial(max, 1))
        def by_partial(x): pass

        @pcv.target
        @functools.lru_cache
        def wrapped(x=1, *rest, y=2, **more): pass
    """)
    found = {one.name: one for one in of(module)}
    assert [(one.name, one.line) for one in found.values()] == [
        ("bare", 3), ("shapes", 6), ("made", 11), ("entry", 14), ("mixed", 18), ("other", 21), ("called", 27),
        ("positional", 30), ("by_lambda", 33), ("by_partial", 36), ("wrapped", 39),
    ]  # fmt: skip
    assert {one.file for one in found.values()} == {module.__file__}
    assert found["bare"].args == found["called"].args == ()
    assert found["positional"].args == ("f32[1]", module.example_args)
    [by_lambda], [by_partial] = found["by_lambda"].args, found["by_partial"].args  # type: ignore[misc]
    assert (by_lambda(), by_partial.func) == (1, max)
    assert found["wrapped"].args == ()
    assert found["shapes"].args == ("f32[32,128]", "models/mlp.py:init_params")
    assert found["made"].args is module.example_args
    assert found["entry"].args == "models/mlp.py:example_args"
    value, key, function = found["mixed"].args  # type: ignore[misc]
    assert value is module.VALUE
    assert (key, function) == ("key[]", module.example_args)
    assert found["other"].args == ("f32[]",)
    assert found["other"].function is module.named
    assert all(found[name].function is getattr(module, name) for name in found if name != "other")


class Layer:
    def __call__(self, x: object) -> object:
        return x

    def apply(self) -> None: ...

    @staticmethod
    def helper() -> None: ...


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functools.partial(max, 1), "given"),
        (Layer(), "given"),
        (lambda x: x, "given"),
        (Layer.apply, None),
        (Layer.helper, None),
        (max, None),
        (Layer().apply, "bound"),
    ],
)
def test_what_is_decorated_stays_what_it_is(function: Callable[..., Any], name: str | None) -> None:
    before = getattr(function, "__dict__", {}).copy()
    assert pcv.target("f32[]", name=name)(function) is function
    assert getattr(function, "__dict__", {}) == before
    found = pcv.declared()[-1]
    assert found.function is function
    assert found.name == name or found.name in {"Layer.apply", "Layer.helper", "max"}


def test_a_jitted_function_stays_jitted() -> None:
    jax = pytest.importorskip("jax")

    @jax.jit
    def double(x: Any) -> Any:
        return 2 * x

    assert pcv.target("f32[3]", name="double")(double) is double
    assert pcv.declared()[-1].function is double
    assert double.lower(jax.ShapeDtypeStruct((3,), "float32")).as_text()


def test_a_method_is_named_with_its_class(model: Model) -> None:
    module = model("""\
        import pcv
        class Net:
            @pcv.target
            def apply(): pass
    """)
    assert [one.name for one in of(module)] == ["Net.apply"]


def test_an_imported_function_belongs_to_the_module_that_declares_it(model: Model) -> None:
    library = model("def forward(): pass\n", "library")
    module = model(f"import pcv, {library.__name__}\n\nf = pcv.target()({library.__name__}.forward)\n")
    assert of(library) == []
    [found] = of(module)
    assert (found.name, found.file, found.line) == ("forward", module.__file__, 3)
    assert found.function is library.forward


def test_a_reload_replaces(model: Model) -> None:
    module = model("import pcv\n@pcv.target\ndef f(): pass\n@pcv.target\ndef g(): pass\n")
    old = module.f
    assert module.__file__
    Path(module.__file__).write_text("import pcv\n\n@pcv.target('f32[1]')\ndef f(x): pass\n")
    importlib.reload(module)
    found = {one.name: one for one in of(module)}
    assert list(found) == ["g", "f"]
    assert (found["f"].line, found["f"].args) == (3, ("f32[1]",))
    assert found["f"].function is module.f is not old


def test_two_targets_of_one_name_are_refused(model: Model) -> None:
    for name, text in {
        "shadowed": "import pcv\n@pcv.target\ndef f(): pass\n\n@pcv.target\ndef f(): pass\n",
        "stacked": "import pcv\n\n\n@pcv.target('f32[1]')\n@pcv.target('f32[2]')\ndef f(x): pass\n",
    }.items():
        with pytest.raises(
            ValueError, match=r'\.py:\d: "f" is already declared on line \d: add name="…"'
        ) as caught:
            model(text, name)
        lines = {"shadowed": (5, 2), "stacked": (4, 5)}[name]
        assert f".py:{lines[0]}: " in str(caught.value)
        assert f"on line {lines[1]}: " in str(caught.value)
    module = model(
        "import pcv\n@pcv.target('f32[1]', name='one')\n@pcv.target('f32[2]')\ndef f(x): pass\n", "named"
    )
    assert [(one.name, one.args) for one in of(module)] == [("f", ("f32[2]",)), ("one", ("f32[1]",))]


def test_a_factory_may_be_called_again(model: Model) -> None:
    module = model("""\
        import pcv
        def make(size):
            @pcv.target(f"f32[{size}]", name="made")
            def f(x): pass
            return f
        make(1)
        last = make(2)
    """)
    [found] = of(module)
    assert (found.function, found.args) == (module.last, ("f32[2]",))


def test_a_notebook_may_run_a_cell_again() -> None:
    names: dict[str, Any] = {"__name__": "notebook"}
    cell = "import pcv\n@pcv.target('f32[1]')\ndef f(x): pass\n"
    exec(cell, names)
    exec(cell.replace("1", "2"), names)
    assert [one.args for one in pcv.declared() if one.module == "notebook"] == [("f32[2]",)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pcv.target('f32[1]')(functools.partial(max, 1))", 'a partial is no name for a target'),
        ("pcv.target('f32[1]')(lambda x: x)", '"<lambda>" is no name for a target: add name="…"'),
        ("pcv.target(outer)", "pcv.target(outer) could mean two things: write @pcv.target(args=(outer,)) if"),
        ("pcv.target(outer)", "or pcv.target()(outer) if it is the target"),
        ("@pcv.target(outer)\ndef f(x): pass", "pcv.target(outer) could mean two things"),
        ("other = outer; pcv.target(other)", "pcv.target(outer) could mean two things"),
        ("pcv.target(textwrap.dedent)", "pcv.target(dedent) could mean two things"),
        ("@pcv.target\ndef f(x, y=1, *, z): pass", 'f takes x, z, but @pcv.target without parentheses'),
        ("@pcv.target\ndef f(x): pass", 'write @pcv.target("f32[32,128]", …)'),
        ("pcv.target(outer())", '"outer.<locals>.inner" is no name for a target: add name="…"'),
        ("pcv.target(name='a b')(outer)", '"a b" is no name for a target'),
        ("pcv.target('f32[1]')(3)", "pcv.target is for functions, and int can't be called"),
        ("pcv.target(3)", "pcv.target takes strings, not int: write args=(…,) for values"),
        ("pcv.target('f32[1]', [1.0])", "pcv.target takes strings, not list: write args=(…,) for values"),
        ("pcv.target(type('Net', (), {'__call__': print})(), 'f32[1]')", "not Net: write args=(…,)"),
        ("pcv.target('f32[1]', args=())", "one string an argument, or args=, but not both"),
        ("pcv.target('f32[1')", '"f32[1" is neither a shape ("f32[32,128]") nor an entry ("models/mlp.py'),
        ("pcv.target('f32[1]', 'outer')", '"outer" is neither a shape'),
        ("pcv.target(args=('mlp:f',))", '"mlp:f" is neither a shape'),
        ("pcv.target(args='f32[1]')", 'returns all arguments: write @pcv.target("f32[1]")'),
        ("pcv.target(args='outer')", 'write args="models/mlp.py:example_args"'),
        ("pcv.target(args={})", "args is dict: write a tuple of all arguments, or a function"),
        ("pcv.target(args=1)", "args is int: write a tuple"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(model: Model, tmp_path: Path, line: str, said: str) -> None:
    declared = pcv.declared()
    head = "import functools, textwrap, pcv\ndef outer():\n    def inner(): pass\n    return inner\n"
    with pytest.raises((TypeError, ValueError)) as caught:
        model(f"{head}{line}\n")
    assert said in str(caught.value)
    place = str(caught.value).partition(": ")[0]
    assert place.endswith(".py:5")
    assert place.startswith(str(tmp_path))
    assert pcv.declared() == declared


def test_importing_pcv_costs_next_to_nothing() -> None:
    script = (
        "import __future__, json, sys, re, typing; before = set(sys.modules); import pcv;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["pcv", "pcv.boundary", "pcv.declaration", "pcv.door"]
