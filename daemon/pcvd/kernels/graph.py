"""A program as kernels with explicit boundary values: what is compiled, linked, drawn and compared.

A `Kernel` is a program to compile; a `Step` is one use of it, on numbered values. Kernels are distinct: two
steps that do the same share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax

from pcvd.kernels.program import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """A program of its own.

    Attributes:
        digest: what tells it from others in every process: equal for equal programs. Weights, names and
            places are not part of it.
        jaxpr: its equations, closed, without constants. In this process only.
        donated: the positions of arguments whose buffers it may use for its results.
        weight: about how much there is to compile, in simple equations.
        file, line: where the user wrote what it begins with, as far as that is known.
        function: the user's name for it, if it is (most of) one call; else "".
    """

    digest: str
    jaxpr: Any
    donated: tuple[int, ...]
    weight: int
    file: str | None = None
    line: int | None = None
    function: str = ""

    @property
    def name(self) -> str:
        """The name of the module that the compiler sees."""
        return f"kernel_{self.digest[:12]}"

    @property
    def in_avals(self) -> tuple[Any, ...]:
        """The types of its arguments."""
        return tuple(self.jaxpr.in_avals)

    @property
    def out_avals(self) -> tuple[Any, ...]:
        """The types of its results."""
        return tuple(self.jaxpr.out_avals)

    @property
    def arguments(self) -> tuple[jax.ShapeDtypeStruct, ...]:
        """What to trace it with."""
        return tuple(
            jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type) for aval in self.in_avals
        )

    def jitted(self, options: Mapping[str, Any] | None = None) -> Any:
        """A new `jax.jit` function of its arguments that returns a list, to be traced, lowered and compiled;
        `options` are the compiler's.

        New every time, since JAX answers from its caches for one that it has seen.
        """

        def kernel(*arguments: Any) -> list[Any]:
            results: list[Any] = jax.core.eval_jaxpr(self.jaxpr.jaxpr, (), *arguments)
            return results

        kernel.__name__ = kernel.__qualname__ = self.name
        return jax.jit(
            kernel,
            donate_argnums=self.donated,
            keep_unused=True,
            compiler_options=dict(options or {}) or None,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One use of a kernel: which, on which values, and the numbers of its results. `recomputed` of its
    equations are computed by an earlier kernel as well.
    """

    kernel: int
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    equations: int
    recomputed: int
    file: str | None
    line: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Distinct kernels, and the steps in which they run.

    `inputs` are the numbers of the program's arguments, `constants` those of values it holds, `outputs`
    those of its results: each of them an argument or made by a step. `notes` say what was decided against,
    and why.
    """

    kernels: tuple[Kernel, ...]
    steps: tuple[Step, ...]
    avals: tuple[Any, ...]
    inputs: tuple[int, ...]
    constants: tuple[tuple[int, Any], ...]
    outputs: tuple[int, ...]
    donated: frozenset[int]
    notes: tuple[str, ...] = ()

    def bytes_of(self, value: int) -> int:
        """How much memory a value takes."""
        return size_of(self.avals[value])

    def last_uses(self) -> list[tuple[int, ...]]:
        """For each step, the values that nobody needs after it, and which are not the caller's."""
        kept = {*self.outputs, *(value for value, _ in self.constants)}
        kept.update(set(self.inputs) - self.donated)
        uses: list[tuple[int, ...]] = []
        for step in reversed(self.steps):
            ends = {value for value in (*step.reads, *step.writes) if value not in kept}
            kept |= ends
            uses.append(tuple(sorted(ends)))
        return uses[::-1]

    def edges(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """Which steps feed which, and the values that go from one to the other."""
        maker = {value: place for place, step in enumerate(self.steps) for value in step.writes}
        found: dict[tuple[int, int], list[int]] = {}
        for place, step in enumerate(self.steps):
            for value in step.reads:
                if value in maker:
                    found.setdefault((maker[value], place), []).append(value)
        return {edge: tuple(values) for edge, values in found.items()}

    def boundary_bytes(self) -> int:
        """The bytes of all values that one kernel makes and another one reads."""
        return sum(
            self.bytes_of(value) for value in {one for values in self.edges().values() for one in values}
        )

    def peak_bytes(self, temporaries: Callable[[int], int] = lambda kernel: 0) -> int:  # noqa: ARG005
        """The most bytes that are alive at one time beside arguments and constants; `temporaries` tells how
        many a kernel needs while it runs.

        Donated buffers count twice while their kernel runs, so this is never too low.
        """
        alive = peak = 0
        for step, ends in zip(self.steps, self.last_uses(), strict=True):
            alive += sum(map(self.bytes_of, step.writes))
            peak = max(peak, alive + temporaries(step.kernel))
            alive -= sum(self.bytes_of(value) for value in ends if value not in self.inputs)
        return peak
