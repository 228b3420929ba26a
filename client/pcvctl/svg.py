"""A cut as a picture: the steps in a column in the order in which they run, as wide as they have equations,
and arcs from those that make values to those that take them. Pure.

Arcs of a forward and a backward pass lie inside each other, so that the two can be seen at once.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from pcvctl.cut import Cut, size
from pcvctl.palette import colour, dark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcvctl.cut import Feed, Part

_ROW, _BOX = 20, 14
_TOP, _MARGIN = 44, 16
_NAMES = 300
_NARROW, _WIDE = 26, 130
_REACH = 300
_LETTER = 6.2  # about what one takes at the size of 11

# What XML can't hold, however it is escaped; control characters are spelt out already.
_FORBIDDEN = dict.fromkeys([0xFFFE, 0xFFFF, *range(0xD800, 0xE000)], "?")


def render(document: object) -> str:
    """The document of a cut as SVG that ends with a newline."""
    cut = Cut.of(document)
    legend = _TOP + len(cut.steps) * _ROW + 2 * _MARGIN
    height = legend + len(cut.parts) * _ROW + _MARGIN
    width = max(_NAMES + _WIDE + _REACH + 2 * _MARGIN, int(len(cut.title) * 8) + 2 * _MARGIN)
    frame = f'width="{width}" height="{height}"'
    room = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {frame}'
    lines = [
        f'<svg {room} font-family="sans-serif" font-size="11">',
        f'<rect {frame} fill="white"/>',
        f'<text x="{_MARGIN}" y="26" font-size="14">{_text(cut.title)}</text>',
        *_arcs(cut),
        *_steps(cut),
        *_legend(cut, legend),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _steps(cut: Cut) -> Iterator[str]:
    before = None
    for place, kernel in enumerate(cut.steps):
        part = cut.parts[kernel]
        x, y = _NAMES, _TOP + place * _ROW
        if kernel != before:  # what repeats is named once
            name = _text(_tail(part.where))
            yield f'<text x="{x - 8}" y="{y + 11}" text-anchor="end">{name}</text>'
        told = f"{part.label}, step {place + 1}: {_told(part)}"
        yield _box(x, y, _length(cut, kernel), kernel, part, f"<title>{_text(told)}</title>", 'class="step" ')
        yield f'<text x="{x + 6}" y="{y + 11}" pointer-events="none">{part.label}</text>'
        before = kernel


def _arcs(cut: Cut) -> Iterator[str]:
    most = max((one.bytes for one in cut.feeds), default=0) or 1
    for one in cut.feeds:
        kernel = cut.steps[one.giver]
        line = dark(kernel, cut.parts[kernel].uses > 1)
        thick = round(0.8 + 2.2 * (one.bytes / most) ** 0.5, 1)
        values = "1 value" if one.values == 1 else f"{one.values} values"
        told = f"step {one.giver + 1} to step {one.taker + 1}: {values}, {size(one.bytes)}"
        yield (
            f'<path class="feed" d="{_curve(cut, one)}" fill="none" stroke="{line}" stroke-width="{thick}"'
            f' stroke-opacity="0.75"><title>{told}</title></path>'
        )


def _curve(cut: Cut, one: Feed) -> str:
    """From the right end of a box to that of a later one; to the next one straight down."""
    if one.taker == one.giver + 1:
        x = _NAMES + _NARROW // 2
        return f"M{x} {_TOP + one.giver * _ROW + _BOX}V{_TOP + one.taker * _ROW}"
    start, stop = (_NAMES + _length(cut, cut.steps[step]) for step in (one.giver, one.taker))
    high, low = (_TOP + step * _ROW + _BOX // 2 for step in (one.giver, one.taker))
    # A cubic curve reaches three quarters of the way to its control points.
    far = _NAMES + _WIDE + round(_REACH * 4 / 3 * (one.taker - one.giver) / max(len(cut.steps) - 1, 1))
    return f"M{start} {high}C{far} {high} {far} {low} {stop} {low}"


def _legend(cut: Cut, top: int) -> Iterator[str]:
    for place, part in enumerate(cut.parts):
        y = top + place * _ROW
        yield _box(_MARGIN, y, _BOX, place, part)
        yield f'<text x="{_MARGIN + _BOX + 8}" y="{y + 11}">{_text(f"{part.label}: {_told(part)}")}</text>'


def _box(x: int, y: int, length: int, place: int, part: Part, inner: str = "", kind: str = "") -> str:
    frame = f'x="{x}" y="{y}" width="{length}" height="{_BOX}" rx="3"'
    return f'<rect {kind}{frame} fill="{colour(place, part.uses > 1)}" stroke="#555">{inner}</rect>'


def _told(part: Part) -> str:
    uses = "once" if part.uses == 1 else f"{part.uses} times"
    return f"{part.equations} equations, used {uses}, {part.where}"


def _length(cut: Cut, kernel: int) -> int:
    most = max((one.equations for one in cut.parts), default=0) or 1
    return _NARROW + round((_WIDE - _NARROW) * cut.parts[kernel].equations / most)


def _tail(told: str) -> str:
    """Its end, which tells most of a path, as far as there is room."""
    room = int((_NAMES - _MARGIN) / _LETTER)
    return told if len(told) <= room else f"…{told[1 - room :]}"


def _text(told: str) -> str:
    return escape(told.translate(_FORBIDDEN))
