"""The pace at which status files are written. Pure.

With a few targets that takes no time, and is done at every change. With thousands it takes a second, which
nobody who waits for a verdict should wait for as well.
"""

from __future__ import annotations

_QUICKLY_S = 0.01
_SHARE = 100.0
"""What takes longer than that is done during one hundredth of the time at the most."""
_PATIENCE_S = 10.0
"""How long the files may be behind because somebody waits for a verdict."""


class Pace:
    """Says whether the files are to be written now. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._slow = False
        self._next_at = 0.0
        self._behind_since: float | None = None

    def due(self, now: float, *, idle: bool, awaited: bool) -> bool:
        """Whether to write them, after a change. `idle`: nothing else will change; `awaited`: somebody waits
        for a verdict.
        """
        if self._behind_since is None:
            self._behind_since = now
        hurried = self._slow and awaited and now < self._behind_since + _PATIENCE_S
        return idle or (now >= self._next_at and not hurried)

    def wrote(self, began: float, ended: float) -> None:
        """They were written between these moments."""
        self._behind_since = None
        self._slow = ended - began > _QUICKLY_S
        self._next_at = began + _SHARE * (ended - began) if self._slow else 0.0
