"""Compiled kernels that wait for a verdict: what the reference compiled is handed to `pcv.compile_kernels`
where building it in parallel gave the same, and thrown away where it did not.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pcv_config import places

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_KEY = re.compile(r"[0-9a-f]{64}")


def settle(root: str, kept: Mapping[str, Collection[str]], agreed: Collection[str]) -> int:
    """Of the kernels that were `kept` (per target, their keys) hand on those of targets that `agreed`, unless
    another target did not that has them too; how many those are. Raises OSError.
    """
    waiting, proven = Path(places.state(root, "unproven")), Path(places.state(root, "kernels"))
    # Keys come from processes that have run the user's code: they are names of files and nothing else.
    named = {target: {key for key in keys if _KEY.fullmatch(key)} for target, keys in kept.items()}
    doubtful = {key for target, keys in named.items() if target not in agreed for key in keys}
    for key in doubtful:
        (waiting / key).unlink(missing_ok=True)
    handed = 0
    for key in {key for keys in named.values() for key in keys} - doubtful:
        proven.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another worker's was handed on under the same key
            (waiting / key).replace(proven / key)
            handed += 1
    return handed
