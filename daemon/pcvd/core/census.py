"""The census: which model files are asked for the targets that they declare, and what each read meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcvd.core.dependencies import Dependencies
from pcvd.core.events import Discover

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcvd.core.events import Declared


class Census:
    """Model files, and which of them are to be asked."""

    def __init__(self) -> None:
        self.read = Dependencies()
        """What was read when each was asked."""
        self.seen: dict[str, str | None] = {}
        """The digest of each that was asked, as it was then."""
        self._broken: set[str] = set()
        self._due: dict[str, int] = {}
        """Those to be asked, and the number of the event behind that."""
        self._postponed: dict[str, None] = {}

    def __bool__(self) -> bool:
        """Whether some are to be asked now."""
        return bool(self._due)

    @property
    def due(self) -> frozenset[str]:
        """Those that are to be asked now."""
        return frozenset(self._due)

    @property
    def files(self) -> frozenset[str]:
        """Those that were asked."""
        return frozenset(self.read.who)

    @property
    def known(self) -> frozenset[str]:
        """Those that were asked, or are to be."""
        return self.files | self._due.keys() | self._postponed.keys()

    @property
    def broken(self) -> frozenset[str]:
        """Those of them that could not be imported, for reasons that no file may tell."""
        return frozenset(self._broken)

    @property
    def complete(self) -> bool:
        """Whether none is to be asked, now or when it can be done."""
        return not (self._due or self._postponed)

    def ask(self, files: Iterable[str], by: int) -> None:
        """These are to be asked; `by` is the number of the event behind it."""
        for file in files:
            self._due.setdefault(file, by)

    def put(self, event: Declared) -> None:
        """A file has told what it declares, or could not be imported; nothing, where the settings declare."""
        if event.source is None:
            return
        self.read.put(event.source, dict.fromkeys(event.reads))
        self.seen[event.source] = event.seen
        if event.broken:
            self._broken.add(event.source)
        else:
            self._broken.discard(event.source)

    def drop(self, file: str) -> None:
        """A file is no more."""
        self.read.drop(file)
        self.seen.pop(file, None)
        self._broken.discard(file)
        self._due.pop(file, None)

    def postpone(self, files: Iterable[str]) -> None:
        """These could not be asked, through no fault of theirs."""
        self._postponed |= dict.fromkeys(files)

    def resume(self, by: int) -> None:
        """What was postponed is worth another try."""
        self.ask(self._postponed, by)
        self._postponed.clear()

    def next(self) -> Discover | None:
        """Ask all those that are due."""
        if not self._due:
            return None
        files, by = tuple(self._due), min(self._due.values())
        self._due.clear()
        return Discover(files, by=by)
