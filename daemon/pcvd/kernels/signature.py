"""When two equations do the same: by primitive, parameters, types, effects and context.

Parameters are compared by what they hold: jaxprs by their structure, arrays by their bytes, numbers by
value. What only derivatives or printing would ask for is left out. What can't be looked into (a callback)
is equal to nothing but what it says it equals itself, so that two kernels are never taken for one wrongly.

Numbers here are those of one `Signatures`; `digest` gives texts that mean the same in every process.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import numbers
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.extend import core as jaxprs

from pcvd.kernels import primitives

if TYPE_CHECKING:
    from collections.abc import Hashable

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class _Number(NamedTuple):
    """A reference to what has a number, as part of what gets one."""

    number: int


class _Opaque:
    """Something that is compared as it compares itself; by identity, where it can't be hashed."""

    __slots__ = ("_hash", "held")

    def __init__(self, held: Any) -> None:
        self.held = held
        try:
            self._hash = hash(held)
        except TypeError:
            self._hash = id(held)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Opaque) or self._hash != other._hash:
            return False
        return self.held is other.held or (type(self.held) is type(other.held) and self.held == other.held)

    def __repr__(self) -> str:
        kind = type(self.held)
        if callable(self.held) and hasattr(self.held, "__qualname__"):
            return f"{self.held.__module__}.{self.held.__qualname__}"
        return f"{kind.__module__}.{kind.__qualname__}:{_ADDRESS.sub('', repr(self.held))}"


class Signatures:
    """Gives equal things equal numbers, counted from 0."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._things: list[Hashable] = []
        # By identity, with the object itself, which must outlive its id.
        self._seen: dict[int, tuple[Any, _Number]] = {}
        self._digests: dict[int, str] = {}

    def kind(self, equation: Any) -> int:
        """The number of what an equation does. The values of scalars written into it are left out."""
        primitive = equation.primitive
        irrelevant = primitives.IRRELEVANT.get(primitive.name, ())
        params = tuple(
            (name, self._code(equation.params[name]))
            for name in sorted(equation.params)
            if name not in irrelevant
        )
        reads = tuple((self._once(atom.aval), isinstance(atom, jaxprs.Literal)) for atom in equation.invars)
        writes = tuple(self._once(variable.aval) for variable in equation.outvars)
        effects = frozenset(map(_Opaque, equation.effects)) if equation.effects else None
        return self._numbered(
            (_Opaque(primitive), params, reads, writes, effects, self._once(equation.ctx))
        ).number

    def literal(self, literal: Any) -> int:
        """The number of a scalar: its type and its bits."""
        value = np.asarray(literal.val)
        return self._numbered((self._once(literal.aval), value.dtype.str, value.tobytes())).number

    def digest(self, number: int) -> str:
        """What has this number, as a digest that is the same in every process.

        Equal things have equal digests. The converse holds except for what is opaque, which is told by its
        name only.
        """
        if number not in self._digests:
            text = self._text(self._things[number])
            self._digests[number] = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return self._digests[number]

    def _text(self, thing: Any) -> str:
        if isinstance(thing, _Number):
            return self.digest(thing.number)
        if isinstance(thing, tuple):
            return f"({','.join(map(self._text, thing))})"
        if isinstance(thing, frozenset):
            return f"{{{','.join(sorted(map(self._text, thing)))}}}"
        return repr(thing)

    def _numbered(self, thing: Hashable) -> _Number:
        number = self._numbers.setdefault(thing, len(self._things))
        if number == len(self._things):
            self._things.append(thing)
        return _Number(number)

    def _once(self, thing: Any) -> _Number:
        """The number of something that compares well but slowly, such as a type."""
        found = self._seen.get(id(thing))
        if found is None:
            found = self._seen[id(thing)] = (thing, self._numbered(_Opaque(thing)))
        return found[1]

    def _code(self, value: Any) -> Hashable:
        """A parameter as something that is equal exactly where the parameter means the same."""
        kind = type(value)
        if kind is int:  # most are numbers and tuples of numbers; what follows would tell them slowly
            return ("int", value)
        if kind is tuple:
            return ("sequence", *map(self._code, value))
        if value is None or isinstance(value, str | bytes):
            return value
        if isinstance(value, enum.Enum | np.dtype):
            return _Opaque(value)
        if isinstance(value, bool | np.bool_ | numbers.Number | np.generic):
            return self._scalar(value)
        if hasattr(value, "eqns"):
            return self._jaxpr(value)
        if isinstance(value, np.ndarray | jax.Array):
            return self._array(value)
        return self._composed(value)

    def _scalar(self, value: Any) -> Hashable:
        # 1, 1.0 and True are equal in Python, and nan is not equal to itself.
        if isinstance(value, bool | np.bool_):
            return ("bool", bool(value))
        if isinstance(value, numbers.Integral):
            return ("int", int(value))
        if isinstance(value, float | complex | np.generic):
            held = np.asarray(value)
            return (held.dtype.str, held.tobytes())
        return _Opaque(value)

    def _composed(self, value: Any) -> Hashable:
        name = type(value).__qualname__
        if isinstance(value, tuple | list):
            kind = name if hasattr(value, "_fields") else "sequence"
            return (kind, *map(self._code, value))
        if isinstance(value, dict):
            return ("dict", frozenset((self._code(key), self._code(item)) for key, item in value.items()))
        if isinstance(value, set | frozenset):
            return ("set", frozenset(map(self._code, value)))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return (name, *(self._code(getattr(value, each.name)) for each in dataclasses.fields(value)))
        return _Opaque(value)

    def _array(self, value: Any) -> Hashable:
        if jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended):
            value = jax.random.key_data(value)
        held = np.asarray(value)
        return ("array", str(held.dtype), held.shape, hashlib.sha256(held.tobytes()).digest())

    def _jaxpr(self, jaxpr: Any) -> _Number:
        """The number of a jaxpr: what it does with arguments of which types. Names mean nothing."""
        if id(jaxpr) not in self._seen:
            inner = getattr(jaxpr, "jaxpr", jaxpr)
            local = {variable: place for place, variable in enumerate((*inner.constvars, *inner.invars))}
            equations = []
            for equation in inner.eqns:
                reads = tuple(self._read(local, atom) for atom in equation.invars)
                for variable in equation.outvars:
                    local[variable] = len(local)
                equations.append((_Number(self.kind(equation)), reads))
            thing = (
                "jaxpr",
                tuple(self._once(variable.aval) for variable in inner.invars),
                tuple(self._code(held) for held in getattr(jaxpr, "consts", ())),
                tuple(equations),
                tuple(self._read(local, atom) for atom in inner.outvars),
            )
            self._seen[id(jaxpr)] = (jaxpr, self._numbered(thing))
        return self._seen[id(jaxpr)][1]

    def _read(self, local: dict[Any, int], atom: Any) -> Hashable:
        return _Number(self.literal(atom)) if isinstance(atom, jaxprs.Literal) else local[atom]
