"""Plots of what a benchmark has measured: panels beside each other, both axes logarithmic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: lines by their names, over sizes that all panels share."""

    title: str
    unit: str
    lines: Mapping[str, Sequence[float]]


def draw(file: str, sizes: Sequence[int], of: str, panels: Sequence[Panel]) -> None:
    """Write the panels to `file`, as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.6), layout="constrained")
    for axis, panel in zip(axes, panels, strict=True):
        for label, values in panel.lines.items():
            axis.plot(sizes, values, marker="o", label=label)
        axis.set(xscale="log", yscale="log", xlabel=of, ylabel=panel.unit, title=panel.title)
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(file, dpi=110)
