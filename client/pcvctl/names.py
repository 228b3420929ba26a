"""Names of targets that nobody knows, and which one was probably meant. Pure; the daemon uses it too."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def unknown(name: str, known: Iterable[str]) -> tuple[str, str]:
    """What to say of a target `name` that is not among the `known` ones: a sentence, and what to do."""
    names = list(known)
    close = get_close_matches(name, names, 1)
    if close:
        hint = f'did you mean "{close[0]}"?'
    elif names:
        hint = "`pcvctl status` lists them"
    else:
        hint = 'there are none yet: name one in pcv.toml ([[target]], entry = "models/mlp.py:forward")'
    return f'there is no target "{name}"', hint
