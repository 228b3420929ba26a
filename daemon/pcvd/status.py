"""A status as the board gives it out: plain values where somebody reads them, JSON where it goes on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcvctl.exits import AGREED, DIFFERENT, OPEN
from pcvd import jsontext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Status:
    """A status document. `head` is all of it but the targets, `targets` are JSON objects; of as many as
    `unlisted` there is nothing to say but that they agree, and of `unshown` there was no room to.
    """

    head: Mapping[str, Any]
    targets: Sequence[bytes]
    differs: bool
    agrees: bool
    unlisted: int = 0
    unshown: int = 0

    @property
    def exit_code(self) -> int:
        """What it amounts to, of listed and unlisted targets together."""
        return DIFFERENT if self.differs else AGREED if self.agrees else OPEN

    def plain(self) -> dict[str, Any]:
        """The document as plain values."""
        targets = [json.loads(target) for target in self.targets]
        omitted = {"unlisted": self.unlisted} if self.unlisted else {}
        omitted |= {"unshown": self.unshown} if self.unshown else {}
        return {**self.head, "targets": targets, **omitted}

    def digest(self) -> bytes:
        """Another one whenever there is something else to tell, but for the time that has passed."""
        daemon = {**self.head["daemon"], "uptime_s": 0.0}
        seen = hashlib.sha256(jsontext.encode({**self.head, "daemon": daemon}))
        for target in self.targets:
            seen.update(target)
        return seen.digest()

    def encoded(self) -> bytes:
        """The document as JSON."""
        told = jsontext.encode(self.head)
        return b'%b,"targets":[%b]}' % (told[:-1], b",".join(self.targets))
