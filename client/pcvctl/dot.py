"""A cut as a graph in DOT, for Graphviz: a box a step, coloured by its kernel, an arrow for what it hands on.
Pure.
"""

from __future__ import annotations

from pcvctl.cut import Cut, size
from pcvctl.palette import colour


def render(document: object) -> str:
    """The document of a cut as DOT that ends with a newline."""
    cut = Cut.of(document)
    lines = [
        "digraph kernels {",
        f"  label={_quoted(cut.title)};",
        '  node [shape=box, style=filled, fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize=9];',
    ]
    for place, kernel in enumerate(cut.steps):
        part = cut.parts[kernel]
        told = f"{part.label}  {part.equations} equations\n{part.where}"
        lines.append(
            f"  step{place} [label={_quoted(told)}, fillcolor={_quoted(colour(kernel, part.uses > 1))}];"
        )
    lines += [
        f"  step{one.giver} -> step{one.taker} [label={_quoted(size(one.bytes))}];" for one in cut.feeds
    ]
    lines += [f"  step{place} -> results;" for place in sorted(cut.results)]
    if cut.results:
        lines.append("  results [shape=plain, style=solid];")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(told: str) -> str:
    # A backslash begins an escape of DOT's own (\N is the node's name), so each is doubled first.
    escaped = told.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
