"""What cutting, compiling and linking came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcvd.kernels.compile import Built
    from pcvd.kernels.graph import Graph


@dataclass(frozen=True, slots=True)
class Row:
    """One distinct kernel: where the user wrote it, how often it is used, what compiling it took and where
    that was done ("threads", "processes" or "cache").
    """

    name: str
    function: str
    file: str | None
    line: int | None
    uses: int
    equations: int
    seconds: float
    origin: str
    note: str


@dataclass(frozen=True, slots=True)
class Report:
    """What `compile_kernels` did.

    Attributes:
        policy: by which the program was cut. kernels: how many kernels run, one after another; 1 where the
            program is whole. distinct: how many of them were different, and compiled. saved_s: seconds that
            compiling equal kernels only once, several at a time or not at all has saved, over compiling
            every one by itself.
        boundary_bytes: of values that kernels hand to each other.
        peak_bytes: the most that is alive at one time beside arguments, with what kernels need while they
            run; None where that is not known.
        notes: what went otherwise than asked for, and why.
    """

    policy: str
    kernels: int
    distinct: int
    trace_s: float
    cut_s: float
    compile_s: float
    saved_s: float
    boundary_bytes: int
    peak_bytes: int | None
    notes: tuple[str, ...]
    rows: tuple[Row, ...] = field(repr=False, default=())

    @property
    def cached(self) -> int:
        """How many of the distinct kernels were compiled before, and came from the cache."""
        return sum(row.origin == "cache" for row in self.rows)

    def __str__(self) -> str:
        times = f"cut in {self.cut_s:.2f} s, compiled in {self.compile_s:.2f} s ({self.saved_s:.2f} s saved)"
        between = f"{self.boundary_bytes / 1e6:.1f} MB between them"
        distinct = f"{self.distinct} distinct" + (f" ({self.cached} from the cache)" if self.cached else "")
        lines = [f"{self.kernels} kernels ({self.policy}), {distinct}; {times}; {between}"]
        for row in self.rows:
            where = f"{row.file}:{row.line}" if row.file else "?"
            took = f"{row.equations:5} equations  {row.seconds:6.2f} s  {row.origin:9}"
            lines.append(f"  {row.uses:4} x {row.name}  {took}  {where} {row.function}".rstrip())
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def rows(graph: Graph, built: Sequence[Built]) -> tuple[Row, ...]:
    """The distinct kernels in the order in which they are first used."""
    uses = Counter(step.kernel for step in graph.steps)
    return tuple(
        Row(
            one.kernel.name, one.kernel.function, one.kernel.file, one.kernel.line, uses[number],
            len(one.kernel.jaxpr.eqns), one.seconds, one.origin, one.note,
        )
        for number, one in enumerate(built)
    )  # fmt: skip


def saved(graph: Graph, built: Sequence[Built], wall: float) -> float:
    """Seconds saved over compiling the kernel of every step; what was cached counts as it now took."""
    return max(0.0, sum(built[step.kernel].seconds for step in graph.steps) - wall)


def peak(graph: Graph, built: Sequence[Built]) -> int | None:
    """The most bytes alive at one time; None where an executable does not tell what it needs."""
    needs = []
    for one in built:
        try:
            analysis = one.compiled.memory_analysis()
        except (NotImplementedError, RuntimeError):  # JAX: not every backend has it
            return None
        if analysis is None:
            return None
        needs.append(int(analysis.temp_size_in_bytes))
    return graph.peak_bytes(lambda number: needs[number])
