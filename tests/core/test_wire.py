"""The wire format: what was decoded is encoded to the same bytes, and what is no message is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcvd.core.errors import WireError
from pcvd.core.wire import BYTES, FIXED32, FIXED64, VARINT, Field, decode, encode, read_varint, write_varint

UNSIGNED = st.integers(0, 2**64 - 1)
NUMBERS = st.integers(1, 2**29 - 1)
FIELDS = st.one_of(
    st.builds(Field, NUMBERS, st.just(VARINT), UNSIGNED),
    st.builds(Field, NUMBERS, st.just(BYTES), st.binary(max_size=200)),
    st.builds(Field, NUMBERS, st.just(FIXED32), st.binary(min_size=4, max_size=4)),
    st.builds(Field, NUMBERS, st.just(FIXED64), st.binary(min_size=8, max_size=8)),
)

# The examples of https://protobuf.dev/programming-guides/encoding/, so that both ends cannot be wrong alike.
PUBLISHED = [
    (b"\x08\x96\x01", [Field(1, VARINT, 150)]),
    (b"\x12\x07testing", [Field(2, BYTES, b"testing")]),
    (b"\x1a\x03\x08\x96\x01", [Field(3, BYTES, b"\x08\x96\x01")]),
    (b"\x0d\x00\x00\x80\x3f", [Field(1, FIXED32, b"\x00\x00\x80\x3f")]),
    (b"\x11\x00\x00\x00\x00\x00\x00\xf0\x3f", [Field(2, FIXED64, b"\x00\x00\x00\x00\x00\x00\xf0\x3f")]),
    (b"\x08\xfe" + b"\xff" * 8 + b"\x01", [Field(1, VARINT, 2**64 - 2)]),
    (b"", []),
]


@pytest.mark.parametrize(("data", "fields"), PUBLISHED)
def test_published_examples(data, fields):
    assert decode(data) == fields
    assert encode(fields) == data


@given(st.lists(FIELDS))
def test_fields_come_back_equal(fields):
    assert decode(encode(fields)) == fields


@given(st.lists(FIELDS), st.lists(FIELDS))
def test_messages_written_after_each_other_are_one_message(first, second):
    assert decode(encode(first) + encode(second)) == first + second


@given(st.binary())
@example(b"\x0a")
@example(b"\x80" * 11)
def test_garbage_is_a_message_or_a_wire_error(data):
    try:
        fields = decode(data)
    except WireError:
        return
    assert decode(encode(fields)) == fields


@given(FIELDS, st.data())
def test_a_field_cut_short_is_refused(field, data):
    whole = encode([field])
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(WireError):
        decode(whole[:cut])


@given(UNSIGNED, st.binary(max_size=3), st.binary(max_size=3))
def test_a_varint_is_read_where_it_stands(value, before, after):
    written = write_varint(value)
    assert read_varint(before + written + after, len(before)) == (value, len(before) + len(written))


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, b"\x00"),
        (1, b"\x01"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16383, b"\xff\x7f"),
        (16384, b"\x80\x80\x01"),
        (2**64 - 1, b"\xff" * 9 + b"\x01"),
    ],
)
def test_varints_are_written_the_shortest_way(value, data):
    assert write_varint(value) == data


def test_a_padded_varint_is_read_but_never_written():
    # Some writers pad lengths: what is read means the same, but encoding it again gives other bytes, which is
    # how the rules notice that a message is not theirs to edit.
    assert decode(b"\x08\x81\x00") == decode(b"\x88\x00\x01") == [Field(1, VARINT, 1)]
    assert encode([Field(1, VARINT, 1)]) == b"\x08\x01"


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9, b"\x80" * 10, b"\xff" * 10 + b"\x01"])
def test_what_is_no_varint_is_refused(data):
    with pytest.raises(WireError, match="no varint at byte 0"):
        read_varint(data, 0)


def test_reading_a_varint_past_the_end_is_refused():
    with pytest.raises(WireError, match="byte 7"):
        read_varint(b"\x01", 7)


@pytest.mark.parametrize("kind", [3, 4, 6, 7])  # groups, which nobody writes any more, and two unknown ones
def test_unknown_wire_types_are_refused(kind):
    with pytest.raises(WireError, match=f"wire type {kind}"):
        decode(bytes([1 << 3 | kind]))


@pytest.mark.parametrize("data", [b"\x00\x01", b"\x02\x01a", b"\x05abcd", b"\x01abcdefgh"])
def test_field_number_zero_is_refused(data):
    with pytest.raises(WireError, match="field number 0"):
        decode(data)


@pytest.mark.parametrize("data", [b"\x12\x05a", b"\x12\xff\xff\xff\xff\x7f", b"\x0dabc", b"\x09abcdefg"])
def test_a_field_past_the_end_is_refused(data):
    with pytest.raises(WireError, match="past the end"):
        decode(data)


def test_only_length_delimited_fields_hold_data():
    assert Field(1, BYTES, b"ab").data == b"ab"
    for field in (Field(4, VARINT, 3), Field(4, FIXED32, b"abcd"), Field(4, FIXED64, b"abcdefgh")):
        with pytest.raises(WireError, match="field 4 holds no bytes"):
            _ = field.data
