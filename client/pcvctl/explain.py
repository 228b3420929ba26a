"""`pcvctl explain`: why a verdict is what it is, as a tree of differences with the first cause at its top;
and with --repro, files that show the difference without pcv.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from pcvctl import Trouble, door, exits, inquiry, jsontext, partition, project, rounds, table, terminal, tree
from pcvctl.daemon import Daemon
from pcvctl.standing import Standing
from pcvctl.tree import Node
from pcvctl.values import duration, figure, items, listed, mapping, moment, number, text, texts

if TYPE_CHECKING:
    import argparse

_SIGNS = {"+": table.GREEN, "-": table.RED, "@": table.CYAN}
_MOST_LEAVES = 12


def run(options: argparse.Namespace) -> int:
    """Explain the latest verdict on a target; the exit code is that verdict's, as in `status`."""
    root = project.root_of(options.root, lived_in=True)
    if options.repro is not None:
        return _reproduce(root, options)
    if options.force:
        raise Trouble("--force is for --repro")
    if options.vary:
        _vary(root, options)
    found = inquiry.ask(root, "explain", target=options.target)
    if options.json:
        terminal.put(jsontext.text(found))
    else:
        screen = terminal.terminal(options.no_color)
        unicode = screen.unicode and not options.ascii
        terminal.put(show(found, time.time(), screen.width, color=screen.color, unicode=unicode))
    return exits.exit_code({"schema": exits.SCHEMA, "problems": [], "targets": [found]})


def _vary(root: str, options: argparse.Namespace) -> None:
    names = [name for one in options.vary for name in one.split(",") if name]
    try:
        Daemon(root).vary(options.target, names)
    except door.NoDaemon:
        rounds.foreground(root, [options.target], quiet=options.json, vary=names)


def show(found: dict[str, Any], now: float, width: int, *, color: bool, unicode: bool) -> str:
    """An explanation as text that ends with a newline; `now` is the time in seconds since the epoch."""
    standing = Standing.of(found)
    root = Node(_heading(found, standing, now, unicode), standing.style)
    says = mapping(found.get("says"))
    _sentences(root, "what", texts(says.get("what")), table.BOLD)
    _sentences(root, "where", [text(says.get("where"))] if says.get("where") else [], table.BOLD)
    _sentences(root, "why", texts(says.get("why")))
    _sentences(root, "do", texts(says.get("do")), table.CYAN)
    for stage in map(mapping, items(found.get("stages"))):
        if stage.get("state") == "differs":
            _stage(root, stage, mapping(mapping(found.get("evidence")).get("schedules")))
    _outputs(root, found)
    _kernels(root, mapping(found.get("kernels")))
    _quiet(root, found)
    for remark in texts(found.get("remarks")):
        root.add(f"note: {remark}", table.YELLOW)
    return tree.render(root, width, color=color, unicode=unicode)


def _heading(found: dict[str, Any], standing: Standing, now: float, unicode: bool) -> str:
    said = f"{standing.mark(unicode)} {text(found.get('target'))}: {standing.said}"
    checked = moment(found.get("checked_at"))
    if checked is None:
        return said
    about = f"round {found.get('round')}, {duration(now - checked.timestamp())} ago"
    why = text(found.get("why"))
    beside = len(items(found.get("cohort"))) - 1
    return ", ".join(filter(None, (said, about, why, f"beside {beside} more" if beside > 0 else "")))


def _sentences(root: Node, label: str, sentences: list[str], style: str = "") -> None:
    if sentences:
        root.add(f"{label:<6} " + "\n".join(sentences), style, hang=7)


def _stage(root: Node, stage: dict[str, Any], schedules: dict[str, Any]) -> None:
    differing = [name for name, state in mapping(stage.get("runs")).items() if state == "differs"]
    # Runs of variations are evidence of the cause, told at the top; here they matter where nothing else does.
    under = listed([name for name in differing if name in schedules] or differing)
    tolerated = " (tolerated)" if stage.get("tolerated") is True else ""
    style = table.CYAN if tolerated else table.RED
    node = root.add(
        f"{text(stage.get('stage'))} differs under {under or 'no run that is left'}{tolerated}", style
    )
    if why := text(stage.get("why")):
        node.add(f"absent: {why}")
    for part in map(mapping, items(stage.get("parts"))):
        _part(node, part, schedules, under)
    if more := number(stage.get("more_parts")):
        node.add(f"and {more:g} parts more")


def _part(node: Node, part: dict[str, Any], schedules: dict[str, Any], under: str) -> None:
    name = text(part.get("name"))
    added, removed = number(part.get("added")), number(part.get("removed"))
    size = f"  +{added:g} -{removed:g} lines" if added is not None and removed is not None else ""
    only = {"reference": "  only serial has it", "others": "  serial does not have it"}
    differing = texts(part.get("runs"))
    runs = listed([name for name in differing if name in schedules] or differing)
    where = f"  under {runs}" if runs != under else ""
    one = node.add(name + size + only.get(text(part.get("only")), "") + where)
    for line in texts(part.get("excerpt")):
        one.add(line, _SIGNS.get(line[:1], table.DIM), quoted=True)
    for remark in texts(part.get("remarks")):
        one.add(remark, table.YELLOW)


def _outputs(root: Node, found: dict[str, Any]) -> None:
    leaves = [one for one in map(mapping, items(found.get("outputs"))) if one.get("bitwise") is False]
    node = Node("") if not leaves else root.add(f"{len(leaves)} output leaves differ", table.RED)
    for leaf in leaves[:_MOST_LEAVES]:
        one = node.add(f"{text(leaf.get('path'))}  {text(leaf.get('label'))}")
        for run, apart in mapping(leaf.get("runs")).items():
            _apart(one, run, mapping(apart))
    if len(leaves) > _MOST_LEAVES:
        node.add(f"and {len(leaves) - _MOST_LEAVES} leaves more")


def _apart(node: Node, run: str, apart: dict[str, Any]) -> None:
    if apart.get("bitwise") is True:
        node.add(f"{run}: identical", table.DIM)
        return
    said = [f"{apart.get('differing')} of {apart.get('elements')} elements"] if apart.get("elements") else []
    said += [
        f"{name} {figure(apart.get(key))}"
        for name, key in (("max abs", "max_abs"), ("max rel", "max_rel"), ("ULPs", "max_ulps"))
        if apart.get(key) is not None
    ]
    one = node.add(f"{run}: " + (", ".join(said) or "differs"))
    for sample in map(mapping, items(apart.get("samples"))[:3]):
        one.add(f"{sample.get('index')}  {sample.get('left')}  became  {sample.get('right')}", quoted=True)
    for remark in texts(apart.get("remarks")):
        one.add(remark, table.YELLOW)


def _kernels(root: Node, kernels: dict[str, Any]) -> None:
    """The kernels that the target was cut into, those that differ each with where it does."""
    if not kernels:
        return
    verdict = text(kernels.get("verdict"))
    style = {"agree": table.DIM, "inconclusive": table.YELLOW, "equivalent": table.CYAN}
    node = root.add(f"kernels: {partition.note(kernels)}", style.get(verdict, table.RED))
    for one in map(mapping, items(kernels.get("differing"))):
        below = node.add(partition.name(one))
        for said in partition.details(one):
            below.add(said)
    if said := partition.linked(kernels):
        node.add(said, table.DIM)


def _quiet(root: Node, found: dict[str, Any]) -> None:
    """What needs no looking into, a line each: stages that are identical, absent, or were not compared."""
    stages = [mapping(one) for one in items(found.get("stages"))]
    for state, said in (("identical", "identical"), ("not compared", "not compared")):
        names = [text(one.get("stage")) for one in stages if one.get("state") == state]
        if names:
            root.add(f"{', '.join(names)}: {said}", table.DIM)
    for one in stages:
        if one.get("state") == "absent":
            root.add(f"{text(one.get('stage'))}: absent everywhere: {text(one.get('why'))}", table.DIM)
    locations = mapping(found.get("locations"))
    if locations.get("identical") is not None:
        same = (
            "identical" if locations["identical"] else "other source positions or scope names (never counts)"
        )
        root.add(f"locations: {same}", table.DIM)


# -- a reproduction ----------------------------------------------------------------------------------


def _reproduce(root: str, options: argparse.Namespace) -> int:
    folder = os.path.abspath(options.repro)
    _check_folder(folder, force=options.force)
    found = inquiry.ask(root, "repro", target=options.target)
    files = {name: body for name, body in mapping(found.get("files")).items() if isinstance(body, str)}
    for name, body in files.items():
        _write(folder, name, body)
    if options.json:
        told = {
            "schema": exits.SCHEMA,
            "target": found.get("target"),
            "folder": folder,
            "files": sorted(files),
        }
        terminal.put(jsontext.text({**told, "shows": found.get("shows"), "remarks": found.get("remarks")}))
        return exits.AGREED
    lines = [
        f"Wrote {len(files)} files into {folder}",
        *(f"note: {one}" for one in texts(found.get("remarks"))),
    ]
    lines.append("Run `python repro.py` there: exit status 1 where the difference shows.")
    terminal.put("".join(f"{line}\n" for line in lines))
    return exits.AGREED


def _check_folder(folder: str, *, force: bool) -> None:
    try:
        held = os.listdir(folder)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise Trouble(f"{folder} is a file, not a folder", "name a new folder") from None
    if held and not force:
        raise Trouble(f"{folder} is not empty", "name a new folder, or overwrite what is in it with --force")


def _write(folder: str, name: str, body: str) -> None:
    path = os.path.normpath(os.path.join(folder, name))
    if not path.startswith(folder.rstrip(os.sep) + os.sep):
        raise Trouble(f"a file called {name!r} would lie outside {folder}")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(body)
