"""Reading parts of artifacts for people: the stored bytes as lines that can be compared.

Bytes may be missing or torn, a format may be unknown: that becomes a remark, and what is left to tell (sizes,
digests) is told.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pcvd.blobs import BlobError, Blobs
from pcvd.core import leaves, listing, textdiff
from pcvd.core.errors import WireError
from pcvd.core.explain import Reading
from pcvd.inquiry import disassembly
from pcvd.inquiry.disassembly import NoDisassembly

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcvd.core.builds import Part
    from pcvd.core.leaves import Leaf
    from pcvd.core.textdiff import Delta

_OBJECTS = (".o", ".cubin", ".hsaco")
_PRINTED = frozenset("\n\r\t\f")


class Unreadable(Exception):  # a fact to be told, not an error
    """Why a part cannot be shown, as a sentence."""


class Reader:
    """Reads parts out of the store's files."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def data(self, part: Part, *, raw: bool = False) -> bytes:
        """The bytes of a part. Raises Unreadable where the store cannot give them back."""
        try:
            return self._blobs.get(part.raw if raw else part.canonical)
        except BlobError as error:
            raise Unreadable(
                f"{part.name}: its bytes could not be read back from the store: {error.message}"
            ) from error

    def leaf(self, left: Part, right: Part) -> Leaf | None:
        """How the elements of two arrays differ; None where the parts are none. Raises Unreadable."""
        if not (leaves.is_array(left.label) or leaves.is_array(right.label)):
            return None
        return leaves.compare(left.label, self.data(left), right.label, self.data(right))

    def delta(self, stage: str, left: Part, right: Part, *, raw: bool = False) -> tuple[Delta, list[str]]:
        """How the texts of two parts differ, and remarks on it. Raises Unreadable."""
        name = left.name
        sides = [self.data(part, raw=raw) for part in (left, right)]
        remarks: list[str] = []
        if stage == "object" and name.endswith(_OBJECTS):
            return _objects(name, *sides)
        if stage == "executable":
            try:
                texts = [listing.executable(data) for data in sides]
            except WireError as error:
                remarks.append(f"{name}: of a format that pcv does not know ({error.message})")
                texts = [_text(name, data) for data in sides]
        else:
            texts = [_text(name, data) for data in sides]
        return textdiff.compare(*texts), remarks

    def glance(self, stage: str, left: Part, right: Part, *, lines: int, width: int) -> Reading:
        """What can be seen of a difference at first sight: its size, and the first `lines` of the diff."""
        try:
            leaf = self.leaf(left, right)
            if leaf is not None:
                return Reading(excerpt=tuple(leaves.told(leaf)[:lines]), leaf=leaf, remarks=leaf.remarks)
            delta, remarks = self.delta(stage, left, right)
        except Unreadable as why:
            return Reading(remarks=(str(why),))
        excerpt = tuple(islice(delta.unified(context=1, width=width), lines))
        return Reading(delta.added, delta.removed, excerpt, remarks=tuple(remarks))


def _objects(name: str, left: bytes, right: bytes) -> tuple[Delta, list[str]]:
    """Two object files: their instructions; where these are equal, everything else that is in them."""
    sizes = f"{name}: {len(left)} and {len(right)} bytes"
    try:
        delta = textdiff.compare(disassembly.code(name, left), disassembly.code(name, right))
        if delta.blocks or left == right:
            return delta, []
        delta = textdiff.compare(disassembly.contents(name, left), disassembly.contents(name, right))
    except NoDisassembly as why:
        raise Unreadable(f"{sizes}; {why}") from why
    return delta, [f"{name}: its instructions are equal; data or symbols are not"]


def _text(name: str, data: bytes) -> list[str]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if (not text and data) or not _printable(text):
        raise Unreadable(
            f"{name}: {len(data)} bytes that are no text; sizes and digests are all there is to tell"
        )
    # Only line feeds: a constant may hold any other separator that Python takes for the end of a line.
    return text.removesuffix("\n").split("\n")


def _printable(text: Iterable[str]) -> bool:
    return all(letter in _PRINTED or letter.isprintable() or letter.isspace() for letter in set(text))
