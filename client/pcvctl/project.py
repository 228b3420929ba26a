"""Which project a command is about.

Light by rule: on the path of `pcvctl status`.
"""

from __future__ import annotations

import os

from pcv_config import places
from pcvctl import Trouble


def root_of(named: str | None, *, lived_in: bool = False) -> str:
    """The project's root: the folder `named` with --root, else the nearest at or above the working directory.

    `lived_in`: one whose settings are gone will do, where pcv has been at work: its daemon may still run.

    Raises Trouble where there is no project.
    """
    if named is None:
        root = places.find_root(os.getcwd(), lived_in=lived_in)
        if root is None:
            raise Trouble(
                f"no pcv.toml (or [tool.pcv] in a pyproject.toml) in {os.getcwd()} or a folder above it",
                "run `pcvctl init` to write one here, or name the project's folder with --root",
            )
        return root
    root = os.path.realpath(named)
    # Only `named` itself counts: a mistyped folder inside another project must not answer for that project.
    if not (places.is_project(root) or (lived_in and places.is_lived_in(root))):
        what = (
            "no pcv.toml (or [tool.pcv] in a pyproject.toml) in it"
            if os.path.isdir(root)
            else "no such folder"
        )
        raise Trouble(f"{root}: {what}", f"run `pcvctl init {named}` to write a pcv.toml there")
    return root
