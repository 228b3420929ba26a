"""`pcvctl init`: a project file to start from."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from pcv_config import places, settings
from pcvctl import Trouble, exits, terminal

if TYPE_CHECKING:
    import argparse

_NEXT = """Wrote {path}.
Next: name a function of a model in it ([[target]]), or put @pcv.target(...) on one in the code;
then `pcvctl check` for one round, or `pcvctl start` for a daemon that checks at every save.
"""


def run(options: argparse.Namespace) -> int:
    """Write a commented pcv.toml into a folder that has none."""
    folder = os.path.realpath(options.folder or options.root or os.getcwd())
    path = os.path.join(folder, "pcv.toml")
    try:
        os.makedirs(folder, exist_ok=True)
        if not os.path.exists(path) and places.find_root(folder) == folder:
            raise Trouble(
                f"{folder}/pyproject.toml already has a [tool.pcv] table",
                "edit that; a project has one of the two",
            )
        with open(path, "x", encoding="utf-8") as file:
            file.write(settings.template())
    except FileExistsError:
        raise Trouble(f"{path} is there already", "edit it, or remove it first") from None
    except OSError as error:
        raise Trouble(f"{error.filename or path}: {error.strerror}") from None
    terminal.put(json.dumps({"file": path}) + "\n" if options.json else _NEXT.format(path=path))
    return exits.AGREED
