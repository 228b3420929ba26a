"""One worker's conversation with the daemon: warm up, do one job, end. The next job gets a fresh process.

Jobs: `discover` (which targets do these files declare?), `build` (these targets, in this order, under this
schedule) and `measure` (how far apart are these outputs?).
"""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pcvd.blobs import Blobs
from pcvd.core.model import STARTUP_VARIABLES, Artifact, Build, Failure, Part, TargetSpec
from pcvd.worker import inputs, outputs
from pcvd.worker.blame import blame
from pcvd.worker.build import Product, build
from pcvd.worker.carry import Gate, OpenGate, Wave, carry_out
from pcvd.worker.collect import Collector
from pcvd.worker.discover import Entry, discover, resolve
from pcvd.worker.environment import describe, limit_memory
from pcvd.worker.modules import Modules
from pcvd.worker.reads import Ledger

if TYPE_CHECKING:
    from pcvd.worker.line import Line


class Session:
    """One worker, from its first words to its last."""

    def __init__(self, line: Line, name: str) -> None:
        self._line, self._name = line, name

    def serve(self) -> None:
        """Warm up, say so, and do the one job that comes."""
        try:
            warm_up()
        except Exception as error:
            wanted = os.environ.get("JAX_PLATFORMS")
            failure = f"JAX has no device for {wanted}" if wanted else "JAX could not start"
            self._line.send(
                role="worker", name=self._name, pid=os.getpid(), failure=f"{failure} ({_brief(error)})"
            )
            return
        # A crash in native code, or the daemon's question what takes so long, leaves a Python traceback.
        faulthandler.enable()
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        self._line.send(role="worker", name=self._name, pid=os.getpid())
        job = self._line.receive()
        if job is None:
            return  # given back unused
        if job["do"] == "measure":
            self._measure(job)
            return
        limit_memory(job["memory_bytes"])
        ledger = Ledger((os.path.join(job["root"], ".pcv"), job["scratch"]))
        modules = Modules(job["root"], job["paths"], ledger)
        ledger.install()
        before = startup_variables()
        if job["do"] == "discover":
            targets, problems, reads = discover(job["files"], modules, ledger, job["root"])
            self._line.send(
                did="discovered",
                targets=[asdict(target) for target in targets],
                problems={file: asdict(problem) for file, problem in problems.items()},
                reads={file: [asdict(read) for read in file_reads] for file, file_reads in reads.items()},
            )
            return
        Cohort(self._line, job, modules, ledger, before).work()

    def _measure(self, job: dict[str, Any]) -> None:
        blobs = Blobs(job["objects"])
        deltas = []
        for schedule, reference, other in job["pairs"]:
            left, right = Part(**reference), Part(**other)
            data = (blobs.get(left.raw), blobs.get(right.raw))
            deltas.append(
                asdict(outputs.distance(schedule, left, right, data, atol=job["atol"], rtol=job["rtol"]))
            )
        self._line.send(did="measured", deltas=deltas)


class Cohort:
    """A `build` job: load all targets, make all arguments, build this process's share, collect, run."""

    def __init__(
        self, line: Line, job: dict[str, Any], modules: Modules, ledger: Ledger, before: dict[str, str]
    ) -> None:
        self._line, self._modules, self._ledger, self._before = line, modules, ledger, before
        self._root: str = job["root"]
        self._scratch: str = job["scratch"]
        self._seed: int = job["seed"]
        self._threads: int = job["threads"]
        self._together: bool = job["together"]
        self._specs = [_spec(one) for one in job["cohort"]]
        self._slots: list[tuple[int, int, int]] = job["slots"]
        """(number of the build within the schedule, index of its target, copy)"""
        self._collector = Collector(Blobs(job["objects"]))
        self._gate: Gate = OpenGate()
        self._ready: dict[int, tuple[Entry, tuple[Any, ...], str] | Failure] = {}

    def work(self) -> None:
        """The whole job, phase by phase."""
        self._load()
        self._make_arguments()
        self._line.send(did="loaded")
        if self._line.receive() is None:  # the daemon lets all workers of a schedule begin together
            return
        if self._together:
            self._gate = DaemonGate(self._line)
        elif self._threads > 1:
            self._gate = Wave(min(self._threads, len(self._slots)))
        products = carry_out(len(self._slots), self._threads, self._build)
        for place, product in enumerate(products):
            self._report(place, product)
        self._line.send(did="built", environment=describe(), pid=os.getpid())

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

    def _build(self, place: int) -> Product:
        number, index, copy = self._slots[place]
        ready = self._ready[index]
        thread = threading.current_thread()
        name = "main" if thread is threading.main_thread() else thread.name
        self._line.send(did="began", build=number)
        if isinstance(ready, Failure):
            self._gate.leave()
            now = time.monotonic_ns()
            product = Product(now, name, "", ended_ns=now, failure=ready)
        else:
            entry, args, _ = ready
            with self._ledger.owner(f"target {entry.spec.entry}"):
                product = build(
                    entry.function,
                    args,
                    thread=name,
                    dump_folder=os.path.join(self._scratch, f"{number:04d}-{copy:02d}"),
                    root=self._root,
                    gate=_Reported(self._gate, self._line, number),
                )
        self._line.send(did="ended", build=number)
        return product

    def _report(self, place: int, product: Product) -> None:
        number, index, copy = self._slots[place]
        spec, ready = self._specs[index], self._ready[index]
        self._line.send(did="collecting", build=number)
        artifacts: list[Artifact] = []
        failure, repeats = product.failure, None
        if failure is None:
            step = "collect"
            try:
                artifacts = self._collector.artifacts(product)
                step = "run"
                with self._ledger.owner(f"target {spec.entry}"):
                    output, repeats = outputs.run(product, self._collector)
                artifacts.append(output)
            except BaseException as error:
                failure = blame(step, error, self._root)
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
            failure,
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


class DaemonGate:
    """A gate across processes: the daemon opens it when every worker's first build waits or has ended."""

    def __init__(self, line: Line) -> None:
        self._line: Line | None = line

    def wait(self) -> None:
        """Wait for the daemon's word before the first build goes on; later ones pass."""
        if self._line is not None:
            line, self._line = self._line, None
            line.receive()

    def leave(self) -> None:
        """The daemon hears of the build's end, and this worker waits for nobody any more."""
        self._line = None


def warm_up() -> None:
    """One lowering and one compilation, the same in every worker, so that no target pays for them and all
    start alike.

    Workers forked from one zygote share its random state; each gets its own, since siblings that draw the
    same numbers would hide a build that depends on them.
    """
    np.random.seed(int.from_bytes(os.urandom(4), "little"))
    random.seed(os.urandom(16))
    jax.jit(lambda x: x + 1).lower(np.float32(0)).compile()


def _brief(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def startup_variables() -> dict[str, str]:
    """The variables that JAX and XLA read once, when they start."""
    return {name: value for name, value in os.environ.items() if name.startswith(STARTUP_VARIABLES)}


def _spec(message: dict[str, Any]) -> TargetSpec:
    args = message["args"]
    return TargetSpec(
        message["entry"], tuple(args) if isinstance(args, list) else args, message["file"], message["line"]
    )
