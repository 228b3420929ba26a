"""How far one leaf of a build's results is from the reference's: bits first, then representable values, then
numbers.

Bits are what verdicts compare; distances only describe. So what has other bits but the same value (a NaN with
another payload, a zero with another sign) is counted as differing, and is at no distance.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from pcvd.core.model import OutputDelta

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pcvd.core.builds import Part

_WIDEST = 8  # bytes: wider floats are no arrays of JAX's


def distance(
    schedule: str, reference: Part, other: Part, data: tuple[bytes, bytes], *, atol: float, rtol: float
) -> OutputDelta:
    """How far the leaf `other` is from `reference`, given the bytes of both.

    A value that is a NaN or an infinity on one side only is infinitely far away, in every measure. Complex
    numbers are as far apart in ULPs as the farther of their parts; integers, flags and keys have no ULPs, and
    keys no distance at all. Integers and flags don't round, so no part of them is tolerated as rounding is.
    """
    label = other.label
    far = OutputDelta(schedule, other.name, label, False, digest=other.canonical)
    if reference.label != label:
        return replace(far, label=f"{reference.label} against {label}")
    shape = _shape(label)
    elements = None if shape is None else math.prod(shape)
    if data[0] == data[1]:
        return replace(
            far,
            bitwise=True,
            max_abs=0.0,
            max_rel=0.0,
            max_ulps=0.0,
            within_tolerance=True,
            differing=0,
            elements=elements,
        )
    if shape is None or not elements or len(data[0]) != len(data[1]) or len(data[0]) % elements:
        return far
    left, right = (np.frombuffer(one, np.uint8).reshape(elements, -1) for one in data)
    unlike = np.flatnonzero((left != right).any(axis=1))
    first = tuple(int(place) for place in np.unravel_index(unlike[0], shape))
    far = replace(far, differing=len(unlike), elements=elements, first=first)
    dtype = _dtype(label)
    if dtype is None:
        return far
    # Only where bits differ is there anything to measure: results are large, and differences are few.
    a, b = (np.ascontiguousarray(one[unlike]).view(dtype).ravel() for one in (left, right))
    with np.errstate(all="ignore"):
        apart: NDArray[np.float64] = _apart(a, b)
        scale = _magnitude(a)
        relative = np.where(apart == 0, 0.0, np.where(scale > 0, apart / scale, np.inf))
        rounds = jnp.issubdtype(a.dtype, jnp.inexact)
        most = atol + rtol * scale if rounds else atol
        within = bool(np.all((apart == 0) | (np.isfinite(apart) & (apart <= most))))
    return replace(
        far,
        max_abs=float(np.max(apart)),
        max_rel=float(np.max(relative)),
        max_ulps=_ulps(a, b),
        within_tolerance=within,
    )


def _shape(label: str) -> tuple[int, ...] | None:
    """The shape in a label (`float32[2,3]`), or None where it tells of no array."""
    _, bracket, rest = label.partition("[")
    if not bracket or not rest.endswith("]"):
        return None
    return tuple(int(size) for size in rest[:-1].split(",") if size)


def _dtype(label: str) -> np.dtype[Any] | None:
    name = label.partition("[")[0]
    try:
        return np.dtype(name)
    except TypeError:
        return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else None


def _apart(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """The absolute difference of each pair; a pair of NaNs, or of equal infinities, is at no distance."""
    if jnp.issubdtype(a.dtype, jnp.complexfloating):
        real, imaginary = (_apart(one(a), one(b)) for one in (np.real, np.imag))
        return np.asarray(np.hypot(real, imaginary))
    if jnp.issubdtype(a.dtype, jnp.integer):
        wide = np.uint64 if jnp.issubdtype(a.dtype, jnp.unsignedinteger) else np.int64
        return _between(a.astype(wide), b.astype(wide))
    x, y = a.astype(np.float64), b.astype(np.float64)
    apart = np.abs(x - y)
    apart = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, apart)
    return np.where(np.isnan(apart), np.inf, apart)


def _between(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """How far integers of 64 bits are apart. Not by way of floats, which beyond 2**53 take neighbours for
    one; the difference as unsigned numbers never overflows.
    """
    lower, upper = (one.view(np.uint64) for one in (np.minimum(a, b), np.maximum(a, b)))
    between: NDArray[np.float64] = (upper - lower).astype(np.float64)
    return between


def _magnitude(a: NDArray[Any]) -> NDArray[np.float64]:
    wide = np.complex128 if jnp.issubdtype(a.dtype, jnp.complexfloating) else np.float64
    magnitude = np.abs(a.astype(wide))
    # An infinity times the relative tolerance would excuse any distance.
    return np.where(np.isfinite(magnitude), magnitude, 0.0)


def _ulps(a: NDArray[Any], b: NDArray[Any]) -> float | None:
    """The largest number of representable values between two floats; None for what has no such order.

    Both zeros are one value here: a step from either leads to the smallest number of each sign.
    """
    if jnp.issubdtype(a.dtype, jnp.complexfloating):
        parts = [[np.ascontiguousarray(part(one)) for one in (a, b)] for part in (np.real, np.imag)]
        return max(ulps for ulps in (_ulps(*part) for part in parts) if ulps is not None)
    if not jnp.issubdtype(a.dtype, jnp.floating) or a.dtype.itemsize > _WIDEST:
        return None
    x, y = (one.astype(np.float64) for one in (a, b))
    steps = _between(_place(a), _place(b))
    steps = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, steps)
    alone = (np.isfinite(x) != np.isfinite(y)) | (np.isnan(x) != np.isnan(y)) | (np.isinf(x) & (x == -y))
    return float(np.where(alone, np.inf, steps).max())


def _place(values: NDArray[Any]) -> NDArray[np.int64]:
    """The place of each float among all floats of its type, in order of their values."""
    size = values.dtype.itemsize
    if size == 1:
        # Formats this narrow may lack signs, infinities or a zero, or use a part of the byte only; but they
        # have so few values that all can be put in order.
        every = np.arange(1 << 8, dtype=np.uint8).view(values.dtype).astype(np.float64)
        known = np.unique(every[~np.isnan(every)])
        return np.searchsorted(known, values.astype(np.float64)).astype(np.int64)
    whole = values.view(f"i{size}").astype(np.int64)
    # Negative floats count downwards from the sign bit; this lays them on one line with the positive ones.
    sign = np.int64(-1) << np.int64(size * 8 - 1)
    return np.where(whole < 0, sign - whole, whole)
