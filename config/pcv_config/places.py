"""Where things stand: the project root, what is durable under `.pcv/`, the daemon's socket and lock.

Light by rule: the client imports this at every start, so no pathlib, no tempfile, no hashlib.
"""

from __future__ import annotations

import os

STATE = ".pcv"
"""The folder in the project root that holds everything durable."""

_SOCKET_LIMIT = 107  # bytes of sun_path on Linux, without the closing NUL (103 on macOS)


def find_root(start: str) -> str | None:
    """The nearest folder at or above `start` that holds `pcv.toml`, or a pyproject.toml with a `[tool.pcv]` table."""
    folder = os.path.realpath(start)
    while True:
        if os.path.isfile(os.path.join(folder, "pcv.toml")) or _has_table(os.path.join(folder, "pyproject.toml")):
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def _has_table(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return b"[tool.pcv]" in file.read()
    except OSError:
        return False


def state(root: str, *names: str) -> str:
    """A path under the project's `.pcv/`."""
    return os.path.join(root, STATE, *names)


def runtime_folder() -> str:
    """The user's private folder for sockets and locks: `$XDG_RUNTIME_DIR/pcv`, else one in the temp directory.

    Only its name: `make_private` creates it and refuses one that somebody else could write to.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.path.isdir(base) and os.access(base, os.W_OK):
        return os.path.join(base, "pcv")
    return os.path.join(os.environ.get("TMPDIR") or "/tmp", f"pcv-{os.getuid()}")  # noqa: S108  # made 0700, owner checked


def socket_path(root: str) -> str:
    """The daemon's Unix socket for `root`. Raises ValueError where the system could not bind so long a path."""
    path = os.path.join(runtime_folder(), _short(root) + ".sock")
    if len(os.fsencode(path)) > _SOCKET_LIMIT:
        raise ValueError(f"the socket path {path} is longer than {_SOCKET_LIMIT} bytes: set XDG_RUNTIME_DIR to a shorter folder")
    return path


def lock_path(root: str) -> str:
    """The file whose lock the daemon of `root` holds while it lives."""
    return os.path.join(runtime_folder(), _short(root) + ".lock")


def make_private(folder: str) -> None:
    """Create `folder` for this user alone. Raises PermissionError where it exists and others own it or may write to it."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    info = os.lstat(folder)
    if info.st_uid != os.getuid() or info.st_mode & 0o077 or os.path.islink(folder):
        raise PermissionError(f"{folder} must belong to you alone (chmod 700), since the daemon's socket goes there")


def _short(root: str) -> str:
    # _blake2 is hashlib's own C module; importing hashlib itself would load OpenSSL (3 ms) at every `pcvctl status`.
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    return blake2b(os.fsencode(root), digest_size=8).hexdigest()
