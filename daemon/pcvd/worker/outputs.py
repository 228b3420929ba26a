"""Running executables, and how far two results are apart.

Outputs come from each build's *own* executable on the seeded arguments. An argument may be donated, and then
it is gone after one call, so every run gets copies of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from pcvd.core.model import Artifact, OutputDelta, Part
from pcvd.worker.collect import Collector, leaf_bytes

if TYPE_CHECKING:
    from pcvd.worker.build import Product


def run(product: Product, collector: Collector) -> tuple[Artifact, bool]:
    """The outputs of the build as an artifact, and whether a second run gave the same bits."""
    first, second = _once(product), _once(product)
    if not first:
        return Artifact.missing(
            "output", "the function returns no arrays, so there is nothing to compare"
        ), True
    parts = [collector.part("output", path, data, label) for path, label, data in first]
    return Artifact.of("output", parts), first == second


def _once(product: Product) -> list[tuple[str, str, bytes]]:
    result = product.compiled(*jax.tree.map(_own, product.runtime_args))
    leaves = jax.tree_util.tree_flatten_with_path(jax.block_until_ready(result))[0]
    return [(jax.tree_util.keystr(path) or "result", *leaf_bytes(leaf)) for path, leaf in leaves]


def _own(leaf: Any) -> Any:
    return leaf.copy() if isinstance(leaf, jax.Array) else leaf


def distance(
    schedule: str, reference: Part, other: Part, data: tuple[bytes, bytes], *, atol: float, rtol: float
) -> OutputDelta:
    """How far the leaf `other` is from `reference`, given the bytes of both.

    NaNs at the same places count as equal here (their bits are compared by the digests); a value that is
    finite on one side only is infinitely far away.
    """
    if reference.label != other.label:
        return OutputDelta(schedule, other.name, f"{reference.label} against {other.label}", False)
    if data[0] == data[1]:
        return OutputDelta(schedule, other.name, other.label, True, 0.0, 0.0, 0.0, True)
    dtype = _dtype(reference.label)
    if dtype is None:
        return OutputDelta(schedule, other.name, other.label, False)
    left, right = (np.frombuffer(one, dtype) for one in data)
    wide = np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64
    a, b = left.astype(wide), right.astype(wide)
    with np.errstate(all="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        apart = np.where(same, 0.0, np.abs(a - b))
        apart = np.where(np.isnan(apart), np.inf, apart)
        scale = np.abs(a)
        relative = np.where(same, 0.0, np.where(scale > 0, apart / scale, np.inf))
        # An infinity times the relative tolerance would excuse any distance.
        within = bool(np.all(same | (np.isfinite(apart) & (apart <= atol + rtol * scale))))
    return OutputDelta(
        schedule,
        other.name,
        other.label,
        False,
        float(apart.max(initial=0.0)),
        float(np.nan_to_num(relative, nan=np.inf, posinf=np.inf).max(initial=0.0)),
        _ulps(left, right, dtype),
        within,
    )


def _dtype(label: str) -> np.dtype[Any] | None:
    name = label.partition("[")[0]
    try:
        return np.dtype(name)
    except TypeError:
        return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else None


def _ulps(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> float | None:
    """The largest number of representable values between two real floats; None for what has no such order."""
    if not jnp.issubdtype(dtype, jnp.floating) or dtype.itemsize > 8:
        return None
    bits = np.dtype(f"i{dtype.itemsize}")
    sign = np.int64(-1) << np.int64(dtype.itemsize * 8 - 1)
    steps = []
    for one in (left, right):
        whole = one.view(bits).astype(np.int64)
        # Negative floats count downwards from the sign bit; this lays them on the same line as the positive
        # ones.
        steps.append(np.where(whole < 0, sign - whole, whole).astype(np.float64))
    both_nan = np.isnan(left.astype(np.float64)) & np.isnan(right.astype(np.float64))
    return float(np.where(both_nan, 0.0, np.abs(steps[0] - steps[1])).max(initial=0.0))
