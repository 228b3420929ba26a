"""Targets declared in code: `@pcv.target` writes them down, a worker reads them when it has the model."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, NamedTuple, TypeVar, overload

Function = TypeVar("Function", bound=Callable[..., Any])

_SHAPE = re.compile(r"[a-z][a-z0-9_]*\[(\d+(,\s*\d+)*)?\]")
_ENTRY = re.compile(r".+\.py:\w+(\.\w+)*")


class Declaration(NamedTuple):
    """A function declared as a target, by which module and where, and its example arguments.

    `args` is a tuple with one item an argument (a shape such as `f32[32,128]`, an entry such as
    `models/mlp.py:init_params`, a function that returns the argument, or the argument itself); or one
    function, or the entry of one, that returns all of them.
    """

    function: object
    name: str
    module: str
    file: str
    line: int
    args: object


class _Place(NamedTuple):
    """Where a decorator is applied; `run` is another object at each execution of the module, or None."""

    module: str
    file: str
    line: int
    run: object

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


# The decorator runs while a model is imported, and nothing can hand it a place to write to: hence the only
# registry in pcv.
_registry: dict[tuple[str, str], tuple[Declaration, _Place]] = {}


def declared() -> tuple[Declaration, ...]:
    """Every target declared in this process, in the order of declaration."""
    return tuple(declaration for declaration, _ in _registry.values())


@overload
def target(function: Function, /) -> Function: ...
@overload
def target(
    *arguments: str | Callable[..., object], args: object = ..., name: str | None = None
) -> Callable[[Function], Function]: ...
def target(*arguments: Any, args: object = None, name: str | None = None) -> Any:
    """Declare a function as a target, with example arguments. The function itself stays as it is.

        @pcv.target                                               a function without arguments
        @pcv.target("f32[32,128]", "models/mlp.py:init_params")   an argument each: a shape, or who makes it
        @pcv.target("f32[32,128]", lambda: jnp.eye(128))          a function that makes it may stand there too
        @pcv.target(args=example_args)                            one function that returns all, as a tuple
        @pcv.target(args=(params, "f32[32,128]"))                 ready values may stand among the others
        pcv.target("f32[4]", name="cubed")(lambda x: x ** 3)      what has no name of its own is given one

    Functions that make arguments are called without any, or with one named `seed` or `key`.

    Args:
        arguments: one an argument of the function, in order: a shape (`f32[32,128]`, `bf16[8]`, `i32[]`,
            `key[]`), the entry of a function that makes the argument (`models/mlp.py:init_params`), or that
            function. Without any, the function has no arguments.
        args: all arguments at once, instead: a function that returns their tuple, the entry of one
            (`"models/mlp.py:example_args"`), or a tuple that may hold ready values (arrays,
            `jax.ShapeDtypeStruct`s, pytrees of them) beside shapes, entries and functions.
        name: what the target is called after the colon of its entry; left out, the function's own name.
            Needed where that is none (a lambda, a `functools.partial`, a callable object) or is declared
            twice.

    Raises:
        TypeError: the arguments are not of these forms or could mean two things, what is decorated can't be
            called, or a function with arguments is declared without any.
        ValueError: the function has no name, or the module has declared the name already.
    """
    # The caller's frame, not the function's module: what is imported from elsewhere is declared here.
    frame = sys._getframe(1)  # noqa: SLF001  # `inspect.currentframe` is the same and costs an import
    names = frame.f_globals
    place = _Place(
        names.get("__name__", "__main__"), frame.f_code.co_filename, frame.f_lineno, names.get("__spec__")
    )
    if len(arguments) == 1 and callable(arguments[0]) and args is None and name is None:
        [function] = arguments
        if not _is_anonymous(function):
            held = any(value is function for value in (*frame.f_locals.values(), *names.values()))
            _check_bare(function, held, place)
            return _declare(function, (), None, place)
    for argument in arguments:
        if not isinstance(argument, str) and not _makes(argument):
            kind = type(argument).__name__
            raise TypeError(f"{place}: pcv.target takes strings, not {kind}: write args=(…,) for values")
    if arguments and args is not None:
        raise TypeError(f"{place}: pcv.target takes one string an argument, or args=, but not both")
    declared = _checked(arguments if args is None else args, place)
    return lambda function: _declare(function, declared, name, place)


def _is_anonymous(function: object) -> bool:
    """Whether it can only have been given to make an argument: a `def` under a bare decorator has a name."""
    return isinstance(function, partial) or getattr(function, "__name__", "") == "<lambda>"


def _makes(argument: object) -> bool:
    # Not just callable: an Equinox module can be called, and is itself a value.
    kinds = (FunctionType, BuiltinFunctionType, MethodType, partial)
    return isinstance(argument, kinds) or (callable(argument) and hasattr(argument, "__wrapped__"))


def _check_bare(function: object, held: bool, place: _Place) -> None:
    """Refuse a lone function that a decorator without parentheses would not be given, or cannot build.

    Python binds a `def` to its name only after its decorators ran. A function that has a name already
    (`held`) or comes from another module was rather given as what makes the argument, and taking it for the
    target would build the wrong thing.
    """
    called = _own_name(function)
    if not called:
        return
    module = getattr(function, "__module__", None)
    if held or (isinstance(module, str) and module != place.module):
        raise TypeError(
            f"{place}: pcv.target({called}) could mean two things: write @pcv.target(args=({called},)) if "
            f"{called} makes the argument, or pcv.target()({called}) if it is the target"
        )
    if needed := _needed(function):
        raise TypeError(
            f"{place}: {called} takes {', '.join(needed)}, but @pcv.target without parentheses declares no "
            'arguments: write @pcv.target("f32[32,128]", …), a shape or a function for each'
        )


def _needed(function: Any) -> list[str]:
    """The arguments that a function can't be called without; none where it does not tell."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    if not isinstance(function, FunctionType):
        return []
    code = function.__code__
    places = code.co_varnames[: code.co_argcount - len(function.__defaults__ or ())]
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return [*places, *(name for name in keywords if name not in (function.__kwdefaults__ or {}))]


def _checked(args: object, place: _Place) -> object:
    """`args`, if that is a form of all arguments. What only JAX can tell is checked where they are made."""
    if isinstance(args, tuple | list):
        for item in args:
            if isinstance(item, str) and not _SHAPE.fullmatch(item) and not _ENTRY.fullmatch(item):
                forms = 'a shape ("f32[32,128]") nor an entry ("models/mlp.py:init_params")'
                raise TypeError(f'{place}: "{item}" is neither {forms}')
        return tuple(args)
    if isinstance(args, str):
        if _ENTRY.fullmatch(args):
            return args
        hint = f'@pcv.target("{args}")' if _SHAPE.fullmatch(args) else 'args="models/mlp.py:example_args"'
        raise TypeError(
            f'{place}: "{args}" is no entry of a function that returns all arguments: write {hint}'
        )
    if callable(args):
        return args
    hint = "write a tuple of all arguments, or a function that returns it"
    raise TypeError(f"{place}: args is {type(args).__name__}: {hint}")


def _own_name(function: object) -> str:
    names = (getattr(function, "__qualname__", None), getattr(function, "__name__", None))
    return next((name for name in names if isinstance(name, str)), "")


def _declare(function: object, args: object, name: str | None, place: _Place) -> object:
    if not callable(function):
        kind = type(function).__name__
        raise TypeError(f"{place}: pcv.target is for functions, and {kind} can't be called")
    name = name or _own_name(function)
    if not all(part.isidentifier() for part in name.split(".")):
        called = f'"{name}"' if name else f"a {type(function).__name__}"
        raise ValueError(f'{place}: {called} is no name for a target: add name="…" to pcv.target')
    key = (place.module, name)
    if key in _registry:
        earlier, before = _registry[key]
        if place.run is not None and before.run is place.run and before.line != place.line:
            # Not a reload, which makes a new spec, nor a factory called twice: one of two would get lost.
            hint = 'add name="…" to one of them'
            raise ValueError(f'{place}: "{name}" is already declared on line {earlier.line}: {hint}')
        del _registry[key]  # so that the order is that of the latest execution
    _registry[key] = (Declaration(function, name, place.module, place.file, place.line, args), place)
    return function
