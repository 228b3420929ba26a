"""`compile_kernels`: a function in, a callable out that computes the same, compiled kernel by kernel."""

from __future__ import annotations

import gc
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pcvd import jaxnames
from pcvd.core.errors import PcvError
from pcvd.kernels import report as reports
from pcvd.kernels.compile import compile_kernels as compile_all
from pcvd.kernels.convention import Convention
from pcvd.kernels.errors import CutRefused, NoSuchCut
from pcvd.kernels.extract import extract
from pcvd.kernels.link import Linked
from pcvd.kernels.policies import cut
from pcvd.kernels.program import flatten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pcvd.kernels.compile import Cache, How
    from pcvd.kernels.graph import Graph
    from pcvd.kernels.report import Report


class LinkedFunction:
    """Compiled kernels that are called like the function they were cut out of. It can't be traced.

    `report` says what was done, `graph` is None where the program was compiled as one.
    """

    def __init__(
        self,
        convention: Convention,
        run: Callable[[list[Any]], list[Any]],
        graph: Graph | None,
        report: Report,
    ) -> None:
        self._convention, self._run, self.graph, self.report = convention, run, graph, report

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it. Returns before the results are there, as `jax.jit` does.

        Raises:
            NotTraceable: under a JAX transformation.
            WrongArguments: shapes, types or structure are not those it was compiled for.
        """
        # Kernels run on one device; a whole program may have been told where its arguments lie.
        arrays = self._convention.flat(args, kwargs, moved=self.graph is not None)
        return self._convention.result(self._run(arrays))


def compile_kernels(
    function: Callable[..., Any],
    *example_args: Any,
    policy: str | Iterable[int] = "auto",
    workers: int | None = None,
    how: How = "threads",
    cache: Cache | None = None,
    strict: bool = False,
) -> LinkedFunction:
    """Cut a function into kernels, compile each distinct one once, and link them.

    XLA's compile time grows more than linearly with the size of a program; an unrolled model of equal
    layers is compiled in about the time of one layer. Results may differ from those of the whole program by
    rounding, as they may between any two compilations.

    Args:
        function: any function that `jax.jit` takes, or one that it returned, which keeps its options.
        *example_args: its arguments: arrays, `jax.ShapeDtypeStruct`s or pytrees of them.
        policy: where to cut: "auto" (repeats, then calls, then by size), "repeats" (layers of a loop in
            Python, backward too), "calls" (nested `jit`, `remat`, custom derivatives), "ops" (each
            matrix product or convolution), "whole"; or the places of the cuts themselves. `pcv.kernel` is a
            boundary in all but "whole".
        workers: how many kernels to compile at the same time; left out, one a processor.
        how: compile in "threads" of this process or in "processes" of their own.
        cache: where executables are kept by content, so that an edit compiles only what it changed.
        strict: raise, where else the program would be compiled as one.

    Returns:
        A callable with the function's signature, and a `report`. Where the program can't be cut soundly, or a
        kernel can't be built, it is compiled as one, and `report.notes` say why.

    Raises:
        NoSuchCut: there is no such policy or place.
        CutRefused: under `strict`: the program can't be cut soundly.
        KernelFailed: under `strict`, a kernel can't be built.
        Exception: whatever the function raises while it is traced, or its compilation as one.
    """
    began = time.perf_counter()
    convention = Convention.of(function, example_args)
    traced_at = time.perf_counter()
    named = policy if isinstance(policy, str) else "places"
    try:
        if convention.spread:
            raise CutRefused(convention.spread)
        graph = cut_traced(convention.traced, policy)
        cut_at = time.perf_counter()
        options = jaxnames.compiler_options(function) if jaxnames.is_jitted(function) else {}
        built = compile_all(
            graph.kernels, workers or os.cpu_count() or 1, how=how, cache=cache,
            compiler_options=options, device=convention.device,
        )  # fmt: skip
        linked = Linked(graph, [one.compiled for one in built], convention.device)
    except PcvError as error:
        if strict or isinstance(error, NoSuchCut):
            raise
        return _whole(convention, named, str(error), traced_at - began)
    wall = time.perf_counter() - cut_at
    report = reports.Report(
        policy=named, kernels=len(graph.steps), distinct=len(graph.kernels),
        trace_s=traced_at - began, cut_s=cut_at - traced_at, compile_s=wall,
        saved_s=reports.saved(graph, built, wall), boundary_bytes=graph.boundary_bytes(),
        peak_bytes=reports.peak(graph, built),
        notes=(*graph.notes, *(f"{one.kernel.name}: {one.note}" for one in built if one.note)),
        rows=reports.rows(graph, built),
    )  # fmt: skip
    return LinkedFunction(convention, linked, graph, report)


def cut_traced(traced: Any, policy: str | Iterable[int] = "auto") -> Graph:
    """The kernels of a `jax.stages.Traced`.

    Raises:
        NoSuchCut: there is no such policy or place.
        CutRefused: the program can't be cut soundly.
    """
    import jax

    infos = jax.tree.leaves(traced.args_info, is_leaf=lambda one: hasattr(one, "donated"))
    if len(infos) != len(traced.jaxpr.in_avals):
        raise CutRefused("its jaxpr has other arguments than the function")
    if jaxnames.is_placed(traced):
        raise CutRefused("jax.jit was told where or how its arguments or results lie")
    return cut_jaxpr(traced.jaxpr, policy, (place for place, info in enumerate(infos) if info.donated))


def cut_jaxpr(jaxpr: Any, policy: str | Iterable[int] = "auto", donated: Iterable[int] = ()) -> Graph:
    """The kernels of a closed jaxpr; `donated` are the positions of arguments whose buffers are given away.

    Raises:
        NoSuchCut: there is no such policy or place.
        CutRefused: the program can't be cut soundly.
    """
    with _uncollected():
        program = flatten(jaxpr, donated)
        return extract(program, cut(program, policy))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cyclic garbage: it would walk through all that was traced again and again,
    find nothing, and take half of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _whole(convention: Convention, policy: str, reason: str, trace_s: float) -> LinkedFunction:
    began = time.perf_counter()
    run = convention.whole()
    report = reports.Report(
        policy=policy, kernels=1, distinct=1, trace_s=trace_s, cut_s=0.0,
        compile_s=time.perf_counter() - began, saved_s=0.0, boundary_bytes=0, peak_bytes=None,
        notes=(f"compiled as one program: {reason}",),
    )  # fmt: skip
    return LinkedFunction(convention, lambda arrays: run(*arrays), None, report)
