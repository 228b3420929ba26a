"""The bytes of artifacts, kept once each under their own SHA-256: `objects/ab/cdef…`, compressed.

Workers under the project's interpreter write here too, many at once, so: standard library only, no lock, and
a name that appears only when its bytes are complete. Nothing is flushed to the disk by force: whatever a
power failure tears is found by its digest, and a validation writes it anew.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from pcvd.core.errors import StoreError
from pcvd.core.model import digest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_FASTEST, _STORED = 1, 0  # zlib's levels; higher ones cost more time than the space they save is worth
_SAMPLE, _LARGE, _WORTH = 1 << 12, 1 << 15, 0.9
"""Bytes from the middle of large data that tell whether packing it is worth while: the mantissas of floating
point numbers are noise, on which zlib takes eight times as long as on text, for nothing.
"""
_CHECKSUM_BYTES = 4  # a zlib stream ends with the Adler-32 of what went in
_NAME = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = ".unfinished-"


class BlobError(StoreError):
    """Stored bytes can't be read or written."""


class BlobMissing(BlobError):  # says what is the matter
    """No bytes are stored under this digest."""


class BlobCorrupt(BlobError):  # likewise
    """What is stored under this digest is something else."""


class Blobs:
    """A folder of bytes, each under its digest. Any number of threads and processes may use it at once."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._folder = Path(folder)

    def put(self, data: bytes) -> str:
        """Keep `data`, and give its SHA-256. What is there already stays, unless it is torn.

        Raises BlobError where it can't be written (disk full, read-only).
        """
        name = digest(data)
        path = self._path(name)
        try:
            if not _kept(path, data):
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                _write(path, _packed(data))
        except OSError as error:
            raise BlobError(
                f"can't write: {error.strerror or error}",
                file=str(path),
                hint="free some space on that disk, or make the folder writable",
            ) from error
        return name

    def get(self, name: str) -> bytes:
        """The bytes under digest `name`, verified. Raises BlobMissing, BlobCorrupt, or another BlobError."""
        path = self._path(name)
        try:
            packed = path.read_bytes()
        except FileNotFoundError:
            raise BlobMissing(
                "no such artifact", file=str(path), hint="check the target again to rebuild it"
            ) from None
        except OSError as error:
            raise BlobError(f"can't read: {error.strerror or error}", file=str(path)) from error
        with contextlib.suppress(zlib.error):
            data = zlib.decompress(packed)
            if digest(data) == name:
                return data
        raise BlobCorrupt(
            "not what its name promises", file=str(path), hint="delete it and check the target again"
        )

    def has(self, name: str) -> bool:
        """Whether something is stored under digest `name`, unread."""
        return _NAME.fullmatch(name) is not None and self._path(name).is_file()

    def verify(self, name: str) -> bool:
        """Whether the right bytes are stored under digest `name`, and can be read."""
        try:
            self.get(name)
        except BlobError:
            return False
        return True

    def digests(self) -> Iterator[str]:
        """All digests stored, in no order. Other files (unfinished ones, strangers) are passed over."""
        for path in self._files():
            name = path.parent.name + path.name
            if _NAME.fullmatch(name):
                yield name

    def remove(self, name: str) -> None:
        """Forget the bytes under digest `name`; nothing happens where there are none. Raises BlobError."""
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise BlobError(f"can't remove: {error.strerror or error}", file=str(path)) from error

    def sweep(self, referenced: Collection[str], unclaimed_s: float) -> int:
        """Remove what `referenced` does not name and nobody put for `unclaimed_s` seconds; how many went.

        That long a worker may take between putting an artifact and the record that refers to it. What killed
        workers left unfinished goes too. Raises BlobError.
        """
        eldest = time.time() - unclaimed_s
        removed = 0
        for path in self._files():
            if path.parent.name + path.name in referenced or not self._ours(path):
                continue
            try:
                if path.stat().st_mtime < eldest:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                continue  # somebody else swept it, or finished it under its own name
            except OSError as error:
                raise BlobError(f"can't remove: {error.strerror or error}", file=str(path)) from error
        return removed

    def size(self) -> int:
        """Bytes of all files in the folder, as compressed; unfinished ones count too."""
        total = 0
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):  # removed or renamed since it was listed
                total += path.stat().st_size
        return total

    def _path(self, name: str) -> Path:
        # Digests come in from outside (a URL, a command line): one with a slash in it must not reach another
        # file.
        if not _NAME.fullmatch(name):
            raise BlobMissing(f"{name!r} is no SHA-256 in hexadecimal", hint="give all 64 digits")
        return self._folder / name[:2] / name[2:]

    @staticmethod
    def _ours(path: Path) -> bool:
        return path.name.startswith(_UNFINISHED) or _NAME.fullmatch(path.parent.name + path.name) is not None

    def _files(self) -> Iterator[Path]:
        return self._folder.glob("??/*")


def _kept(path: Path, data: bytes) -> bool:
    # A file that a power failure left short or empty would otherwise keep its name for ever; its last bytes
    # give it away without unpacking the rest.
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _CHECKSUM_BYTES))
            if file.read() != zlib.adler32(data).to_bytes(_CHECKSUM_BYTES, "big"):
                return False
        os.utime(path)  # wanted again: sweep() must take it for new
    except FileNotFoundError:
        return False
    return True


def _packed(data: bytes) -> bytes:
    level = _FASTEST
    if len(data) >= _LARGE:
        sample = data[len(data) // 2 :][:_SAMPLE]
        if len(zlib.compress(sample, _FASTEST)) > _WORTH * len(sample):
            level = _STORED
    return zlib.compress(data, level)


def _write(path: Path, packed: bytes) -> None:
    # mkstemp creates with mode 0600 and a name that no other thread or process has, also after a fork.
    handle, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(packed)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
