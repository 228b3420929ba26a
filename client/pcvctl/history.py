"""`pcvctl history`: a target's verdicts over time, newest first, with what changed between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcvctl import exits, inquiry, jsontext, project, table, terminal
from pcvctl.standing import Standing
from pcvctl.values import items, listed, mapping, moment, text, texts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_MOST_CHANGES = 6
"""Of an environment: an upgrade changes dozens of JAX's options at once."""


def run(options: argparse.Namespace) -> int:
    """Print the last verdicts; 0 where there are some, 3 where the target was never judged."""
    root = project.root_of(options.root, lived_in=True)
    found = inquiry.ask(root, "history", target=options.target, limit=str(options.limit))
    if options.json:
        terminal.put(jsontext.text(found))
    else:
        screen = terminal.terminal(options.no_color)
        terminal.put(show(found, screen.width, color=screen.color, unicode=screen.unicode))
    return exits.AGREED if items(found.get("verdicts")) else exits.OPEN


def show(found: dict[str, Any], width: int, *, color: bool, unicode: bool) -> str:
    """A history as text that ends with a newline."""
    verdicts = [mapping(one) for one in items(found.get("verdicts"))]
    if not verdicts:
        return f"{table.clean(text(found.get('target')))} was not checked yet: `pcvctl check` does.\n"
    lines = []
    for one in verdicts:
        standing = Standing.of({**one, "fresh": True})
        stage = text(one.get("first_stage"))
        when = moment(one.get("judged_at")) or moment(one.get("checked_at"))
        checked = moment(one.get("checked_at"))
        head = (
            f"{standing.mark(unicode)} {one.get('round')}  {when:%Y-%m-%d %H:%M:%S}Z  "
            if when is not None
            else ""
        ) + f"{standing.known}{f' (first: {stage})' if stage else ''}  {text(one.get('why'))}"
        lines += [table.paint(line, standing.style, color) for line in table.wrapped(head, width, "")]
        if when is not None and checked is not None and checked > when:
            same = f"confirmed {checked:%Y-%m-%d %H:%M:%S}Z: edits since have left the program as it was"
            if untraced := texts(one.get("untraced")):
                same += f"; under {listed(untraced)} that was not seen"
            lines += [table.paint(line, table.DIM, color) for line in table.wrapped(same, width, "    ")]
        for sentence in _changes(mapping(one.get("changed")), unicode):
            lines += [table.paint(line, table.DIM, color) for line in table.wrapped(sentence, width, "    ")]
    if found.get("more") is True:
        lines.append("There are older ones: --limit N shows more.")
    return "".join(f"{line}\n" for line in lines)


def _changes(changed: dict[str, Any], unicode: bool) -> Iterator[str]:
    """What is other than at the verdict before, a line each."""
    arrow = "→" if unicode else "->"
    if verdict := texts(changed.get("verdict")):
        yield f"was {verdict[0]}"
    if stages := texts(changed.get("stages")):
        yield f"the serial build changed: {', '.join(stages)}"
    environment = list(mapping(changed.get("environment")).items())
    for name, values in environment[:_MOST_CHANGES]:
        before, now = [*items(values), None, None][:2]
        yield f"{name}: {before} {arrow} {now}"
    if len(environment) > _MOST_CHANGES:
        yield f"and {len(environment) - _MOST_CHANGES} more of its environment"
    cohort = mapping(changed.get("cohort"))
    for word in ("added", "removed"):
        if names := texts(cohort.get(word)):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield f"{'now' if word == 'added' else 'no longer'} built beside {', '.join(names[:3])}{more}"
