"""A tree of lines for a terminal: branches drawn with box characters, or with ASCII. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pcvctl import table

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNICODE = ("├ ", "└ ", "│ ", "  ")
_ASCII = ("|- ", "`- ", "|  ", "   ")


@dataclass(slots=True)
class Node:
    """One entry of the tree in a style (ANSI code, "" for none), with what hangs below it.

    Lines of its text after the first are indented by `hang`. `quoted`: one line of something else (a diff),
    shown without a branch and cut where the terminal ends, not wrapped.
    """

    text: str
    style: str = ""
    hang: int = 0
    quoted: bool = False
    below: list[Node] = field(default_factory=list)

    def add(self, text: str, style: str = "", *, hang: int = 0, quoted: bool = False) -> Node:
        """Hang another entry below this one; returns it."""
        self.below.append(Node(text, style, hang, quoted))
        return self.below[-1]


def render(root: Node, width: int, *, color: bool, unicode: bool) -> str:
    """The tree as text that ends with a newline; `root` stands at the margin."""
    lines = [table.paint(line, root.style, color) for line in _lines(root, width, unicode)]
    lines += _below(root, "", width, color, unicode)
    return "".join(f"{line}\n" for line in lines)


def _below(node: Node, margin: str, width: int, color: bool, unicode: bool) -> Iterator[str]:
    branch, last_branch, beside, blank = _UNICODE if unicode else _ASCII
    branches = [one for one in node.below if not one.quoted]
    for one in node.below:
        last = not branches or one is branches[-1]  # quoted lines stand above the branches, or alone
        inner = margin + (blank if last else beside)
        head = inner if one.quoted else margin + (last_branch if last else branch)
        for line in _lines(one, max(width - len(inner), 24), unicode):
            yield (head + table.paint(line, one.style, color)).rstrip()
            head = inner
        yield from _below(one, inner, width, color, unicode)


def _lines(node: Node, room: int, unicode: bool) -> list[str]:
    if not node.quoted:
        lines = []
        for place, line in enumerate(node.text.split("\n")):
            lines += _wrapped(line, room, node.hang if place else 0, node.hang + 2)
        return lines
    text = table.clean(node.text.expandtabs(4))
    mark = "…" if unicode else "..."
    return [text if table.span(text) <= room else text[: room - len(mark)] + mark]


def _wrapped(text: str, room: int, indent: int, hang: int) -> list[str]:
    from textwrap import wrap

    return wrap(
        table.clean(text),
        room,
        initial_indent=" " * indent,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
