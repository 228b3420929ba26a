"""Running executables.

Outputs come from each build's *own* executable on the seeded arguments. An argument may be donated, and then
it is gone after one call, so every run gets copies of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

from pcvd.core.builds import Artifact
from pcvd.worker.collect import Collector, leaf_bytes
from pcvd.worker.distance import distance

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["distance", "run"]

_RUNS = 3  # what comes out one way or the other by chance shows in three of four cases


def run(call: Callable[..., Any], args: tuple[Any, ...], collector: Collector) -> tuple[Artifact, bool]:
    """The outputs of what was built as an artifact, and whether every further run gave the same bits."""
    first = _once(call, args)
    if not first:
        return Artifact.missing(
            "output", "the function returns no arrays, so there is nothing to compare"
        ), True
    parts = [collector.part("output", path, data, label) for path, label, data in first]
    # All runs are carried out: one that differs must not change how often a callback was called.
    equal = [_once(call, args) == first for _ in range(_RUNS - 1)]
    return Artifact.of("output", parts), all(equal)


def _once(call: Callable[..., Any], args: tuple[Any, ...]) -> list[tuple[str, str, bytes]]:
    result = call(*jax.tree.map(_own, args))
    leaves = jax.tree_util.tree_flatten_with_path(jax.block_until_ready(result))[0]
    return [(jax.tree_util.keystr(path) or "result", *leaf_bytes(leaf)) for path, leaf in leaves]


def _own(leaf: Any) -> Any:
    # Not `leaf.copy()`: that compiles a program for every shape, which takes as long as many a target itself.
    return jax.device_put(leaf, may_alias=False) if isinstance(leaf, jax.Array) else leaf
