"""A `build` job: the targets that one process loads, and the builds of them that are its share."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import jax

from pcvd.blobs import Blobs
from pcvd.core.builds import WHOLE, Artifact, Build
from pcvd.core.model import Failure
from pcvd.worker import configuration, inputs, outputs
from pcvd.worker.blame import blame
from pcvd.worker.build import Product, Recipe, finish, lower
from pcvd.worker.carry import DaemonGate, Gate, OpenGate, Wave, carry_out
from pcvd.worker.collect import Collector
from pcvd.worker.discover import Entry, resolve, target_spec
from pcvd.worker.environment import describe, startup_variables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcvd.core.programs import Program
    from pcvd.worker.line import Line
    from pcvd.worker.modules import Modules
    from pcvd.worker.reads import Ledger


class Cohort:
    """A `build` job: load all targets, make all arguments, build this process's share, collect, run."""

    def __init__(
        self, line: Line, job: dict[str, Any], modules: Modules, ledger: Ledger, before: dict[str, str]
    ) -> None:
        """`before` is what the environment told JAX at its start."""
        self._line, self._modules, self._ledger, self._before = line, modules, ledger, before
        self._job = job
        self._root: str = job["root"]
        self._scratch: str = job["scratch"]
        self._seed: int = job["seed"]
        self._threads: int = job["threads"]
        self._together: bool = job["together"]
        self._confers: bool = job["confers"]
        self._recipe = Recipe(job["until"], tuple(job["without"]), detail=job["detail"])
        self._specs = [target_spec(one) for one in job["cohort"]]
        self._slots: list[tuple[int, int, int]] = job["slots"]
        """(number of the build within the schedule, index of its target, copy)"""
        self._collector = Collector(Blobs(job["objects"]))
        self._gate: Gate = OpenGate()
        self._ready: dict[int, tuple[Entry, tuple[Any, ...], str] | Failure] = {}
        self._lowered: dict[int, list[Product]] = {}
        """By target, what was lowered ahead and waits to be compiled."""

    def work(self) -> None:
        """The whole job, phase by phase."""
        self._load()
        self._make_arguments()
        configuration.hold_still()
        self._line.send(did="loaded")
        if self._line.receive() is None:  # the daemon lets all workers of a schedule begin together
            return
        if self._confers and not self._confer():
            return
        if self._together:
            self._gate = DaemonGate(self._line)
        elif self._threads > 1:
            self._gate = Wave(min(self._threads, len(self._slots)))
        began_s = time.process_time()
        products = carry_out(len(self._slots), self._threads, self._build)
        used_s = time.process_time() - began_s  # by all threads, the compiler's own included
        # All of them before any is run: a callback that runs may change an array that others are told by.
        artifacts = [self._collect(place, product) for place, product in enumerate(products)]
        for place, product in enumerate(products):
            self._report(place, product, artifacts[place])
        self._line.send(did="built", environment=describe(), cpu_s=used_s)
        if self._job["partition"] != WHOLE and self._line.receive() is not None:
            if any(product.failure is None for product in products):
                self._link(products)
            self._line.send(did="linked")

    def _link(self, products: Sequence[Product]) -> None:
        """Build the targets once more, kernel by kernel."""
        from pcvd.worker.partition import Origin, Partition  # with all that cutting needs

        origins = [
            Origin(number, self._specs[index], copy, product)
            for (number, index, copy), product in zip(self._slots, products, strict=True)
            if product.failure is None
        ]
        Partition(self._line, self._job, self._collector, self._ledger).work(origins)

    def _load(self) -> None:
        for index, spec in enumerate(self._specs):
            self._line.send(did="loading", target=index)
            owner = f"target {spec.entry}"
            try:
                with self._ledger.owner(owner):
                    entry = resolve(spec, self._modules)
            except BaseException as error:  # a model may even call sys.exit()
                self._ready[index] = blame("import", error, self._root)
            else:
                self._ready[index] = (entry, (), "")
        # A model may switch the persistent cache on; a validated build must come from the compiler.
        jax.config.update("jax_enable_compilation_cache", False)
        changed = sorted(
            name for name, value in startup_variables().items() if self._before.get(name) != value
        )
        if changed:
            failure = Failure(
                "setup",
                f"the model sets {', '.join(changed)} in os.environ, too late for a JAX that has started",
                hint='name it under [env] in pcv.toml, as in XLA_FLAGS = "…"',
            )
            self._ready = {
                index: one if isinstance(one, Failure) else failure for index, one in self._ready.items()
            }

    def _make_arguments(self) -> None:
        for index, ready in self._ready.items():
            if isinstance(ready, Failure):
                continue
            entry = ready[0]
            self._line.send(did="loading", target=index)
            try:
                with self._ledger.owner(f"target {entry.spec.entry}"):
                    args = jax.block_until_ready(inputs.make(entry, self._modules, self._seed))
                    self._ready[index] = (entry, args, inputs.fingerprint(args))
            except BaseException as error:
                self._ready[index] = blame("arguments", error, self._root)

    def _confer(self) -> bool:
        """Lower everything, tell what programs that gave, and hear which builds to go on with; False where
        the daemon has hung up.
        """
        products = carry_out(len(self._slots), self._threads, self._lower)
        programs, failed = [], set()
        for (_, index, _), product in zip(self._slots, products, strict=True):
            program = self._program(index, product)
            if program is None:
                failed.add(self._specs[index].entry)
            else:
                programs.append(asdict(program))
                self._lowered.setdefault(index, []).append(product)
        reads = {
            spec.entry: [asdict(read) for read in self._ledger.of(f"target {spec.entry}")]
            for spec in self._specs
        }
        self._line.send(did="lowered", programs=programs, failed=sorted(failed), reads=reads)
        answer = self._line.receive()
        if answer is None:
            return False
        self._slots = [tuple(slot) for slot in answer["slots"]]
        return True

    def _lower(self, place: int) -> Product:
        number, index, copy = self._slots[place]
        self._line.send(did="began", build=number)
        product = self._begun(index, os.path.join("lowered", f"{number:04d}-{copy:02d}"))
        self._line.send(did="lowering done", build=number)
        return product

    def _program(self, index: int, product: Product) -> Program | None:
        """What a build has come to before it is compiled; None where it failed."""
        ready = self._ready[index]
        if product.failure is not None or isinstance(ready, Failure):
            return None
        try:
            return self._collector.program(self._specs[index].entry, ready[2], product)
        except BaseException:  # the build itself will say what is wrong
            return None

    def _begun(self, index: int, folder: str) -> Product:
        """The target, traced and lowered on this thread."""
        ready = self._ready[index]
        thread = threading.current_thread()
        name = "main" if thread is threading.main_thread() else thread.name
        if isinstance(ready, Failure):
            now = time.monotonic_ns()
            return Product(now, name, "", ended_ns=now, failure=ready)
        entry, args, _ = ready
        with self._ledger.owner(f"target {entry.spec.entry}"):
            return lower(
                entry.function,
                args,
                thread=name,
                dump_folder=os.path.join(self._scratch, folder),
                root=self._root,
                recipe=self._recipe,
            )

    def _build(self, place: int) -> Product:
        number, index, copy = self._slots[place]
        self._line.send(did="began", build=number)
        ahead = self._lowered.get(index)
        if ahead:
            product = ahead.pop(0)
            product.began_ns = time.monotonic_ns()  # it was set aside meanwhile
        else:
            product = self._begun(index, f"{number:04d}-{copy:02d}")
        with self._ledger.owner(f"target {self._specs[index].entry}"):
            product = finish(
                product, root=self._root, gate=_Reported(self._gate, self._line, number), recipe=self._recipe
            )
        self._line.send(did="ended", build=number)
        return product

    def _collect(self, place: int, product: Product) -> list[Artifact]:
        number = self._slots[place][0]
        if product.failure is not None:
            return []
        self._line.send(did="collecting", build=number)
        try:
            return self._collector.artifacts(product, detail=self._recipe.detail)
        except BaseException as error:
            product.failure = blame("collect", error, self._root)
            return []
        finally:
            self._line.send(did="collected", build=number)

    def _report(self, place: int, product: Product, artifacts: list[Artifact]) -> None:
        number, index, copy = self._slots[place]
        spec, ready = self._specs[index], self._ready[index]
        repeats = None
        if product.failure is None and self._recipe.runs:
            self._line.send(did="running", build=number)
            try:
                with self._ledger.owner(f"target {spec.entry}"):
                    output, repeats = outputs.run(product.compiled, product.runtime_args, self._collector)
                artifacts.append(output)
            except BaseException as error:
                product.failure = blame("run", error, self._root)
        report = Build(
            spec.entry,
            copy,
            os.getpid(),
            product.thread,
            product.began_ns,
            product.lowered_ns,
            product.ended_ns,
            "" if isinstance(ready, Failure) else ready[2],
            tuple(artifacts),
            product.failure,
            repeats,
            product.compiling_ns,
        )
        reads = [asdict(read) for read in self._ledger.of(f"target {spec.entry}")]
        self._line.send(did="report", build=number, report=asdict(report), reads=reads)


class _Reported:
    """A gate that tells the daemon when a build waits at it: who only waits is not late."""

    def __init__(self, gate: Gate, line: Line, number: int) -> None:
        self._gate, self._line, self._number = gate, line, number

    def wait(self) -> None:
        """Arrive and wait, with a word before and after."""
        self._line.send(did="waiting", build=self._number)
        self._gate.wait()
        self._line.send(did="compiling", build=self._number)

    def leave(self) -> None:
        """The build failed; its end is reported anyway."""
        self._gate.leave()
