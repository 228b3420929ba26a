"""`pcvctl logs`: the log of the daemon, or of checks without it: JSON lines, shown as one line an event."""

from __future__ import annotations

import json
import os
import time
from typing import IO, TYPE_CHECKING, Any

from pcv_config import places
from pcvctl import Trouble, exits, project, table, terminal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_POLL_S = 0.2
_BLOCK = 65536
_STYLES = {"debug": table.DIM, "warning": table.YELLOW, "error": table.RED, "critical": table.RED}


def run(options: argparse.Namespace) -> int:
    """Print the last lines of a log; with `follow`, go on with what is added until interrupted."""
    name, writer = ("check.log", "check --no-daemon") if options.check else ("pcvd.log", "start")
    path = places.state(project.root_of(options.root, lived_in=True), name)
    color = terminal.terminal(options.no_color).color
    try:
        file = open(path, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise Trouble(f"no log yet: {path} does not exist", f"`pcvctl {writer}` writes it") from None
    with file:
        for line in tail(file, options.lines):
            _show(line, options.json, color)
        if options.follow:
            for line in _added(file, path):
                _show(line, options.json, color)
    return exits.AGREED


def tail(file: IO[bytes], count: int) -> list[bytes]:
    """The last `count` whole lines of `file`, which is left at the end of the last of them."""
    at = file.seek(0, os.SEEK_END)
    held = b""
    # One newline more than lines: the one that ends the line before them.
    while at > 0 and held.count(b"\n") <= count:
        step = min(_BLOCK, at)
        at -= step
        file.seek(at)
        held = file.read(step) + held
    # What follows the last newline is a line the daemon is still writing.
    whole, _, _ = held.rpartition(b"\n")
    file.seek(at + len(whole) + (b"\n" in held))
    lines = whole.split(b"\n") if b"\n" in held else []
    return lines[max(len(lines) - count, 0) :]


def readable(line: bytes, color: bool = False) -> str:
    """One line of the log as `time level event key=value …`; what is no JSON object is shown as it stands."""
    text = line.decode("utf-8", "backslashreplace")
    try:
        event = json.loads(text)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        return table.clean(text)
    level = str(event.pop("level", "info"))
    moment = str(event.pop("timestamp", "-"))
    what = str(event.pop("event", ""))
    trace = [str(event.pop(key)) for key in ("exception", "stack") if event.get(key)]
    pairs = " ".join(f"{table.clean(str(key))}={_value(value)}" for key, value in event.items())
    words = [
        table.paint(table.clean(moment), table.DIM, color),
        table.paint(f"{table.clean(level):<8}", _STYLES.get(level, ""), color),
        table.clean(what),
        table.paint(pairs, table.DIM, color),
    ]
    below = [f"    {table.clean(part)}" for one in trace for part in one.splitlines()]
    return "\n".join([" ".join(filter(None, words)).rstrip(), *below])


def _value(value: Any) -> str:  # whatever JSON holds
    if isinstance(value, str) and value and not any(letter.isspace() or letter in '"=' for letter in value):
        return table.clean(value)
    return table.clean(json.dumps(value, ensure_ascii=False))


def _show(line: bytes, raw: bool, color: bool) -> None:
    if raw:
        terminal.put_utf8(line)
    else:
        terminal.put(readable(line, color) + "\n")


def _added(file: IO[bytes], path: str) -> Iterator[bytes]:
    """Lines as they are added to the log at `path`, which `file` has read so far; never ends."""
    half = b""
    while True:
        half += file.read()
        *lines, half = half.split(b"\n")
        yield from lines
        if _replaced(file, path):
            # The daemon rotated it: what came before the change has been read above.
            try:
                fresh = open(path, "rb")
            except FileNotFoundError:
                pass
            else:
                file.close()
                file, half = fresh, b""
                continue
        time.sleep(_POLL_S)


def _replaced(file: IO[bytes], path: str) -> bool:
    try:
        now = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(file.fileno())
    return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino) or now.st_size < file.tell()
