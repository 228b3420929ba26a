"""How a target's program is cut into kernels, read from its JSON: which kernels there are, in what order
they run, who feeds whom. What draws it starts from here. Pure.

The document may come from another version of pcv: what is not what it should be counts as missing, and
nothing here raises.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pcvctl.table import clean
from pcvctl.values import items, mapping, text, texts

_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


@dataclass(frozen=True, slots=True)
class Part:
    """One distinct kernel: a `label` of letters, the user's name for it and the place where it was written,
    as far as they are known, how many equations it has and how often it is used.
    """

    label: str
    name: str
    function: str
    file: str
    line: int
    equations: int
    uses: int

    @property
    def where(self) -> str:
        """The place, and the user's name."""
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return " ".join(filter(None, (place, self.function))) or self.name


@dataclass(frozen=True, slots=True)
class Feed:
    """What one step hands to a later one."""

    giver: int
    taker: int
    values: int
    bytes: int


@dataclass(frozen=True)
class Cut:
    """Kernels, the kernel of each step in the order in which they run, and what they hand to each other."""

    policy: str
    parts: tuple[Part, ...]
    steps: tuple[int, ...]
    feeds: tuple[Feed, ...]
    results: frozenset[int]
    boundary_bytes: int
    peak_bytes: int
    notes: tuple[str, ...]

    @classmethod
    def of(cls, document: object) -> Cut:
        """Read a document."""
        held = mapping(document)
        kernels = [mapping(one) for one in items(held.get("kernels"))]
        rows = [mapping(one) for one in items(held.get("steps"))]
        # A step of a kernel that is not there can't be drawn; what it feeds is left out with it.
        kept = [place for place, one in enumerate(rows) if 0 <= _whole(one.get("kernel"), -1) < len(kernels)]
        steps = tuple(_whole(rows[place].get("kernel")) for place in kept)
        moved = {place: new for new, place in enumerate(kept)}
        uses = Counter(steps)
        return cls(
            clean(text(held.get("policy"))),
            tuple(_part(place, one, uses[place]) for place, one in enumerate(kernels)),
            steps,
            tuple(_feeds(items(held.get("edges")), moved)),
            frozenset(moved[place] for place in kept if _whole(rows[place].get("result_bytes"))),
            _whole(held.get("boundary_bytes")),
            _whole(held.get("peak_bytes")),
            tuple(map(clean, texts(held.get("notes")))),
        )

    @property
    def title(self) -> str:
        """All of it in one line."""
        if len(self.steps) == 1:
            return f"1 kernel ({self.policy})"
        between = f"{size(self.boundary_bytes)} between them, at most {size(self.peak_bytes)} at one time"
        return f"{len(self.steps)} kernels ({self.policy}), {len(self.parts)} distinct; {between}"

    @cached_property
    def feeds_of(self) -> dict[int, dict[int, int]]:
        """For each distinct kernel, which ones it feeds, and the bytes that all of its uses hand them."""
        found: dict[int, dict[int, int]] = {}
        for one in self.feeds:
            takers = found.setdefault(self.steps[one.giver], {})
            taker = self.steps[one.taker]
            takers[taker] = takers.get(taker, 0) + one.bytes
        return found

    @property
    def order(self) -> str:
        """The steps in the order in which they run, what repeats told once: `A, 23 B, 4 (C D), E`."""
        told = []
        for turn, times in _turns(self.steps):
            labels = " ".join(self.parts[kernel].label for kernel in turn)
            told.append(labels if times == 1 else f"{times} {labels if len(turn) == 1 else f'({labels})'}")
        return ", ".join(told)


def size(count: int) -> str:
    """Bytes in one short figure."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} B"


def label(place: int) -> str:
    """A to Z, then AA, AB and so on."""
    letters = ""
    place += 1
    while place:
        place, letter = divmod(place - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def _part(place: int, one: dict[str, Any], uses: int) -> Part:
    name, function, file = (clean(text(one.get(key))) for key in ("name", "function", "file"))
    return Part(
        label(place), name, function, file, _whole(one.get("line")), _whole(one.get("equations")), uses
    )


def _feeds(edges: list[Any], moved: dict[int, int]) -> list[Feed]:
    feeds = []
    for one in map(mapping, edges):
        giver, taker = (moved.get(_whole(one.get(key), -1), -1) for key in ("from", "to"))
        if 0 <= giver < taker:
            feeds.append(Feed(giver, taker, _whole(one.get("values")), _whole(one.get("bytes"))))
    return feeds


def _whole(value: object, missing: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else missing


def _turns(steps: tuple[int, ...]) -> list[tuple[tuple[int, ...], int]]:
    """Runs of equal turns from the first step to the last, each as a turn and how often it comes."""
    turns = []
    start = 0
    while start < len(steps):
        best, length = 1, 1
        for period in range(1, min(8, (len(steps) - start) // 2) + 1):
            times = 1
            turn = steps[start : start + period]
            while steps[start + times * period : start + (times + 1) * period] == turn:
                times += 1
            if times > 1 and times * period > best * length:
                best, length = times, period
        turns.append((steps[start : start + length], best))
        start += best * length
    return turns
