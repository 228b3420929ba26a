"""Colours of kernels in pictures: light enough for black letters on them. Pure."""

from __future__ import annotations

from colorsys import hls_to_rgb

ALONE = "#e4e4e4"
"""A kernel that is used once."""

_GOLDEN = 0.618034
"""Multiples of it fall far from each other on the circle of hues, however many there are."""


def colour(place: int, shared: bool) -> str:
    """The colour of the kernel at this place; only those that several steps share have one of their own."""
    if not shared:
        return ALONE
    red, green, blue = (round(255 * part) for part in hls_to_rgb((0.58 + place * _GOLDEN) % 1, 0.75, 0.65))
    return f"#{red:02x}{green:02x}{blue:02x}"


def dark(place: int, shared: bool) -> str:
    """The same hue for lines on white."""
    if not shared:
        return "#8a8a8a"
    red, green, blue = (round(255 * part) for part in hls_to_rgb((0.58 + place * _GOLDEN) % 1, 0.45, 0.6))
    return f"#{red:02x}{green:02x}{blue:02x}"
