"""The compiler's passes, from the dumps that XLA writes after each of them: which differed first, and which
to suspect where none did.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcvd.core.dump import Dump, in_order
from pcvd.core.hlo import METADATA, STRING, Module
from pcvd.core.kernel import instructions_of
from pcvd.core.model import digest
from pcvd.core.renaming import INSTRUCTION_NAMES
from pcvd.core.rule import Context, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_METADATA = re.compile(rf"({STRING})|, {METADATA}".encode())
_TABLES = re.compile(
    rb"^(?:FileNames|FunctionNames|FileLocations|StackFrames)\n(?:\d+ [^\n]*\n)*+\n*+", re.MULTILINE
)
_NOWHERE = Context("", "")
_MOST = 6


@dataclass(frozen=True, slots=True)
class Difference:
    """The first dumps that differ, left and right; None on a side that lacks the dump, since there the pass
    changed nothing.
    """

    left: Dump | None
    right: Dump | None

    @property
    def pass_name(self) -> str:
        """The pass that made the difference; empty where it lies before the passes or between two
        pipelines.
        """
        dump = self.left or self.right
        return dump.pass_name if dump is not None else ""


def canonical(text: bytes) -> bytes:
    """A dump without what differs between two equal builds."""
    for rule in RULES:
        text = rule.apply(text, _NOWHERE)
    return text


def first_difference(left: Sequence[tuple[str, str]], right: Sequence[tuple[str, str]]) -> Difference | None:
    """The first dumps after which two builds differ; both are (file name, digest of the canonical text), in
    any order; names of other files are passed over.

    Dumps are aligned by pipeline and pass. A pass that is dumped on one side only is the difference, unless
    what it dumped is what the dump before it held.
    """
    digests = (dict(left), dict(right))
    sides = [in_order(files) for files in digests]
    ahead = [Counter(dump.name for dump in side) for side in sides]
    at = [0, 0]
    held = ["", ""]
    while True:
        dumps = [side[place] if place < len(side) else None for side, place in zip(sides, at, strict=True)]
        if dumps == [None, None]:
            return None
        here, there = _paired(dumps[0], dumps[1], ahead)
        for side, dump in enumerate((here, there)):
            if dump is not None:
                at[side] += 1
                ahead[side][dump.name] -= 1
                held[side] = digests[side][dump.file]
        if held[0] != held[1]:
            return Difference(here, there)


def suspects(dumps: Sequence[tuple[str, str]], kernel: str) -> list[str]:
    """The passes to try disabling where two builds differ in `kernel` although all their HLO is equal: at
    most six, the likeliest first, named as `xla_disable_hlo_passes` wants them.

    `dumps` are (file name, text) of one build. What differs is something that the text does not show, such as
    an id or the order of a set, and the pass that made the kernel's instruction put it there likelier than
    one that never touched it. So that pass comes first, then the others that changed the module, the latest
    first; never one that XLA can't do without.
    """
    texts = dict(dumps)
    ordered = in_order(texts)
    if not ordered:
        return []
    names = [one.name for one in instructions_of(kernel, Module.parse(texts[ordered[-1].file])).instructions]
    made = [dump for name in names if (dump := _first_with(name, ordered, texts)) is not None]
    digests = [digest(canonical(texts[dump.file].encode())) for dump in ordered]
    changed = [
        dump for dump, own, before in zip(ordered[1:], digests[1:], digests, strict=False) if own != before
    ]
    passes = dict.fromkeys(dump.pass_name for dump in [*made, *reversed(changed)])
    return [name for name in passes if name and name not in REQUIRED and not _EXPANSION.match(name)][:_MOST]


def _paired(
    left: Dump | None, right: Dump | None, ahead: list[Counter[str]]
) -> tuple[Dump | None, Dump | None]:
    """The dumps to compare next: both where they are of one pass, else only that which the other side does
    not come to any more.
    """
    if left is None or right is None or left.name == right.name:
        return left, right
    return (None, right) if ahead[1][left.name] and not ahead[0][right.name] else (left, None)


def _first_with(name: str, ordered: Sequence[Dump], texts: dict[str, str]) -> Dump | None:
    instruction = re.compile(rf"^\s+(?:ROOT )?%?{re.escape(name)} = ", re.MULTILINE)
    return next((dump for dump in ordered if instruction.search(texts[dump.file])), None)


def _without(pattern: re.Pattern[bytes], replacement: bytes) -> Callable[[bytes, Context], bytes]:
    return lambda text, _context: pattern.sub(replacement, text)


RULES = (
    Rule(
        name="stack-frames",
        what="the tables of source files, functions, lines and stack frames behind the module's head",
        why="they tell who called the compiler, and from where",
        apply=_without(_TABLES, b""),
    ),
    Rule(
        name="metadata",
        what="the source position and the scope name of each instruction",
        why="they tell where it comes from, and nothing of what it computes",
        apply=_without(_METADATA, rb"\1"),
    ),
    INSTRUCTION_NAMES,
)
"""What differs between the dumps of two equal builds, in the style of the stages' rules."""

REQUIRED = {
    "copy-insertion": "without it loops write over values that are still read: wrong results, or no end",
    "layout-assignment": "without it library calls get matrices in an order they don't expect: wrong results",
    "flatten-call-graph": "copy-insertion fails on computations that are called from several places",
    "gather_simplifier": "the compiler aborts on the gathers that it would have replaced",
    "scatter_simplifier": "the compiler aborts on the scatters that it would have replaced",
}
"""Passes that XLA can't do without, each with what happens without it."""

_EXPANSION = re.compile(r".*[-_](?:expander|decomposer)$")
"""These replace operations for which there is no code generator: without them the compiler crashes or
fails.
"""
