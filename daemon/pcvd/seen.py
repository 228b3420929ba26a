"""What files were seen to hold, written down for the daemon's next life: of ten thousand, only those are read
then whose stat is another one.

It is a cache: nothing is lost with it but time. What it says is believed of a file only where the stat is
that of then, ctime and inode included, which nobody can put back.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from pcvd import __version__
from pcvd.files import Seen  # noqa: TC001  # msgspec looks it up

log = structlog.get_logger()


class _Document(msgspec.Struct):
    version: str
    files: dict[str, Seen]


def load(path: str) -> dict[str, Seen]:
    """What was written down; nothing where nothing is, or another version of pcv has written it."""
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=_Document)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found.files if found.version == __version__ else {}


def save(path: str, files: dict[str, Seen]) -> None:
    """Write it down, at once or not at all."""
    # A name that is no text could not be written as JSON.
    told = {name: seen for name, seen in files.items() if name.isprintable()}
    unfinished = Path(f"{path}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(msgspec.json.encode(_Document(__version__, told)))
        unfinished.replace(path)
    except OSError as error:
        log.warning("files not remembered", error=str(error))
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
