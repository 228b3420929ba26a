"""One worker's conversation with the daemon: warm up, do one job, end. The next job gets a fresh process.

Jobs: `discover` (which targets do these files declare?), `build` (these targets, in this order, under this
schedule), `cut` (into which kernels does this policy cut this target?) and `measure` (how far apart are
these outputs?).
"""

from __future__ import annotations

import faulthandler
import os
import random
import signal
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pcvd.blobs import BlobError, Blobs
from pcvd.core.builds import Part
from pcvd.worker import outputs
from pcvd.worker.cohort import Cohort
from pcvd.worker.discover import discover, target_spec
from pcvd.worker.environment import limit_memory, startup_variables
from pcvd.worker.modules import Modules
from pcvd.worker.reads import Ledger

if TYPE_CHECKING:
    from pcvd.worker.line import Line
    from pcvd.worker.preload import Ahead

_LEAST_PRIORITY = 19


class Session:
    """One worker, from its first words to its last."""

    def __init__(self, line: Line, name: str, ahead: Ahead | None) -> None:
        """`ahead`: what its process has imported already, beside JAX."""
        self._line, self._name, self._ahead = line, name, ahead

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
        while (job := self._line.receive()) is not None and job["do"] == "answer":
            self._line.send(did="answer")
        if job is None:
            return  # given back unused
        if job["do"] == "measure":
            self._measure(job)
            return
        os.chdir(job["root"])
        if job.get("idle"):
            os.nice(_LEAST_PRIORITY)
        limit_memory(job["memory_bytes"])
        # Nor may what a model compiles while it is imported come out of a cache.
        jax.config.update("jax_enable_compilation_cache", False)
        if self._ahead is not None and job["root"] == self._ahead.root:
            self._ahead.require()
            ledger = self._ahead.ledger
        else:
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
        if job["do"] == "cut":
            from pcvd.worker.drawing import drawn  # with all that cutting needs, which few workers do

            self._line.send(did="cut", **drawn(target_spec(job["target"]), job, modules))
            return
        Cohort(self._line, job, modules, ledger, before).work()

    def _measure(self, job: dict[str, Any]) -> None:
        blobs = Blobs(job["objects"])
        for schedule, reference, other in job["pairs"]:
            left, right = Part(**reference), Part(**other)
            try:
                data = (blobs.get(left.raw), blobs.get(right.raw))
            except BlobError:
                self._line.send(did="measured", delta=None)  # the others' distances are known all the same
                continue
            found = outputs.distance(schedule, left, right, data, atol=job["atol"], rtol=job["rtol"])
            self._line.send(did="measured", delta=asdict(found))


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
