"""Targets declared in code: `@pcv.target` writes them down, a worker reads them when it has the model."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
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
def target(*shapes: str, args: object = ..., name: str | None = None) -> Callable[[Function], Function]: ...
def target(*shapes: Any, args: object = None, name: str | None = None) -> Any:
    """Declare a function as a target, with example arguments. The function itself stays as it is.

        @pcv.target                                               a function without arguments
        @pcv.target("f32[32,128]", "models/mlp.py:init_params")   an argument each: a shape, or who returns it
        @pcv.target(args=example_args)                            one function that returns all, as a tuple
        @pcv.target(args=(params, "f32[32,128]"))                 ready values may stand among the others

    Args:
        shapes: one string an argument.
        args: all arguments, instead: a function that returns their tuple, the entry of one, or the tuple.
        name: what the target is called after the colon of its entry. Needed where the function has no name of
            its own (a lambda, a `functools.partial`, a callable object) or is declared twice.

    Raises:
        TypeError: the arguments are not of these forms, or what is decorated can't be called.
        ValueError: the function has no name, or the module has declared the name already.
    """
    # The caller's frame, not the function's module: what is imported from elsewhere is declared here.
    frame = sys._getframe(1)  # noqa: SLF001  # `inspect.currentframe` is the same and costs an import
    names = frame.f_globals
    place = _Place(
        names.get("__name__", "__main__"), frame.f_code.co_filename, frame.f_lineno, names.get("__spec__")
    )
    if len(shapes) == 1 and callable(shapes[0]) and args is None and name is None:
        return _declare(shapes[0], (), None, place)
    for shape in shapes:
        if not isinstance(shape, str):
            kind = type(shape).__name__
            raise TypeError(f"{place}: pcv.target takes strings, not {kind}: write args=(…,) for values")
    if shapes and args is not None:
        raise TypeError(f"{place}: pcv.target takes one string an argument, or args=, but not both")
    arguments = _checked(shapes if args is None else args, place)
    return lambda function: _declare(function, arguments, name, place)


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
