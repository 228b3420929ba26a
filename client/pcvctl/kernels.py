"""`pcvctl kernels`: how a target is cut into kernels, as a table, as JSON, or as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcvctl import child, door, exits, inquiry, jsontext, project, terminal

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> int:
    """Print the cut. It says nothing of agreement: 0 once it is drawn."""
    root = project.root_of(options.root)
    policy = [] if options.policy is None else [f"--policy={options.policy}"]
    found = inquiry.either(
        root,
        f"/v1/targets/{door.quoted(options.target)}/kernels?{inquiry.parameters(policy=options.policy)}",
        child.pcvd("kernels", "--root", root, *policy, "--", options.target),
    )
    terminal.put(_drawn(found, options))
    return exits.AGREED


def _drawn(found: dict[str, object], options: argparse.Namespace) -> str:
    if options.json:
        return jsontext.text(found)
    if options.dot:
        from pcvctl import dot

        return dot.render(found)
    if options.svg:
        from pcvctl import svg

        return svg.render(found)
    from pcvctl import parts

    screen = terminal.terminal(options.no_color)
    return parts.render(found, screen.width, color=screen.color, unicode=screen.unicode)
