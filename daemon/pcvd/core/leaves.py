"""How the elements of two stored leaves differ: how many do, and what the first of them are on both sides.

How far leaves are apart is not asked here: workers measure that, and the verdict keeps it. This looks at the
bytes afterwards, in plain Python, since the daemon has no NumPy: what is equal is skipped by the block, and
only the elements that are shown are decoded.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import compress, count, islice
from typing import TYPE_CHECKING, Any

from pcvd.core import elements
from pcvd.core.distances import MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BLOCK = 1 << 16  # elements
_SAMPLES = 8
_SAID = {"max_abs": ", at most {:.3g} apart", "max_rel": ", {:.3g} relative", "max_ulps": ", {:.0f} ULPs"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One element that differs: its index, and what it is on both sides."""

    index: str
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """How two leaves differ.

    `elements` counts all, `differing` those with other bits, both None where the leaves are not of one shape
    and type; `remarks` say so.
    """

    elements: int | None = None
    differing: int | None = None
    samples: tuple[Sample, ...] = ()
    remarks: tuple[str, ...] = ()


def is_array(label: str) -> bool:
    """Whether the label of a part (`float32[2,3]`) tells of an array."""
    return _shape(label) is not None


def compare(left_label: str, left: bytes, right_label: str, right: bytes) -> Leaf:
    """How the array with these bytes and label differs from the other one."""
    if left_label != right_label:
        sides = f"{left_label or 'no label'} on one side, {right_label or 'none'} on the other"
        return Leaf(remarks=(sides,))
    shape = _shape(left_label)
    if shape is None:
        return Leaf(remarks=(f"{left_label or 'what has no label'} is no array",))
    number = math.prod(shape)
    size = len(left) // number if number else 0
    if len(left) != len(right) or len(left) != size * number:
        return Leaf(remarks=(f"{len(left)} bytes on one side, {len(right)} on the other",))
    dtype = left_label.partition("[")[0]
    differing = 0
    samples: list[Sample] = []
    for start, mask in _unequal(left, right, size):
        differing += len(mask) - mask.count(0)
        for place in islice(compress(count(start), mask), _SAMPLES - len(samples)):
            pair = [side[place * size : (place + 1) * size] for side in (left, right)]
            samples.append(Sample(_index(place, shape), *elements.shown(dtype, *pair)))
    return Leaf(number, differing, tuple(samples))


def plain(leaf: Leaf, distance: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What was seen of two leaves together with how far apart they are by the verdict, as plain values.

    `distance` is None where that was not kept: it is of two other builds, or of an older version.
    """
    known = distance or {}
    return {
        "elements": known.get("elements") if leaf.elements is None else leaf.elements,
        "differing": known.get("differing") if leaf.differing is None else leaf.differing,
        "samples": [{"index": one.index, "left": one.left, "right": one.right} for one in leaf.samples],
        **{measure: known.get(measure) for measure in MEASURES},
        "remarks": list(leaf.remarks),
    }


def told(leaf: Leaf, distance: Mapping[str, Any] | None = None) -> list[str]:
    """How two leaves differ, in the manner of a diff; nothing where no element is known to."""
    if not leaf.differing:
        return []
    known = distance or {}
    apart = "".join(said.format(known[name]) for name, said in _SAID.items() if known.get(name) is not None)
    lines = [f"@@ {leaf.differing} of {leaf.elements} elements differ{apart} @@"]
    lines += [f"-{sample.index} {sample.left}" for sample in leaf.samples]
    lines += [f"+{sample.index} {sample.right}" for sample in leaf.samples]
    return lines


def _shape(label: str) -> tuple[int, ...] | None:
    _, bracket, sizes = label.partition("[")
    if not bracket or not re.fullmatch(r"(\d+(,\d+)*)?\]", sizes):
        return None
    return tuple(int(size) for size in sizes[:-1].split(",") if size)


def _unequal(left: bytes, right: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """Where elements of `size` bytes differ: the place of a block of them, and a byte for each of its
    elements, which is zero where both sides are equal.
    """
    block = size * _BLOCK
    for start in range(0, len(left), block or 1):
        one, other = left[start : start + block], right[start : start + block]
        if one == other:
            continue
        # Arithmetic on whole blocks is thirty times as fast as a loop over its elements.
        unlike = 0
        for byte in range(size):
            unlike |= int.from_bytes(one[byte::size]) ^ int.from_bytes(other[byte::size])
        yield start // size, unlike.to_bytes(len(one) // size)


def _index(flat: int, shape: tuple[int, ...]) -> str:
    """The place of an element in an array of that shape, which lies in row-major order."""
    places: list[int] = []
    for size in reversed(shape):
        flat, place = divmod(flat, size or 1)
        places.append(place)
    return f"[{','.join(map(str, reversed(places)))}]"
