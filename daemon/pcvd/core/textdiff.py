"""The difference of two texts of any size, as a unified diff.

`difflib` alone takes minutes for a few megabytes of HLO. So common heads and tails go first; then lines that
stand exactly once on both sides hold the texts together (Bram Cohen's patience diff), and only what lies
between two such lines goes to difflib, where it is small.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SMALL = 250_000  # lines on one side times lines on the other; above it difflib takes seconds


@dataclass(frozen=True, slots=True)
class Block:
    """The lines `left` to `left_end` of one text that stand for `right` to `right_end` of the other."""

    left: int
    left_end: int
    right: int
    right_end: int


@dataclass(frozen=True, slots=True)
class Delta:
    """How two texts differ: both texts, and the blocks in which they do, in order."""

    left: Sequence[str]
    right: Sequence[str]
    blocks: tuple[Block, ...]

    @property
    def removed(self) -> int:
        """How many lines only the left text has."""
        return sum(block.left_end - block.left for block in self.blocks)

    @property
    def added(self) -> int:
        """How many lines only the right text has."""
        return sum(block.right_end - block.right for block in self.blocks)

    def unified(self, *, context: int = 3, width: int = 0) -> Iterator[str]:
        """The hunks of a unified diff, line by line and without file names.

        Lines of more than `width` characters (0: of any length) are shortened to the part that differs.
        """
        for hunk in self._hunks(context):
            first, last = hunk[0], hunk[-1]
            before = min(context, first.left)
            after = min(context, len(self.left) - last.left_end)
            yield (
                f"@@ -{_range(first.left - before, last.left_end + after)}"
                f" +{_range(first.right - before, last.right_end + after)} @@"
            )
            at = first.left - before
            for block in hunk:
                yield from (f" {_cut(line, width)}" for line in self.left[at : block.left])
                yield from self._block(block, width)
                at = block.left_end
            yield from (f" {_cut(line, width)}" for line in self.left[at : at + after])

    def _hunks(self, context: int) -> Iterator[list[Block]]:
        hunk: list[Block] = []
        for block in self.blocks:
            if hunk and block.left - hunk[-1].left_end > 2 * context:
                yield hunk
                hunk = []
            hunk.append(block)
        if hunk:
            yield hunk

    def _block(self, block: Block, width: int) -> Iterator[str]:
        left = self.left[block.left : block.left_end]
        right = self.right[block.right : block.right_end]
        for sign, mine, theirs in (("-", left, right), ("+", right, left)):
            for place, line in enumerate(mine):
                other = theirs[place] if place < len(theirs) else ""
                yield sign + _cut(line, width, _common(line, other) if len(line) > width else 0)


def _range(start: int, end: int) -> str:
    # An empty range is named by the line before it.
    return f"{start + (end > start)},{end - start}"


def _common(line: str, other: str) -> int:
    """How many characters both begin with."""
    low, high = 0, min(len(line), len(other))
    while low < high:  # by halves: a constant may be a line of megabytes
        middle = (low + high + 1) // 2
        if line[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _cut(line: str, width: int, at: int = 0) -> str:
    """`line` in at most some `width` characters, around the one at `at`."""
    if not width or len(line) <= width:
        return line
    start = max(0, min(at - width // 3, len(line) - width))
    left, right = "…" if start else "", "…" if start + width < len(line) else ""
    return f"{left}{line[start : start + width]}{right}"


def compare(left: Sequence[str], right: Sequence[str]) -> Delta:
    """How two texts, given as lines, differ. In about linear time, so it may not be the smallest diff."""
    blocks: list[Block] = []
    regions = [Block(0, len(left), 0, len(right))]
    while regions:
        region = _trimmed(left, right, regions.pop())
        if region.left == region.left_end or region.right == region.right_end:
            if region.left_end - region.left or region.right_end - region.right:
                blocks.append(region)
            continue
        anchors = _anchors(left, right, region)
        if anchors:
            regions += _between(region, anchors)
        elif (region.left_end - region.left) * (region.right_end - region.right) <= _SMALL:
            blocks += _by_difflib(left, right, region)
        else:
            blocks.append(region)
    return Delta(left, right, tuple(_joined(sorted(blocks, key=lambda block: (block.left, block.right)))))


def _trimmed(left: Sequence[str], right: Sequence[str], region: Block) -> Block:
    """`region` without the lines that both sides begin and end with."""
    start, at = region.left, region.right
    end, until = region.left_end, region.right_end
    while start < end and at < until and left[start] == right[at]:
        start, at = start + 1, at + 1
    while start < end and at < until and left[end - 1] == right[until - 1]:
        end, until = end - 1, until - 1
    return Block(start, end, at, until)


def _anchors(left: Sequence[str], right: Sequence[str], region: Block) -> list[tuple[int, int]]:
    """The places of lines that are unique on both sides, in an order that holds on both."""
    mine = Counter(left[region.left : region.left_end])
    theirs = Counter(right[region.right : region.right_end])
    place = {right[at]: at for at in range(region.right, region.right_end) if theirs[right[at]] == 1}
    pairs = [
        (at, place[left[at]])
        for at in range(region.left, region.left_end)
        if mine[left[at]] == 1 and left[at] in place
    ]
    return _rising(pairs)


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of `pairs`, ordered on the left, that is ordered on the right as well."""
    ends: list[int] = []  # per length, the smallest right place that a rising row of this length ends with
    last: list[int] = []  # and which pair that is
    before: list[int] = []
    for index, (_, at) in enumerate(pairs):
        length = bisect_left(ends, at)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [at]
        last[length : length + 1] = [index]
    row = []
    index = last[-1] if last else -1
    while index >= 0:
        row.append(pairs[index])
        index = before[index]
    return row[::-1]


def _between(region: Block, anchors: list[tuple[int, int]]) -> Iterator[Block]:
    start, at = region.left, region.right
    for left, right in [*anchors, (region.left_end, region.right_end)]:
        if left > start or right > at:
            yield Block(start, left, at, right)
        start, at = left + 1, right + 1


def _by_difflib(left: Sequence[str], right: Sequence[str], region: Block) -> Iterator[Block]:
    matcher = SequenceMatcher(
        None, left[region.left : region.left_end], right[region.right : region.right_end], autojunk=False
    )
    for tag, start, end, at, until in matcher.get_opcodes():
        if tag != "equal":
            yield Block(region.left + start, region.left + end, region.right + at, region.right + until)


def _joined(blocks: list[Block]) -> Iterator[Block]:
    """Blocks that touch on both sides, as one."""
    held: Block | None = None
    for block in blocks:
        if held is not None and held.left_end == block.left and held.right_end == block.right:
            held = Block(held.left, block.left_end, held.right, block.right_end)
            continue
        if held is not None:
            yield held
        held = block
    if held is not None:
        yield held
