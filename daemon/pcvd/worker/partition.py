"""The kernels of the builds of one process: cut out of what was traced, built like targets, linked and run.

Each distinct kernel is built once for each build of its target, one after another in the order of the
program, or at the same time as others and in another order.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax

from pcvd.core.builds import LINKED, Build, Kernel
from pcvd.core.errors import PcvError
from pcvd.core.frames import relative
from pcvd.core.schedule import reordered
from pcvd.kernels import CutRefused, cut_traced, portable
from pcvd.kernels.convention import home_of
from pcvd.kernels.link import Linked
from pcvd.kernels.shelf import STATE, FolderCache
from pcvd.worker import outputs
from pcvd.worker.blame import blame
from pcvd.worker.build import Product, Recipe, finish, lower
from pcvd.worker.carry import Gate, OpenGate, Wave, carry_out
from pcvd.worker.drawing import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pcvd.core.builds import Artifact
    from pcvd.core.model import Failure, TargetSpec
    from pcvd.kernels.graph import Graph
    from pcvd.worker.collect import Collector
    from pcvd.worker.line import Line
    from pcvd.worker.reads import Ledger


@dataclass(frozen=True, slots=True)
class Origin:
    """A build of a whole target: its number, which copy it is, and what it has made."""

    number: int
    spec: TargetSpec
    copy: int
    whole: Product


@dataclass(slots=True)
class _Cut:
    """A build, cut: its graph, and for each distinct kernel what was made of it."""

    origin: Origin
    graph: Graph
    kernels: list[Kernel]
    made: dict[int, Product] = field(default_factory=dict)

    def linked(self) -> Callable[..., Any]:
        """A callable like the whole program. Raises CutRefused where it can't be had."""
        leaves = jax.tree.leaves(self.origin.whole.runtime_args)
        device, spread = home_of(leaves)
        if spread:
            raise CutRefused(spread)
        program = Linked(
            self.graph, [self.made[place].compiled for place in range(len(self.kernels))], device
        )
        home = device or jax.local_devices()[0]
        results = jax.tree.structure(self.origin.whole.traced.out_info)

        def call(*args: Any) -> Any:
            arrays = [
                leaf if isinstance(leaf, jax.Array) else jax.numpy.asarray(leaf)
                for leaf in jax.tree.leaves(args)
            ]
            return results.unflatten(program([jax.device_put(one, home) for one in arrays]))

        return call


class Partition:
    """Cuts, builds, links and runs, and reports each kernel to the daemon."""

    def __init__(self, line: Line, job: dict[str, Any], collector: Collector, ledger: Ledger) -> None:
        self._line, self._collector, self._ledger = line, collector, ledger
        self._root, self._policy, self._scratch = job["root"], job["partition"], job["scratch"]
        self._threads: int = job["threads"]
        self._turn: int | None = job["turn"]
        """Which other order kernels are built in; None: in that of the program."""
        self._keeps: bool = job["keeps"]
        """Whether it is the reference, whose kernels others may use when the verdict is known."""
        self._recipe = Recipe()
        self._gate: Gate = OpenGate()

    def work(self, origins: Sequence[Origin]) -> None:
        """All of it, phase by phase."""
        cuts = list(self._cuts(origins))
        units = [(cut, place) for cut in cuts for place in range(len(cut.kernels))]
        if self._turn is not None:
            units = [units[place] for place in reordered(len(units), self._turn)]
        if self._threads > 1 and units:
            self._gate = Wave(min(self._threads, len(units)))
        products = carry_out(len(units), self._threads, lambda place: self._build(*units[place]))
        for (cut, place), product in zip(units, products, strict=True):
            cut.made[place] = product
            self._collect(cut, place)
        for cut in cuts:
            failed = [product for product in cut.made.values() if product.failure is not None]
            if not failed:  # else it is told of that kernel why nothing is linked
                self._link(cut)
                if self._keeps and cut.origin.copy == 0:
                    self._keep(cut)

    def _cuts(self, origins: Sequence[Origin]) -> Iterator[_Cut]:
        for origin in origins:
            try:
                graph = cut_traced(origin.whole.traced, self._policy)
            except PcvError as error:
                self._report(origin, Kernel(LINKED), failure=refusal(error, origin.spec, self._root))
            except BaseException as error:
                failure = blame("cut", error, self._root)
                self._report(origin, Kernel(LINKED), failure=replace(failure, file=origin.spec.path))
            else:
                yield _Cut(origin, graph, list(_named(graph, self._root)))

    def _build(self, cut: _Cut, place: int) -> Product:
        kernel, origin = cut.kernels[place], cut.origin
        key = self._begun(origin, kernel)
        thread = threading.current_thread()
        jitted = cut.graph.kernels[place].jitted(dict(origin.whole.options))
        product = lower(
            jitted,
            cut.graph.kernels[place].arguments,
            thread="main" if thread is threading.main_thread() else thread.name,
            dump_folder=os.path.join(self._scratch, "kernels", f"{origin.number:04d}-{kernel.name}"),
            root=self._root,
            recipe=self._recipe,
        )
        finish(product, root=self._root, gate=self._gate, recipe=self._recipe)
        self._line.send(did="kernel done", key=key)
        return product

    def _collect(self, cut: _Cut, place: int) -> None:
        product, kernel = cut.made[place], cut.kernels[place]
        artifacts: list[Artifact] = []
        if product.failure is None:
            key = self._begun(cut.origin, kernel)
            try:
                artifacts = self._collector.artifacts(product)
            except BaseException as error:
                product.failure = blame("collect", error, self._root)
            self._line.send(did="kernel done", key=key)
        failure = product.failure and _of(kernel, product.failure)
        self._report(cut.origin, kernel, product, tuple(artifacts), failure)

    def _link(self, cut: _Cut) -> None:
        kernel = Kernel(LINKED, uses=len(cut.graph.steps))
        key, began = self._begun(cut.origin, kernel), time.monotonic_ns()
        try:
            with self._ledger.owner(f"target {cut.origin.spec.entry}"):
                args = cut.origin.whole.runtime_args
                output, repeats = outputs.run(cut.linked(), args, self._collector)
        except PcvError as error:
            self._report(cut.origin, kernel, failure=refusal(error, cut.origin.spec, self._root))
        except BaseException as error:
            self._report(cut.origin, kernel, failure=blame("run", error, self._root))
        else:
            ran = Product(began, "main", "", ended_ns=time.monotonic_ns())
            self._report(cut.origin, kernel, ran, (output,), repeats=repeats)
        self._line.send(did="kernel done", key=key)

    def _keep(self, cut: _Cut) -> None:
        """Put the kernels where they wait for the verdict."""
        waiting = FolderCache(os.path.join(self._root, STATE, "unproven"))
        options, keys = dict(cut.origin.whole.options), []
        for product in cut.made.values():
            with suppress(Exception):  # a program with callbacks can't be kept, nor anything on a full disk
                key = portable.key(product.lowered, options, None)
                waiting.put(key, portable.dump(product.compiled))
                keys.append(key)
        self._line.send(did="kept", build=cut.origin.number, keys=keys)

    def _begun(self, origin: Origin, kernel: Kernel) -> str:
        key = f"kernel {origin.number} {kernel.name}"
        self._line.send(did="kernel", build=origin.number, key=key, kernel=asdict(kernel))
        return key

    def _report(
        self,
        origin: Origin,
        kernel: Kernel,
        made: Product | None = None,
        artifacts: tuple[Artifact, ...] = (),
        failure: Failure | None = None,
        *,
        repeats: bool | None = None,
    ) -> None:
        made = made or Product(0, "main", "")
        report = Build(
            origin.spec.entry, origin.copy, os.getpid(), made.thread, made.began_ns, made.lowered_ns,
            made.ended_ns, "", artifacts, failure, repeats, made.compiling_ns, kernel,
        )  # fmt: skip
        self._line.send(did="kernel report", report=asdict(report))


def _named(graph: Graph, root: str) -> Iterator[Kernel]:
    uses = [0] * len(graph.kernels)
    for step in graph.steps:
        uses[step.kernel] += 1
    for kernel, count in zip(graph.kernels, uses, strict=True):
        file = relative(kernel.file, root) if kernel.file else None
        yield Kernel(kernel.name, kernel.digest, kernel.function, file, kernel.line, count)


def _of(kernel: Kernel, failure: Failure) -> Failure:
    """A failure, told of the kernel that it is about, and of its place."""
    file, line = (kernel.file, kernel.line) if kernel.file else (failure.file, failure.line)
    return replace(failure, message=f"{kernel.name}: {failure.message}", file=file, line=line)
