"""A status as the board gives it out: plain values where somebody reads them, JSON where it goes on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from pcvctl.exits import AGREED, DIFFERENT, OPEN
from pcvd import jsontext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Status:
    """A status document. `head` is all of it but the targets, `targets` are JSON objects in two pieces each:
    what a verdict says, packed as the board holds it, and how it stands; `unpack` undoes that. Of as many as
    `unlisted` there is nothing to say but that they agree, and of `unshown` there was no room to.
    """

    head: Mapping[str, Any]
    targets: Sequence[tuple[bytes, bytes]]
    unpack: Callable[[bytes], bytes]
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
        targets = [json.loads(self.unpack(said) + standing) for said, standing in self.targets]
        omitted = {"unlisted": self.unlisted} if self.unlisted else {}
        omitted |= {"unshown": self.unshown} if self.unshown else {}
        return {**self.head, "targets": targets, **omitted}

    def digest(self) -> bytes:
        """Another one whenever there is something else to tell, but for the time that has passed."""
        daemon = {**self.head["daemon"], "uptime_s": 0.0}
        seen = hashlib.sha256(jsontext.encode({**self.head, "daemon": daemon}))
        for piece in chain.from_iterable(self.targets):
            seen.update(piece)
        return seen.digest()

    def pieces(self) -> Iterator[bytes]:
        """The document as JSON, in pieces: that of ten thousand targets has 26 MB."""
        yield jsontext.encode(self.head)[:-1]
        yield b',"targets":['
        for place, (said, standing) in enumerate(self.targets):
            yield b"," * bool(place) + self.unpack(said) + standing
        yield b"]}"

    def encoded(self) -> bytes:
        """The document as JSON."""
        return b"".join(self.pieces())
