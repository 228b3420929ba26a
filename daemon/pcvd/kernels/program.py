"""A program as a flat list of equations over numbered values: what is cut.

A jaxpr is a tree: `jit`, custom derivatives and the like hold jaxprs of their own. Here what can be opened
is opened (XLA inlines such calls as well), so that a cut may fall inside of them; where they stood is
remembered as spans. Control flow, differentiated `remat` and whatever is unknown stay single equations.
What has neither a user nor an effect is left out, as XLA would.

Constants become values like the arguments: weights that a function closes over must not make two of its
kernels different programs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import numpy as np
from jax.extend import core as jaxprs

from pcvd.kernels import primitives
from pcvd.kernels.signature import Signatures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Atom: TypeAlias = int | jaxprs.Literal
"""The number of a value, or a scalar that is written into the program."""


@dataclass(frozen=True, slots=True, eq=False)
class Equation:
    """One application of a primitive.

    `origin` is JAX's own equation, whose variables mean nothing here; `kind` is equal exactly for equations
    that do the same to values of the same types, wherever those come from; `weight` says how much there is
    to compile, in simple equations.
    """

    origin: Any
    reads: tuple[Atom, ...]
    writes: tuple[int, ...]
    kind: int
    weight: int

    @property
    def has_effects(self) -> bool:
        """Whether it must run even if nobody uses its results."""
        return bool(self.origin.effects)


@dataclass(frozen=True, slots=True)
class Span:
    """The equations `start` to `stop` were one call. `marked` is what `pcv.kernel` made."""

    start: int
    stop: int
    name: str
    marked: bool


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Equations in an order in which they can run, with all that a cut needs to know of their values.

    `avals[v]` is the type of value v. `inputs` are the arguments in order, `constants` values with what they
    hold, `donated` those inputs whose buffers the caller gives away. `outputs` may repeat, and may be inputs,
    constants or scalars.
    """

    avals: tuple[Any, ...]
    inputs: tuple[int, ...]
    constants: tuple[tuple[int, Any], ...]
    equations: tuple[Equation, ...]
    outputs: tuple[Atom, ...]
    spans: tuple[Span, ...]
    donated: frozenset[int]
    signatures: Signatures

    def bytes_of(self, value: int) -> int:
        """How much memory a value takes."""
        return size_of(self.avals[value])

    def sums(self) -> list[int]:
        """The weight of all equations before each place, from 0 to the end."""
        weights = np.fromiter((one.weight for one in self.equations), np.int64, len(self.equations))
        sums: list[int] = np.concatenate([[0], np.cumsum(weights)]).tolist()
        return sums

    def marks(self) -> Iterator[int]:
        """The places around what the user marked with `pcv.kernel`."""
        for span in self.spans:
            if span.marked:
                yield from (span.start, span.stop)


def size_of(aval: Any) -> int:
    """Bytes of an array of this type; a random key counts as the words it holds."""
    size: int = math.prod(aval.shape) * getattr(aval.dtype, "itemsize", 8)
    return size


def flatten(jaxpr: Any, donated: Iterable[int] = ()) -> Program:
    """The program of a closed jaxpr. `donated` are positions of arguments whose buffers are given away.

    >>> import jax, jax.numpy as jnp
    >>> program = flatten(jax.make_jaxpr(jax.jit(lambda x: jnp.sin(x) + 1))(2.0))
    >>> [equation.origin.primitive.name for equation in program.equations]
    ['sin', 'add']
    """
    flattening = _Flattening()
    inputs = [flattening.value(variable.aval) for variable in jaxpr.jaxpr.invars]
    outputs = flattening.enter(jaxpr, inputs)
    positions = set(donated)
    equations, spans = _alive(flattening.equations, flattening.spans, outputs)
    return Program(
        tuple(flattening.avals),
        tuple(inputs),
        tuple(flattening.constants.values()),
        equations,
        tuple(outputs),
        spans,
        frozenset(value for place, value in enumerate(inputs) if place in positions),
        flattening.signatures,
    )


@dataclass(slots=True)
class _Flattening:
    avals: list[Any] = field(default_factory=list)
    equations: list[Equation] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    # By the identity of what they hold, which is kept alive here: one array is one value, however often
    # it was closed over.
    constants: dict[int, tuple[int, Any]] = field(default_factory=dict)
    signatures: Signatures = field(default_factory=Signatures)
    weights: dict[int, int] = field(default_factory=dict)

    def value(self, aval: Any) -> int:
        self.avals.append(aval)
        return len(self.avals) - 1

    def constant(self, held: Any, aval: Any) -> int:
        if id(held) not in self.constants:
            self.constants[id(held)] = (self.value(aval), held)
        return self.constants[id(held)][0]

    def enter(self, jaxpr: Any, arguments: Sequence[Atom]) -> list[Atom]:
        """Append the equations of `jaxpr`, applied to `arguments`; its results."""
        # Up to jax 0.11 constants stand in a ClosedJaxpr around a Jaxpr; from 0.12 on in the Jaxpr itself,
        # whose attribute `jaxpr` is itself. A body that nothing closes over may be open in both.
        consts = getattr(jaxpr, "consts", ())
        inner = getattr(jaxpr, "jaxpr", jaxpr)
        known: dict[Any, Atom] = dict(zip(inner.invars, arguments, strict=True))
        for variable, held in zip(inner.constvars, consts, strict=True):
            known[variable] = self.constant(held, variable.aval)
        for equation in inner.eqns:
            reads = [self._read(known, atom) for atom in equation.invars]
            body = primitives.body(equation)
            if body is None:
                results: Sequence[Atom] = self._append(equation, reads)
            else:
                start = len(self.equations)
                results = self.enter(body, reads)
                self._span(start, equation)
            known.update(zip(equation.outvars, results, strict=True))
        return [self._read(known, atom) for atom in inner.outvars]

    def _read(self, known: dict[Any, Atom], atom: Any) -> Atom:
        if not isinstance(atom, jaxprs.Literal):
            return known[atom]
        if np.ndim(atom.val):  # an array is a weight, not part of the program
            return self.constant(atom.val, atom.aval)
        return atom

    def _append(self, equation: Any, reads: list[Atom]) -> list[int]:
        writes = [self.value(variable.aval) for variable in equation.outvars]
        kind = self.signatures.kind(equation)
        self.equations.append(
            Equation(equation, tuple(reads), tuple(writes), kind, primitives.weight(equation, self.weights))
        )
        if primitives.is_call(equation):
            self._span(len(self.equations) - 1, equation)
        return writes

    def _span(self, start: int, equation: Any) -> None:
        stop = len(self.equations)
        if stop > start:
            name = str(equation.params.get("name", equation.primitive.name))
            self.spans.append(Span(start, stop, name, name.startswith(primitives.MARK)))


def _alive(
    equations: list[Equation], spans: list[Span], outputs: list[Atom]
) -> tuple[tuple[Equation, ...], tuple[Span, ...]]:
    """The equations that somebody needs, and the spans as they lie over those."""
    needed = {atom for atom in outputs if isinstance(atom, int)}
    alive = bytearray(len(equations))
    for place in range(len(equations) - 1, -1, -1):
        equation = equations[place]
        if equation.origin.effects or not needed.isdisjoint(equation.writes):
            alive[place] = 1
            needed.update(atom for atom in equation.reads if isinstance(atom, int))
    before = np.concatenate([[0], np.cumsum(np.frombuffer(alive, np.uint8), dtype=np.int64)]).tolist()
    kept = tuple(one for one, lives in zip(equations, alive, strict=True) if lives)
    moved = (Span(before[one.start], before[one.stop], one.name, one.marked) for one in spans)
    return kept, tuple(one for one in moved if one.stop > one.start)


def obstacle(aval: Any) -> str | None:
    """Why a value of this type can't be handed from one kernel to the next; None where it can."""
    if not isinstance(aval, jax.core.ShapedArray):
        return f"{type(aval).__name__} can't leave the program it was made in"
    if aval.dtype == jax.dtypes.float0:
        return "float0 has no buffer"
    if any(not isinstance(size, int) for size in aval.shape):
        return "its shape is symbolic"
    if not aval.sharding.mesh.empty:
        return "it is laid out over a mesh of devices"
    return None
