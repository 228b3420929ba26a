"""Protocol buffers as text: every byte that differs shows, and nothing is taken for what it is not."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcvd.core import listing
from pcvd.core.errors import WireError
from pcvd.core.model import digest
from pcvd.core.wire import BYTES, FIXED32, FIXED64, VARINT, Field, encode, write_varint


def test_fields_one_a_line_and_messages_indented():
    inner = encode([Field(1, VARINT, 7), Field(2, BYTES, b"name")])
    data = encode(
        [
            Field(1, BYTES, inner),
            Field(2, VARINT, 300),
            Field(3, FIXED32, b"\x01\0\0\0"),
            Field(4, FIXED64, b"\xff" * 8),
            Field(5, BYTES, b"\x80\x81"),
            Field(6, BYTES, b"two\nlines"),
            Field(7, BYTES, b""),
        ]
    )
    assert listing.message(data) == [
        "1 {",
        "  1: 7",
        '  2: "name"',
        "}",
        "2: 300",
        "3: 0x00000001",
        "4: 0xffffffffffffffff",
        "5: 2 bytes 8081",
        "6: text {",
        "  | two",
        "  | lines",
        "}",
        '7: ""',
    ]


def test_long_bytes_are_told_by_size_and_digest_and_object_files_by_name():
    blob = bytes(range(128, 256)) * 4
    elf = b"\x7fELF" + blob
    lines = listing.message(encode([Field(8, BYTES, blob), Field(8, BYTES, elf)]))
    assert lines == [
        f"8: 512 bytes, SHA-256 {digest(blob)}",
        f"8: ELF file, 516 bytes, SHA-256 {digest(elf)}",
    ]


def test_an_executable_has_a_header_before_its_message():
    header, body = encode([Field(1, VARINT, 1)]), encode([Field(1, BYTES, b"text")])
    assert listing.executable(write_varint(len(header)) + header + body) == [
        "header {", "  1: 1", "}", "body {", '  1: "text"', "}"
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"\xff" * 20, b"\x7fELF not a message", b"\x08"])
def test_what_is_no_executable_is_refused(data):
    with pytest.raises(WireError):
        listing.executable(data)


@given(st.binary(max_size=60), st.binary(max_size=60))
@example(b"a", b"a\n")
@example(b"", b"\n")
def test_other_bytes_never_look_alike(left, right):
    shown = [listing.message(encode([Field(1, BYTES, data)])) for data in (left, right)]
    # An escape or a separator inside a text could make one listing pass for another.
    assert (shown[0] == shown[1]) == (left == right)


def test_messages_within_messages_end_somewhere():
    data = b"\x08\x01"
    for _ in range(300):
        data = encode([Field(1, BYTES, data)])
    assert len(listing.message(data)) < 300
