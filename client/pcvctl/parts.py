"""A cut as text: its kernels in a table, the order in which they run, and what was decided against. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcvctl import table
from pcvctl.cut import Cut, size

if TYPE_CHECKING:
    from collections.abc import Iterator


def render(document: object, width: int, *, color: bool = False, unicode: bool = False) -> str:
    """The document of a cut as text that ends with a newline."""
    cut = Cut.of(document)
    lines = [table.paint(line, table.BOLD, color) for line in table.wrapped(cut.title, width, "")]
    lines += ["", *table.lines(_columns(cut), width, color=color, unicode=unicode)]
    if len(cut.steps) > 1:
        lines += ["", *table.wrapped(f"order: {cut.order}", width, "")]
    for note in cut.notes:
        lines += [
            table.paint(line, table.YELLOW, color) for line in table.wrapped(f"note: {note}", width, "")
        ]
    return "".join(f"{line}\n" for line in lines)


def _columns(cut: Cut) -> list[table.Column]:
    parts = cut.parts
    return [
        table.Column("kernel", [one.label for one in parts]),
        table.Column("uses", [str(one.uses) for one in parts], right=True),
        table.Column("equations", [str(one.equations) for one in parts], right=True),
        table.Column("feeds", [", ".join(_takers(cut, place)) for place in range(len(parts))], floor=12),
        table.Column("where", [one.where for one in parts], floor=16),
    ]


def _takers(cut: Cut, place: int) -> Iterator[str]:
    """Who takes how much of a kernel's results, all of its uses together."""
    for taker, count in sorted(cut.feeds_of.get(place, {}).items()):
        yield f"{cut.parts[taker].label} {size(count)}"
    if any(cut.steps[step] == place for step in cut.results):
        yield "results"
