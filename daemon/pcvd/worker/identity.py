"""Which function is it? Names for live objects that are the same in every process: what a jaxpr refers to
but does not spell out.

A jaxpr shows a callback as `<function host at 0x…>`. The address says nothing; dropping it would make two
swapped callbacks look alike. So a function is named by its qualified name and a digest of what it does: its
byte code, constants, defaults and captured values. Where it stands in its file is no part of that.

What changes by itself is not looked into: a list or a dict that a callback captured may be the log it writes
to, and then it differs from one build of a process to the next. Such things, and all objects that this module
does not know, are named by their type alone, and counted. Values that a pytree holds as static data are
looked into: JAX compares them as well.
"""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import inspect
import re
import types
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pcvd import jaxnames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PLAIN = (str, bytes, bool, int, float, complex, types.NoneType, types.EllipsisType)
_FIXED = (type, types.ModuleType, enum.Enum, np.dtype, np.generic, np.ndarray, jax.Array)
_BUILTIN = (
    types.BuiltinFunctionType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
_ADDRESS = re.compile(r"(?<= at 0x)[0-9a-f]+")
_DEEPEST = 40  # objects within objects
_MOST = 10_000  # objects looked into per name
_DIGITS = 32  # of a digest: enough that no two functions of a project share them


def of(value: Any) -> str:
    """A name for `value`: equal in all processes for what is equal, and another for what does otherwise."""
    return _Walk().name(value)


def described(value: Any) -> str:
    """The text of an object that is no array, with its address replaced by its name."""
    return f"{_without_addresses(str(value))}\n{of(value)}"


def callables(jaxpr: Any) -> tuple[str, int]:
    """One line for each parameter of an equation that its text can't be trusted to tell: where, and its name.
    And how many objects that the user's callbacks hold are named by their type alone.

    Whatever JAX prints with an address or a set in hash order is listed, texts of the user's that only look
    like one included, so that what the rules drop from the jaxpr's text hides nothing.
    """
    lines, by_type = [], 0
    for place, inner in enumerate(jaxnames.inner_jaxprs(jaxpr)):
        for number, equation in enumerate(inner.eqns):
            for parameter, value in sorted(equation.params.items()):
                if _differs_in_print(value):
                    walk = _Walk()
                    name = walk.name(value)
                    lines.append(f"{place}/{number} {equation.primitive}.{parameter}: {name}\n")
                    # What other parameters refer to besides is traced, and stands in the jaxpr.
                    by_type += walk.by_type * ("callback" in str(equation.primitive))
    return "".join(lines), by_type


def signature(traced: Any) -> str:
    """What a traced function takes and gives: pytrees, types with weakness, donation.

    The jaxpr's text is blind to all of it: a tuple or a list, None or nothing, a weak type or a strong one.
    """
    donated = [info.donated for info in jax.tree.leaves(traced.args_info)]
    taken, given = traced.jaxpr.in_avals, traced.jaxpr.out_avals
    lines = [
        f"takes {of(traced.in_tree)}",
        *(f"  {place} {_type(aval)}" for place, aval in enumerate(taken)),
        f"donated {[place for place, one in enumerate(donated) if one]}",
        f"gives {of(traced.out_tree)}",
        *(f"  {place} {_type(aval)}" for place, aval in enumerate(given)),
    ]
    return "".join(f"{line}\n" for line in lines)


def _type(aval: Any) -> str:
    weak = " weak" if getattr(aval, "weak_type", False) else ""
    return _without_addresses(aval.str_short() if hasattr(aval, "str_short") else str(aval)) + weak


def _without_addresses(text: str) -> str:
    return _ADDRESS.sub("", text)


def _differs_in_print(value: Any) -> bool:
    if isinstance(value, bool | int | float | types.NoneType) or hasattr(value, "eqns"):
        return False
    text = str(value)
    return " at 0x" in text or "frozenset({" in text


class _Walk:
    """One walk from a value to all that it refers to. It ends: at cycles, and at a depth and a number of
    objects that no sensible callback reaches.
    """

    def __init__(self) -> None:
        self.by_type = 0
        """How many objects were named by their type alone."""
        self._open: set[int] = set()
        self._functions: dict[types.FunctionType, str] = {}
        self._left = _MOST
        self._depth = 0

    def name(self, value: Any, *, captured: bool = False) -> str:
        """The name of `value`. `captured` says that a function holds it, and may change it when it runs."""
        if isinstance(value, _PLAIN):
            return _plain(value)
        if id(value) in self._open or not self._left or self._depth == _DEEPEST:
            return f"{_typename(value)} …"
        self._open.add(id(value))
        self._left -= 1
        self._depth += 1
        try:
            return self._looked_into(value, captured)
        except Exception:  # objects of the user's making may refuse any question
            return self._by_type(value)
        finally:
            self._depth -= 1
            self._open.discard(id(value))

    def _looked_into(self, value: Any, captured: bool) -> str:
        if isinstance(value, _FIXED):
            return _fixed(value)
        if isinstance(value, jax.tree_util.PyTreeDef):
            return self._tree(value)
        if isinstance(value, tuple | frozenset | list | set | dict):
            return self._container(value, captured)
        if callable(value):
            found = self._callable(value)
            if found is not None:
                return found
        if dataclasses.is_dataclass(value):
            return self._record(value, captured)
        return self._by_type(value)

    def _by_type(self, value: Any) -> str:
        self.by_type += 1
        return _typename(value)

    def _container(self, value: Any, captured: bool) -> str:
        if captured and isinstance(value, list | set | dict):
            return self._by_type(value)
        if isinstance(value, dict):
            pairs = [f"{self.name(key)}: {self.name(one)}" for key, one in value.items()]
            return f"{_typename(value)}{{{', '.join(sorted(pairs))}}}"
        names = [self.name(one, captured=captured) for one in value]
        if isinstance(value, set | frozenset):
            names.sort()  # their order is the hash seed's
        return f"{_typename(value)}({', '.join(names)})"

    def _tree(self, tree: Any) -> str:
        node = tree.node_data()
        if node is None:
            return "*"
        kind, static = node
        held = "" if static is None else f"[{self.name(static)}]"
        return f"{_typename(kind)}{held}({', '.join([self.name(child) for child in tree.children()])})"

    def _record(self, value: Any, captured: bool) -> str:
        if captured and not value.__dataclass_params__.frozen:
            return self._by_type(value)
        # What a dataclass leaves out of its comparison is no part of what it is.
        fields = [
            f"{field.name}={self.name(getattr(value, field.name), captured=captured)}"
            for field in dataclasses.fields(value)
            if field.compare and hasattr(value, field.name)
        ]
        return f"{_typename(value)}({', '.join(fields)})"

    def _callable(self, value: Any) -> str | None:
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return f"{self.name(value.__func__)} of {self.name(value.__self__, captured=True)}"
        if isinstance(value, _BUILTIN):
            return f"{getattr(value, '__module__', None)}.{value.__qualname__}"
        if isinstance(value, functools.partial):
            given = [self.name(one, captured=True) for one in value.args]
            named = [f"{key}={self.name(one, captured=True)}" for key, one in sorted(value.keywords.items())]
            return f"partial({', '.join([self.name(value.func), *given, *named])})"
        wrapped = getattr(value, "__wrapped__", None)  # jit, custom_jvp, lru_cache
        if wrapped is not None:
            return f"{_typename(value)}({self.name(wrapped)})"
        if dataclasses.is_dataclass(value):
            return None
        call = inspect.getattr_static(type(value), "__call__", None)
        if isinstance(call, types.FunctionType):
            return f"{_typename(value)}({self._function(call)})"
        known_as = getattr(value, "__name__", None)  # a NumPy ufunc
        return f"{_typename(value)} {known_as}" if isinstance(known_as, str) else None

    def _function(self, function: types.FunctionType) -> str:
        if function not in self._functions:
            code, kwdefaults = function.__code__, sorted((function.__kwdefaults__ or {}).items())
            rebound = _rebound(code)
            cells = [
                self._cell(cell, function, changes=name in rebound)
                for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)
            ]
            does = [
                *_code(code),
                *(self.name(one, captured=True) for one in function.__defaults__ or ()),
                *(f"{name}={self.name(one, captured=True)}" for name, one in kwdefaults),
                *cells,
            ]
            # Who reads a wrapper of JAX's own wants to know what is wrapped.
            held = f"({', '.join(cells)})" if jaxnames.captures_for_good(function) else ""
            self._functions[function] = f"{function.__module__}.{function.__qualname__}#{_digest(does)}{held}"
        return self._functions[function]

    def _cell(self, cell: types.CellType, function: types.FunctionType, *, changes: bool) -> str:
        try:
            held = cell.cell_contents
        except ValueError:
            return "<empty>"
        if changes:
            return self._by_type(held)
        return self.name(held, captured=not jaxnames.captures_for_good(function))


def _plain(value: Any) -> str:
    # A subclass may print as it likes; what it stands for is the value of the plain type.
    base = next(one for one in _PLAIN if isinstance(value, one))
    text = base.__repr__(value)  # type: ignore[call-arg]
    return text if type(value) is base else f"{_typename(value)}({text})"


def _fixed(value: Any) -> str:
    """The name of what can't refer to anything else."""
    if isinstance(value, type):
        return _typename(value)
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, enum.Enum):
        return f"{_typename(type(value))}.{value.name}"
    if isinstance(value, np.dtype):
        return str(value)
    if isinstance(value, jax.core.Tracer):
        return _typename(value)
    data = value
    if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        data = jax.random.key_data(value)
    data = np.asarray(data)
    if data.dtype == object:
        return _typename(value)
    shape = ",".join(map(str, value.shape))
    return f"{value.dtype}[{shape}]#{hashlib.sha256(data.tobytes()).hexdigest()[:_DIGITS]}"


def _typename(value: Any) -> str:
    kind = value if isinstance(value, type) else type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _code(code: types.CodeType) -> Iterator[str]:
    """What a code object does, without where it stands: file, lines and columns are left out."""
    yield code.co_name
    yield f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_flags}"
    yield code.co_code.hex()
    yield code.co_exceptiontable.hex()
    for names in (code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars):
        yield repr(names)
    for constant in code.co_consts:
        yield _constant(constant)


def _rebound(code: types.CodeType) -> set[str]:
    """The captured variables that the code, or a function within it, gives another value (`nonlocal`)."""
    stores = {"STORE_DEREF", "DELETE_DEREF"}
    stored = {one.argval for one in dis.get_instructions(code) if one.opname in stores}
    inner = [_rebound(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return stored.union(*inner) & {*code.co_freevars}


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return _digest(_code(value))
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_constant, value)))}}}"  # their order is the hash seed's
    return f"{type(value).__name__} {value!r}"


def _digest(texts: Iterable[str]) -> str:
    seen = hashlib.sha256()
    for text in texts:
        data = text.encode(errors="backslashreplace")
        seen.update(b"%d:" % len(data))
        seen.update(data)
    return seen.hexdigest()[:_DIGITS]
