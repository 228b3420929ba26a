"""Distances of output leaves as a verdict keeps them: measured once, in a worker, and looked up since."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pcvd.core.builds import Part
    from pcvd.core.model import OutputDelta

MOST = 200
"""Leaves that a verdict keeps the distances of: a training step returns thousands, under every schedule."""

MEASURES = ("max_abs", "max_rel", "max_ulps", "within_tolerance")


def kept(deltas: Iterable[OutputDelta]) -> dict[str, Any]:
    """`leaves`: what the verdict keeps of `deltas`, as plain values, the farthest first; `more_leaves`: how
    many there are beside them.

    Copies of a schedule that agree among themselves are told once.
    """
    found = sorted(dict.fromkeys(deltas), key=_nearness)
    leaves = [asdict(delta) | {"first": _listed(delta.first)} for delta in found[:MOST]]
    return {"leaves": leaves, "more_leaves": max(0, len(found) - MOST)}


def _nearness(delta: OutputDelta) -> tuple[bool, float]:
    # What has no distance (another shape) is farther than anything that has one.
    return delta.within_tolerance, -math.inf if delta.max_abs is None else -delta.max_abs


def _listed(place: Sequence[int] | None) -> list[int] | None:
    return None if place is None else list(place)


class Distances:
    """The distances in one verdict. Verdicts of an older version have none.

    A leaf is found by its content, not by who built it: a run of a variation whose bits are those of some
    schedule is as far from the reference as that one is.
    """

    def __init__(self, output: Mapping[str, Any] | None, reference: Iterable[Part]) -> None:
        """`output` is the verdict's, `reference` the leaves that everything was measured against."""
        self._records: list[dict[str, Any]] = list((output or {}).get("leaves") or ())
        self._reference = {_content(part) for part in reference}
        self._places: dict[tuple[str, str, str], int] = {}
        for place, record in enumerate(self._records):
            self._places.setdefault((record["path"], record["label"], record["digest"]), place)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._records)

    def between(self, left: Part | None, right: Part | None) -> dict[str, Any] | None:
        """How far two leaves are apart, whichever of them is the reference's; None where neither is, or where
        that was not kept.
        """
        place = self.rank(left, right)
        return self._records[place] if place < len(self._records) else None

    def rank(self, left: Part | None, right: Part | None) -> int:
        """The place of that distance among all: the farthest are first, what is not known comes last."""
        last = len(self._records)
        if left is None or right is None:
            return last
        others = [
            theirs for mine, theirs in ((left, right), (right, left)) if _content(mine) in self._reference
        ]
        return min((self._places.get(_content(other), last) for other in others), default=last)


def _content(part: Part) -> tuple[str, str, str]:
    return part.name, part.label, part.canonical
