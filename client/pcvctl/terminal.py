"""Where answers are printed: how wide it is, whether it shows colour and Unicode, and writing to it.

Light by rule: on the path of `pcvctl status`.
"""

from __future__ import annotations

import os
import sys

WIDTH = 100
"""Columns where nobody says: pipes, files, terminals that claim to have none."""


class Terminal:
    """What standard output can show: `width` in columns, whether `color` and `unicode` marks are welcome."""

    __slots__ = ("color", "unicode", "width")

    def __init__(self, width: int, color: bool, unicode: bool) -> None:
        self.width = width
        self.color = color
        self.unicode = unicode


def terminal(no_color: bool = False) -> Terminal:
    """Standard output as it is now; `NO_COLOR`, `TERM=dumb`, `COLUMNS` and `no_color` are heeded."""
    out = sys.stdout
    tty = out is not None and out.isatty()
    plain = no_color or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Terminal(_width(tty), tty and not plain, _encoding() == "utf-8")


def put(text: str) -> None:
    """Print `text`, which ends with its own newline."""
    # A file name may hold bytes that are no UTF-8, and a terminal may know no UTF-8: show them escaped, never
    # fail.
    _write(text.encode(_encoding(), "backslashreplace"))


def put_utf8(data: bytes) -> None:
    """Print bytes the daemon made, which are UTF-8; a missing last newline is added."""
    data = data if data.endswith(b"\n") else data + b"\n"
    _write(
        data
        if _encoding() == "utf-8"
        else data.decode("utf-8", "replace").encode(_encoding(), "backslashreplace")
    )


def complain(message: str, hint: str | None = None) -> None:
    """Print an error, and under it what to do, to standard error."""
    if sys.stderr is None:
        return
    text = f"pcvctl: {message}\n" + (f"  {hint}\n" if hint else "")
    encoding = sys.stderr.encoding
    sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stderr.flush()


def _write(data: bytes) -> None:
    if sys.stdout is None:  # closed by whoever started us: `>&-`
        return
    sys.stdout.flush()
    # With PYTHONUNBUFFERED this is the raw file, which may take a part only (64 KiB of a pipe) and say so.
    while data:
        data = data[sys.stdout.buffer.write(data) or 0 :]
    sys.stdout.buffer.flush()


def _encoding() -> str:
    return sys.stdout.encoding.lower() if sys.stdout is not None else "utf-8"


def _width(tty: bool) -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        # A terminal inside a CI job or an editor may report 0 columns.
        return (os.get_terminal_size(1).columns if tty else 0) or WIDTH
    except OSError:
        return WIDTH
