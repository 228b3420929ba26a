"""Text in columns for a terminal: how wide it is, how it is shortened, coloured and made harmless. Pure."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = "  "

BOLD, DIM, RED, GREEN, YELLOW, MAGENTA, CYAN = "1", "2", "31", "32", "33", "35", "36"

# Messages come from compilers and from users' own code: an escape sequence in one must not drive the
# terminal.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: " "}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, a cell and a style (ANSI code, "" for none) per row, and how it yields.

    `leaves` orders the columns that go when the table is too wide (0: never goes); `floor` is the number of
    columns of the terminal down to which its cells may be shortened in the middle (0: not at all).
    """

    name: str
    cells: Sequence[str]
    styles: Sequence[str] = ()
    right: bool = False
    leaves: int = 0
    floor: int = 0

    @property
    def width(self) -> int:
        """Terminal columns the widest cell takes."""
        return max(map(span, (self.name, *self.cells)))

    @property
    def empty(self) -> bool:
        """Whether no row has anything to say here."""
        return not any(self.cells)


def lines(columns: Sequence[Column], width: int, *, color: bool = False, unicode: bool = False) -> list[str]:
    """The heading and one line per row, within `width` where the columns can yield that much."""
    shown, widths = _fitted([column for column in columns if not column.empty], width)
    rows = [_row([(column.name, DIM) for column in shown], shown, widths, color, unicode)]
    for index in range(len(shown[0].cells) if shown else 0):
        cells = [
            (column.cells[index] or "-", column.styles[index] if column.styles else "") for column in shown
        ]
        rows.append(_row(cells, shown, widths, color, unicode))
    return rows


def _fitted(columns: list[Column], width: int) -> tuple[list[Column], list[int]]:
    """Columns and their widths: cells are shortened, then columns leave, then the rest stays too wide."""
    shown = columns
    while True:
        widths = [column.width for column in shown]
        for index, column in enumerate(shown):
            over = sum(widths) + len(GAP) * (len(shown) - 1) - width
            if over > 0 and column.floor:
                widths[index] = max(min(column.floor, widths[index]), widths[index] - over)
        over = sum(widths) + len(GAP) * (len(shown) - 1) - width
        leaving = min((column.leaves for column in shown if column.leaves), default=0)
        if over <= 0 or not leaving:
            return shown, widths
        shown = [column for column in shown if column.leaves != leaving]


def _row(
    cells: list[tuple[str, str]], columns: list[Column], widths: list[int], color: bool, unicode: bool
) -> str:
    parts = []
    for (text, style), column, width in zip(cells, columns, widths, strict=True):
        short = shortened(text, width, "…" if unicode else "...")
        blank = " " * (width - span(short))
        parts.append(
            blank + paint(short, style, color) if column.right else paint(short, style, color) + blank
        )
    return GAP.join(parts).rstrip()


def span(text: str) -> int:
    """Columns of a terminal that `text` takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def shortened(text: str, width: int, mark: str = "...") -> str:
    """`text` within `width` columns, with `mark` for what left its middle: both ends of a path matter."""
    if span(text) <= width:
        return text
    room = max(width - span(mark), 0)
    head, tail = _within(text, room // 2), _within(text[::-1], room - room // 2)[::-1]
    return (head + mark + tail) if room else mark[:width]


def _within(text: str, width: int) -> str:
    taken = ""
    for letter in text:
        if span(taken + letter) > width:
            break
        taken += letter
    return taken


def paint(text: str, style: str, color: bool) -> str:
    """`text` in an ANSI style, where colour is wanted."""
    return f"\x1b[{style}m{text}\x1b[0m" if color and style and text else text


def clean(text: str) -> str:
    """One line of `text` with control characters spelt out."""
    return text.translate(_CONTROL)


def wrapped(text: str, width: int, indent: str) -> list[str]:
    """`text` in lines of at most `width` columns, all but the first further in; words stay whole."""
    from textwrap import wrap

    out: list[str] = []
    for line in text.splitlines():
        out += wrap(
            clean(line),
            max(width, len(indent) + 24),
            initial_indent=indent + "  " * bool(out),
            subsequent_indent=indent + "  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return out
