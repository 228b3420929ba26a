"""`pcvctl diff`: what differs between two builds of a target, in full, as a unified diff or through any other
tool.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from pcvctl import Trouble, exits, inquiry, jsontext, project, table, terminal
from pcvctl.values import items, mapping, text, texts

if TYPE_CHECKING:
    import argparse

_SIGNS = {"+": table.GREEN, "-": table.RED, "@": table.CYAN}


def run(options: argparse.Namespace) -> int:
    """Print the difference; 0 where there is none, 1 where there is one, 3 where nothing can be compared."""
    root = project.root_of(options.root, lived_in=True)
    if options.tool and options.json:
        raise Trouble("--tool prints what it likes, so it excludes --json")
    left, right = options.schedule or (None, None)
    found = inquiry.ask(
        root,
        "diff",
        target=options.target,
        stage=options.stage,
        left=left,
        right=right,
        part=options.part,
        form="raw" if options.raw else "canonical",
        whole="1" if options.tool else None,
    )
    if options.tool:
        return _through(options.tool, found)
    if options.json:
        terminal.put(jsontext.text(found))
    else:
        _print(found, color=terminal.terminal(options.no_color).color)
    return _code(found)


def _code(found: dict[str, Any]) -> int:
    equal = found.get("equal")
    return exits.AGREED if equal is True else exits.DIFFERENT if equal is False else exits.OPEN


def _print(found: dict[str, Any], *, color: bool) -> None:
    for part in map(mapping, items(found.get("parts"))):
        lines = text(part.get("diff")).split("\n")[:-1]
        body = [table.paint(_harmless(line), _SIGNS.get(line[:1], ""), color) for line in lines]
        terminal.put("".join(f"{line}\n" for line in body))
        _complain(texts(part.get("remarks")))
    _complain(texts(found.get("remarks")))


def _harmless(line: str) -> str:
    # An escape sequence in a constant must not drive the terminal; tabs stay.
    return "\t".join(table.clean(piece) for piece in line.split("\t"))


def _complain(remarks: list[str]) -> None:
    # On standard error: standard output is a diff, and nothing else.
    for remark in remarks:
        terminal.complain(remark)


def _through(tool: str, found: dict[str, Any]) -> int:
    """Hand both sides of each part to `tool` as files; its own exit status where that is 0 or 1."""
    try:
        command = shlex.split(tool)
    except ValueError as error:
        raise Trouble(f"--tool {tool!r}: {error}") from None
    if not command:
        raise Trouble("--tool names no command")
    _complain(texts(found.get("remarks")))
    worst = _code(found)
    if worst != exits.DIFFERENT:
        return worst
    worst = exits.AGREED
    with tempfile.TemporaryDirectory(prefix="pcv-diff-") as folder:
        for number, part in enumerate(map(mapping, items(found.get("parts")))):
            paths = _files(os.path.join(folder, str(number)), found, part)
            if paths is None:
                _complain([*texts(part.get("remarks")), f"{text(part.get('name'))}: one side cannot be had"])
                return exits.TROUBLE
            worst = max(worst, _run([*command, *paths]))
    return worst


def _files(folder: str, found: dict[str, Any], part: dict[str, Any]) -> tuple[str, str] | None:
    """Both sides of a part, written into files with a fitting suffix; None where the bytes cannot be had."""
    sides = items(part.get("bytes"))
    if len(sides) != 2:
        return None
    paths = []
    for name, data, known in zip(
        ("left", "right"), sides, (part.get("left"), part.get("right")), strict=True
    ):
        if not isinstance(data, str) and known is not None:
            return None
        run = text(found.get(name)).replace(os.sep, "_")
        path = os.path.join(folder, name, f"{run}{text(part.get('suffix'))}")
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            # A part that only one side has is compared with an empty file.
            file.write(b64decode(data) if isinstance(data, str) else b"")
        paths.append(path)
    return paths[0], paths[1]


def _run(command: list[str]) -> int:
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise Trouble(f"{command[0]}: {error.strerror or error}", "is it installed, and on PATH?") from None
    return code if code in {exits.AGREED, exits.DIFFERENT} else exits.TROUBLE
