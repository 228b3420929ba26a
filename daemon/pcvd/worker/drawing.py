"""A `cut` job: a target, traced and cut into kernels, in plain values. Nothing is compiled."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import jax

from pcvd.core.errors import PcvError
from pcvd.core.frames import relative
from pcvd.core.model import Failure
from pcvd.kernels import cut_traced, document
from pcvd.worker import inputs
from pcvd.worker.blame import blame
from pcvd.worker.build import prepare
from pcvd.worker.discover import resolve

if TYPE_CHECKING:
    from pcvd.core.model import TargetSpec
    from pcvd.worker.modules import Modules


def drawn(spec: TargetSpec, job: dict[str, Any], modules: Modules) -> dict[str, Any]:
    """The `document` of the cut, or the `failure` that stands in its way."""
    root, step = job["root"], "import"
    try:
        entry = resolve(spec, modules)
        step = "arguments"
        args = jax.block_until_ready(inputs.make(entry, modules, job["seed"]))
        step = "trace"
        fresh, traceable, _ = prepare(entry.function, args)
        graph = cut_traced(fresh.trace(*traceable), job["policy"])
        return {"document": _below(document(graph, job["policy"]), root)}
    except PcvError as error:
        return {"failure": asdict(refusal(error, spec, root))}
    except BaseException as error:  # a model may raise anything, SystemExit included
        return {"failure": asdict(blame(step, error, root))}


def refusal(error: PcvError, spec: TargetSpec, root: str) -> Failure:
    """Why a target can't be cut; without a place of its own, that is told of the target's file."""
    file = relative(error.file, root) if error.file else spec.path
    return Failure("cut", f"can't be cut: {error.message}", file, error.line, error.hint)


def _below(told: dict[str, Any], root: str) -> dict[str, Any]:
    """`told`, with files relative to the root where they lie below it."""
    for one in (*told["kernels"], *told["steps"]):
        one["file"] = relative(one["file"], root) if one["file"] else None
    return told
