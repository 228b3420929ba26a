"""A cache in a folder: compiled kernels that outlive their process, so that an edit of one layer compiles the
kernels of that layer alone.

Any number of threads and processes may use one folder: a file gets its name when it is complete, and its
first bytes are the digest of the others, so that what a full disk or a power failure tore is never loaded.
What was not wanted for longest goes where the folder grows too large.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import jax

from pcvd.trim import MOST_BYTES, trim

STATE = ".pcv"
"""The folder of a project in which pcv keeps its records."""

_DIGEST_BYTES = 32
_UNFINISHED = ".unfinished-"


class Damaged(ValueError):
    """What is kept under a key is not what was put there."""


class FolderCache:
    """Compiled kernels by their content, in a folder of this user's own."""

    def __init__(self, folder: str, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most_bytes = Path(folder), most_bytes

    def get(self, key: str) -> bytes | None:
        """What was put under this key, if it is still there.

        Raises:
            Damaged: it is something else by now, or may be somebody else's.
            OSError: it can't be read.
        """
        path = self._folder / key
        try:
            with path.open("rb") as file:
                _must_be_own(os.fstat(file.fileno()))
                held = file.read()
        except FileNotFoundError:
            return None
        digest, executable = held[:_DIGEST_BYTES], held[_DIGEST_BYTES:]
        if hashlib.sha256(executable).digest() != digest:
            raise Damaged(f"{path} is damaged")
        with contextlib.suppress(OSError):  # a folder that can't be written to is read all the same
            os.utime(path)  # it was wanted
        return executable

    def put(self, key: str, executable: bytes) -> None:
        """Keep a serialized executable, in the place of what is there.

        Raises:
            OSError: it can't be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(executable).digest() + executable)
            Path(unfinished).replace(self._folder / key)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        trim(self._folder, self._most_bytes)


def _must_be_own(info: os.stat_result) -> None:
    # An executable is code: what others may have written must not be run.
    if info.st_uid != os.getuid() or info.st_mode & 0o022:
        raise Damaged("others may have written it")


def usual() -> FolderCache | None:
    """The cache in the project around the current folder: the nearest in which pcv keeps its records.

    None where there is none, and where JAX was told to do without its own (`jax_enable_compilation_cache`),
    as it is where builds are compared: what comes out of a cache would only be equal to itself.
    """
    if not jax.config.jax_enable_compilation_cache:
        return None
    here = Path.cwd()
    states = (folder / STATE for folder in (here, *here.parents))
    found = next((state for state in states if state.is_dir()), None)
    if found is not None and found.stat().st_uid != os.getuid():
        return None  # whose folder it is can put other code into it
    return None if found is None else FolderCache(str(found / "kernels"))
