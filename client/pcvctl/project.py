"""Which project a command is about.

Light by rule: on the path of `pcvctl status`.
"""

from __future__ import annotations

import os

from pcv_config import places
from pcvctl import Trouble


def root_of(named: str | None) -> str:
    """The project's root: the folder `named` with --root, else the nearest at or above the working directory.

    Raises Trouble where there is no project.
    """
    if named is None:
        root = places.find_root(os.getcwd())
        if root is None:
            raise Trouble(
                f"no pcv.toml (or [tool.pcv] in a pyproject.toml) in {os.getcwd()} or a folder above it",
                "run `pcvctl init` to write one here, or name the project's folder with --root",
            )
        return root
    root = os.path.realpath(named)
    # Only `named` itself counts: a mistyped folder inside another project must not answer for that project.
    if places.find_root(root) != root:
        what = (
            "no pcv.toml (or [tool.pcv] in a pyproject.toml) in it"
            if os.path.isdir(root)
            else "no such folder"
        )
        raise Trouble(f"{root}: {what}", f"run `pcvctl init {named}` to write a pcv.toml there")
    return root


def socket_of(root: str) -> str:
    """The socket of the daemon of `root`. Raises Trouble where the system could not bind so long a path."""
    try:
        return places.socket_path(root)
    except ValueError as error:
        raise Trouble(str(error)) from None
