"""From a program and the places where it is cut to a graph of distinct kernels.

Two steps share a kernel if they apply the same equations in the same way to values of the same types and
pass on the same results, or one of them some of what the other does; the rest is then dropped. Names, places
and the identity of objects play no part, and neither do the values of weights: those are arguments. A scalar
written into the program belongs to it, unless three or more otherwise equal steps differ in it (a layer's
number, a rate that falls from layer to layer): then it becomes an argument too.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from jax.extend import core as jaxprs

from pcvd import jaxnames
from pcvd.kernels import primitives
from pcvd.kernels.donation import donations
from pcvd.kernels.graph import Graph, Kernel, Step
from pcvd.kernels.recompute import Flow, shares

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from pcvd.kernels.policies import Cut
    from pcvd.kernels.program import Atom, Equation, Program
    from pcvd.kernels.signature import Signatures

_VARIANTS = 3
"""From how many variants on a scalar is an argument. Editing one layer's makes two, and is to leave the
kernels of the other layers as they are.
"""


class _Shape(NamedTuple):
    """What bodies that differ only in scalars have in common: what their equations do, to which values, and
    which are the results.
    """

    kinds: tuple[int, ...]
    refs: tuple[int, ...]
    results: tuple[int, ...]
    types: tuple[int, ...]


@dataclass(slots=True, eq=False)
class _Body:
    """What one step computes: `results` by `equations`, of which the first `recomputed` belong to earlier
    kernels. `writes` are the numbers that the results get; `name` is the call that it was, if it was one.

    `shape` is equal for bodies that differ in nothing but the `scalars` written into them; `lifted` are the
    places of those scalars that become arguments, after what it `reads`.
    """

    equations: Sequence[Equation]
    recomputed: int
    results: tuple[Atom, ...]
    writes: tuple[int, ...]
    name: str = ""
    reads: list[int] = field(default_factory=list)
    scalars: list[Any] = field(default_factory=list)
    shape: _Shape = field(init=False)
    lifted: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Number values: even where they are read from outside, in the order of their first use, odd where
        they are made; scalars are -1.
        """
        local: dict[int, int] = {}
        made = 0

        def refer(atom: Atom) -> int:
            if not isinstance(atom, int):
                self.scalars.append(atom)
                return -1
            if atom not in local:
                local[atom] = 2 * len(self.reads)
                self.reads.append(atom)
            return local[atom]

        refs: list[int] = []
        for equation in self.equations:
            refs += map(refer, equation.reads)
            for value in equation.writes:
                local[value] = 2 * made + 1
                made += 1
        results = tuple(map(refer, self.results))
        # Equations tell the types of what they read; without any, values are told apart themselves.
        types = () if self.equations else tuple(self.reads)
        self.shape = _Shape(tuple(one.kind for one in self.equations), tuple(refs), results, types)

    def pass_on(self, results: tuple[int, ...], avals: list[Any]) -> None:
        """Pass on these results, numbered as in the shape, of which it passes on some already."""
        made = [value for equation in self.equations for value in equation.writes]
        known = dict(zip(self.shape.results, self.writes, strict=True))
        values = tuple(made[number // 2] for number in results)
        for number, value in zip(results, values, strict=True):
            if number not in known:
                known[number] = len(avals)
                avals.append(avals[value])
        self.results, self.writes = values, tuple(known[number] for number in results)
        self.shape = self.shape._replace(results=results)


def extract(program: Program, cut: Cut) -> Graph:
    """The kernels of a program that is cut at these places, and how they are put together."""
    avals = list(program.avals)
    constants = list(program.constants)
    bodies, outputs = _bodies(program, cut, avals)
    _share_results(bodies, avals)
    numbers: dict[Hashable, int] = {}
    kernels: list[Kernel] = []
    steps: list[Step] = []
    for key, body in zip(_keys(bodies, program.signatures), bodies, strict=True):
        if key not in numbers:
            numbers[key] = len(kernels)
            kernels.append(_kernel(body, avals, program.signatures, {one.digest for one in kernels}))
        reads = (*body.reads, *_constants(body, avals, constants))
        file, line = _place(body)
        steps.append(Step(numbers[key], reads, body.writes, len(body.equations), body.recomputed, file, line))
    graph = Graph(
        tuple(kernels), tuple(steps), tuple(avals), program.inputs, tuple(constants), outputs,
        program.donated, cut.notes,
    )  # fmt: skip
    given = donations(graph)
    final = tuple(_giving(kernel, positions) for kernel, positions in zip(kernels, given, strict=True))
    return dataclasses.replace(graph, kernels=final)


def _bodies(program: Program, cut: Cut, avals: list[Any]) -> tuple[list[_Body], tuple[int, ...]]:
    """What each step computes, and the numbers of the program's results.

    Results that are constants or scalars are made by a step of their own, since the caller may give their
    buffers away. Their types are added to `avals`.
    """
    segments = cut.segments(len(program.equations))
    names = {(span.start, span.stop): span.name.removeprefix(primitives.MARK) for span in program.spans}
    bodies = []
    for segment, share in zip(segments, shares(_flow(program), segments), strict=True):
        if share.own:
            equations = [program.equations[place] for place in (*share.recomputed, *share.own)]
            name = names.get((segment.start, segment.stop), "")
            bodies.append(_Body(equations, len(share.recomputed), share.made, share.made, name))
    held = {value for value, _ in program.constants}
    fixed: dict[Hashable, tuple[Atom, int]] = {}
    outputs = []
    for atom in program.outputs:
        if isinstance(atom, int) and atom not in held:
            outputs.append(atom)
            continue
        key = atom if isinstance(atom, int) else ("scalar", program.signatures.literal(atom))
        if key not in fixed:
            fixed[key] = (atom, len(avals))
            avals.append(program.avals[atom] if isinstance(atom, int) else atom.aval)
        outputs.append(fixed[key][1])
    if fixed:
        results, writes = zip(*fixed.values(), strict=True)
        bodies.append(_Body((), 0, results, writes))
    return bodies, tuple(outputs)


def _share_results(bodies: list[_Body], avals: list[Any]) -> None:
    """Let what applies the same equations as another, and passes on less, pass on as much: the first layer
    has no earlier one that wants its slope. What nobody wants gets numbers of its own.
    """
    alike: dict[Hashable, list[_Body]] = defaultdict(list)
    for body in bodies:
        if body.equations:
            alike[body.shape.kinds, body.shape.refs].append(body)
    for group in alike.values():
        every = {body.shape.results for body in group}
        for body in group if len(every) > 1 else ():
            more = [results for results in every if {*results} > {*body.shape.results}]
            if more:
                body.pass_on(max(more, key=lambda results: (len(results), results)), avals)


def _flow(program: Program) -> Flow:
    return Flow(
        reads=[tuple(atom for atom in one.reads if isinstance(atom, int)) for one in program.equations],
        writes=[one.writes for one in program.equations],
        cheap=[primitives.is_cheap(one.origin) for one in program.equations],
        must_run=[one.has_effects for one in program.equations],
        sizes=[program.bytes_of(value) for value in range(len(program.avals))],
        # A donated argument ends with its last use: to use it again later would keep it.
        free=frozenset({*program.inputs, *(value for value, _ in program.constants)} - program.donated),
        results=frozenset(atom for atom in program.outputs if isinstance(atom, int)),
    )


def _keys(bodies: list[_Body], signatures: Signatures) -> list[Hashable]:
    """What is equal exactly for bodies that can share a kernel; decides which scalars become arguments."""
    alike: dict[_Shape, list[tuple[_Body, tuple[int, ...]]]] = defaultdict(list)
    for body in bodies:
        alike[body.shape].append((body, tuple(map(signatures.literal, body.scalars))))
    keys: dict[int, Hashable] = {}
    for shape, group in alike.items():
        variants = {scalars for _, scalars in group}
        lifted: tuple[int, ...] = ()
        if len(variants) >= _VARIANTS:
            columns = enumerate(zip(*variants, strict=True))
            lifted = tuple(place for place, column in columns if len(set(column)) > 1)
        for body, scalars in group:
            body.lifted = lifted
            fixed = tuple(-1 if place in lifted else scalar for place, scalar in enumerate(scalars))
            keys[id(body)] = (shape, fixed)
    return [keys[id(body)] for body in bodies]


def _constants(body: _Body, avals: list[Any], constants: list[tuple[int, Any]]) -> list[int]:
    """The numbers of values that hold the lifted scalars, which are added to the `constants`."""
    numbers = []
    for place in body.lifted:
        numbers.append(len(avals))
        avals.append(body.scalars[place].aval)
        constants.append((numbers[-1], body.scalars[place].val))
    return numbers


def _kernel(body: _Body, avals: list[Any], signatures: Signatures, taken: set[str]) -> Kernel:
    """The kernel of a body: a jaxpr over variables of its own."""
    known: dict[int, Any] = {value: jaxprs.Var(avals[value]) for value in body.reads}
    lifted = {place: jaxprs.Var(body.scalars[place].aval) for place in body.lifted}
    places = iter(range(len(body.scalars)))

    def variable(atom: Atom) -> Any:
        if isinstance(atom, int):
            return known[atom]
        place = next(places)
        return lifted.get(place, body.scalars[place])

    equations = []
    for one in body.equations:
        reads = [variable(atom) for atom in one.reads]
        known.update((value, jaxprs.Var(avals[value])) for value in one.writes)
        equations.append(one.origin.replace(invars=reads, outvars=[known[value] for value in one.writes]))
    results = [variable(atom) for atom in body.results]
    arguments = [*(known[value] for value in body.reads), *lifted.values()]
    digest = _digest(body, avals, signatures, taken)
    info = jaxprs.DebugInfo("jit", f"kernel_{digest[:12]}", None, None)
    jaxpr = jaxprs.ClosedJaxpr(jaxprs.Jaxpr((), arguments, results, equations, debug_info=info), ())
    file, line = _place(body)
    weight = sum(one.weight for one in body.equations)
    return Kernel(digest, jaxpr, (), weight, file, line, body.name)


def _digest(body: _Body, avals: list[Any], signatures: Signatures, taken: set[str]) -> str:
    """A digest of what a body is equal by, the same in every process.

    What is opaque counts by its name only, so that different bodies may come to the same: a number tells
    them apart.
    """
    parts = [signatures.digest(one.kind) for one in body.equations]
    parts += [signatures.digest(signatures.literal(one)) for one in body.scalars]
    parts += [str(avals[value]) for value in body.reads]
    text = repr((parts, body.shape.refs, body.shape.results, body.lifted))
    for attempt in range(len(taken) + 1):
        digest = hashlib.blake2b(f"{text}{attempt or ''}".encode(), digest_size=16).hexdigest()
        if digest not in taken:
            return digest
    raise AssertionError("one of n + 1 digests is not among n")


def _giving(kernel: Kernel, donated: tuple[int, ...]) -> Kernel:
    if not donated:
        return kernel
    digest = hashlib.blake2b(f"{kernel.digest} gives {donated}".encode(), digest_size=16).hexdigest()
    return dataclasses.replace(kernel, donated=donated, digest=digest)


def _place(body: _Body) -> tuple[str | None, int | None]:
    """Where the user wrote the first of its own equations that comes from the user's code."""
    for equation in body.equations[body.recomputed :]:
        place = jaxnames.user_place(equation.origin)
        if place is not None:
            return place
    return None, None
