"""Where things stand: the project root, what is durable under `.pcv/`, the daemon's socket and lock.

Light by rule: the client imports this at every start, so no pathlib, no tempfile, no hashlib.
"""

from __future__ import annotations

import os
import stat
import sys

STATE = ".pcv"
"""The folder in the project root that holds everything durable."""

_SOCKET_LIMIT = 103 if sys.platform == "darwin" else 107  # bytes of sun_path, without the closing NUL
_SOCKET_NAME = 21  # bytes: sixteen digits and .sock


def find_root(start: str, *, lived_in: bool = False) -> str | None:
    """The nearest folder at or above `start` with a pcv.toml, or with `[tool.pcv]` in its pyproject.toml.

    `lived_in`: a folder counts also where pcv has been at work, its settings or not: it has a `.pcv/`, or a
    daemon's socket. Who asks a daemon something, or stops it, needs no settings.
    """
    folder = os.path.realpath(start)
    while True:
        if is_project(folder) or (lived_in and is_lived_in(folder)):
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def is_project(folder: str) -> bool:
    """Whether `folder` has settings of a project, right or wrong."""
    own, shared = os.path.join(folder, "pcv.toml"), os.path.join(folder, "pyproject.toml")
    return os.path.isfile(own) or _has_table(shared)


def is_lived_in(folder: str) -> bool:
    """Whether pcv has been at work in `folder`, a real path: it kept something there, or has a socket."""
    return os.path.isdir(state(folder)) or os.path.exists(socket_path(folder))


def _has_table(path: str) -> bool:
    # Looks for the header of `[tool.pcv]` or of a table in it; a TOML parser would double the client's time
    # to start.
    try:
        with open(path, "rb") as file:
            return any(_is_header(line) for line in file.read().splitlines())
    except OSError:
        return False


def _is_header(line: bytes) -> bool:
    line = line.removeprefix(b"\xef\xbb\xbf")  # the byte order mark that some editors put in front
    line = line.partition(b"#")[0].strip()
    if not (line.startswith(b"[") and line.endswith(b"]")):
        return False
    names = [name.strip() for name in line.strip(b"[]").split(b".")]
    return len(names) > 1 and _spells(names[0], b"tool") and _spells(names[1], b"pcv")


def _spells(key: bytes, name: bytes) -> bool:
    return key in (name, b'"' + name + b'"', b"'" + name + b"'")


def state(root: str, *names: str) -> str:
    """A path under the project's `.pcv/`."""
    return os.path.join(root, STATE, *names)


def runtime_folder() -> str:
    """The user's own folder for sockets and locks: `$XDG_RUNTIME_DIR/pcv`, else one in the temp directory.

    Only its name: `make_private` creates it and refuses one that somebody else could write to.
    """
    # Relative values are ignored, as the XDG specification asks: client and daemon run in different folders.
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(base) and os.path.isdir(base) and os.access(base, os.W_OK):
        folder = os.path.join(base, "pcv")
        if _has_room(folder):
            return folder
    base = os.environ.get("TMPDIR", "")
    folder = os.path.join(base, f"pcv-{os.getuid()}")
    if os.path.isabs(base) and _has_room(folder):
        return folder
    return f"/tmp/pcv-{os.getuid()}"  # noqa: S108  # see make_private


def _has_room(folder: str) -> bool:
    # Folders of CI jobs and sandboxes are often too deep for a socket: the next candidate is taken instead.
    return bindable(os.path.join(folder, "x" * _SOCKET_NAME))


def bindable(path: str) -> bool:
    """Whether the system can bind a Unix socket to so long a path."""
    return len(os.fsencode(path)) <= _SOCKET_LIMIT


def socket_path(root: str) -> str:
    """The daemon's Unix socket for `root`."""
    return os.path.join(runtime_folder(), _short(root) + ".sock")


def lock_path(root: str) -> str:
    """The file whose lock the daemon of `root` holds while it lives."""
    return os.path.join(runtime_folder(), _short(root) + ".lock")


def make_private(folder: str) -> None:
    """Create `folder` for this user alone.

    Raises:
        PermissionError: it is there, but others own it or may enter it, or it is no folder (a symbolic link).
        OSError: it can't be created.
    """
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except FileExistsError:
        raise PermissionError(
            f"{folder} must be a folder, since the daemon's socket goes there: remove it"
        ) from None
    info = os.lstat(folder)  # not stat: whoever owns a link could point it elsewhere later
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise PermissionError(
            f"{folder} must belong to you alone (chmod 700), since the daemon's socket goes there"
        )


def _short(root: str) -> str:
    # _blake2 is hashlib's own C module; hashlib itself would load OpenSSL (3 ms) at every `pcvctl status`.
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    return blake2b(os.fsencode(root), digest_size=8).hexdigest()
