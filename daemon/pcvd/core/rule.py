"""A rule: one named step towards a canonical form, with what it removes and the reason why that may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Context:
    """What rules need to know of the build: the folder it dumped into, and its HLO module's name."""

    dump_folder: str
    module: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One named step. `what` it removes or brings into order, and `why` that carries no meaning."""

    name: str
    what: str
    why: str
    apply: Callable[[bytes, Context], bytes]
