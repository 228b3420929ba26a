"""The demo project: copied to a folder for somebody to look at, build and edit."""

from __future__ import annotations

import os
import re
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MODEL = "models/mlp.py"
"""The demo's only model file, relative to its root."""

_RATE = re.compile(r"^LEARNING_RATE = \S+", re.MULTILINE)


def copy_to(folder: str) -> None:
    """Copy the demo project into `folder`, which is created where it does not exist.

    Raises:
        FileExistsError: there is something in `folder` already, or it is a file.
        OSError: it can't be written to.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{folder} is a file: name a folder for the demo")
    if target.is_dir() and any(target.iterdir()):
        raise FileExistsError(
            f"{folder} is not empty, and the demo would mix with what is there: name a new folder"
        )
    _copy(resources.files("pcv_config") / "demo", target)


def edit(folder: str, rate: str) -> str:
    """Set the demo's learning rate to `rate` as editors save: a new file beside the old one, renamed over it.

    Returns:
        The path of the file that changed.

    Raises:
        ValueError: `rate` is no number, or the model no longer has one `LEARNING_RATE = …` line.
        OSError: the file can't be read or written.
    """
    float(rate)
    path = Path(folder, MODEL)
    text, count = _RATE.subn(f"LEARNING_RATE = {rate}", path.read_text(encoding="utf-8"))
    if count != 1:
        raise ValueError(f"{path} has {count} lines that begin with LEARNING_RATE = …, not one")
    _save(path, text)
    return str(path)


def _copy(source: Traversable, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for entry in source.iterdir():
            if entry.name != "__pycache__":  # installers compile what they install
                _copy(entry, target / entry.name)
    else:
        target.write_bytes(source.read_bytes())


def _save(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, path.stat().st_mode & 0o7777)  # mkstemp's own mode is 0600
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
