"""What a look at the file system is written down as: names and digests on which worker and daemon agree.

A read is a path and a digest. For a file the digest is that of its contents; what else a build may have found
out gets a name that no file can have: whether a folder is there (`data/`), or that a program of which nothing
is known ran in the project (`project/**`). The plain path of a folder stands for the names in it. That of a
Python module stands for importing it, to which comments are nothing; who reads it as text, or looks at its
stat, depends on every byte (`model.py//text`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TREE = "/**"
"""How the name of a read ends that stands for every file below a folder."""

TEXT = "//text"
"""How the name of a read ends that stands for a Python module's file as any other file."""

_MODULE = ".py"

UNLISTED = frozenset({".git", ".hg", ".pcv", ".svn", "__pycache__", "node_modules", "site-packages"})
"""Folders that tools fill as they like: their coming, going and contents mean nothing to a build."""

_UNLISTED_ENDINGS = ("~", ".pyc", ".swp")


def presence(folder: str) -> str:
    """The name under which is written down that there is (or is not) such a folder, whatever it holds."""
    return folder.rstrip("/") + "/"


def tree(folder: str) -> str:
    """The name that stands for every file below `folder`."""
    return folder.rstrip("/") + TREE


def text(path: str) -> str:
    """The name under which it is written down that the file at `path` was opened, or looked at."""
    return path + TEXT if is_module(path) else path


def is_module(name: str) -> bool:
    """Whether a name stands for importing a Python module."""
    return name.endswith(_MODULE)


def file_of(name: str) -> str:
    """The path to ask the system about; other names than those made by `text` are such paths themselves."""
    return name.removesuffix(TEXT)


def path_of(name: str) -> str:
    """The file or folder that a name is about."""
    return file_of(name).removesuffix(TREE).rstrip("/")


def is_listed(name: str) -> bool:
    """Whether a name in a folder counts: what Python, editors and version control leave there does not."""
    return name not in UNLISTED and not name.endswith(_UNLISTED_ENDINGS)


def place_digest(real_path: str) -> str:
    """The digest of a folder that is there; `real_path` tells a link that was set to another folder."""
    return hashlib.sha256(b"folder\0" + _bytes(real_path)).hexdigest()


def listing_digest(entries: Iterable[tuple[str, bool]]) -> str:
    """The digest of a folder's listing: names, each with whether it is a folder, in any order."""
    lines = sorted(_bytes(name + "/" * folder) for name, folder in entries if is_listed(name))
    return hashlib.sha256(b"listing\0" + b"\0".join(lines)).hexdigest()


def _bytes(name: str) -> bytes:
    # File names are bytes; those that are no UTF-8 come as lone surrogates.
    return name.encode(errors="surrogateescape")
