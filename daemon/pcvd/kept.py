"""Compiled kernels that wait for a verdict: what the reference compiled is handed to `pcv.compile_kernels`
where building it in parallel gave the same, and thrown away where it did not.
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pcv_config import places
from pcvd.trim import trim

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_KEY = re.compile(r"[0-9a-f]{64}")
_FORGOTTEN_S = 86_400.0
"""What has waited for longer was left by a round that never came to a verdict."""


def settle(
    root: str, kept: Mapping[str, Collection[str]], agreed: Collection[str], refuted: Collection[str]
) -> int:
    """Of the kernels that were `kept` (per target, their keys) hand on those of targets that `agreed`, unless
    another target did not that has them too; how many those are. Of targets that were `refuted` nothing
    stays, what was handed on before included. Raises OSError.
    """
    waiting, proven = Path(places.state(root, "unproven")), Path(places.state(root, "kernels"))
    # Keys come from processes that have run the user's code: they are names of files and nothing else.
    named = {target: {key for key in keys if _KEY.fullmatch(key)} for target, keys in kept.items()}
    doubtful = {key for target, keys in named.items() if target not in agreed for key in keys}
    for key in doubtful:
        (waiting / key).unlink(missing_ok=True)
    for target in refuted:
        for key in named.get(target, ()):
            (proven / key).unlink(missing_ok=True)
    handed = 0
    for key in {key for keys in named.values() for key in keys} - doubtful:
        proven.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another worker's was handed on under the same key
            (waiting / key).replace(proven / key)
            handed += 1
    if handed:
        trim(proven)
    if named:
        _forget(waiting)
    return handed


def _forget(waiting: Path) -> None:
    eldest = time.time() - _FORGOTTEN_S
    for path in waiting.iterdir() if waiting.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < eldest:
                path.unlink()
