"""The canonical form of executables: what is removed, and that all else stays, even what is no message."""

from __future__ import annotations

from dataclasses import replace

import pytest
from artifacts import ELSEWHERE, MODULE, NOWHERE, PROGRAM, Program, executable, message, number, text
from hypothesis import example, given
from hypothesis import strategies as st

from pcvd.core.canonical import RULES, Context, canonicalize
from pcvd.core.wire import BYTES, FIXED64, VARINT, Field, encode, write_varint

# -- what rules remove -----------------------------------------------------------------------------


def test_the_same_executable_has_the_same_canonical_bytes():
    assert executable(PROGRAM) == executable(Program()) == PROGRAM.meant()


def test_an_option_is_dropped_for_the_folder_in_it_and_for_nothing_else():
    # Where nothing was dumped there is no folder to look for, and "" is in every text.
    without_dumps = Context("", MODULE)
    none = replace(PROGRAM, dumped_to="", overrides=(("xla_dump_to", ""), ("xla_embed_ir", "")))
    assert executable(none, without_dumps) == none.meant(without_dumps)
    assert executable(none, without_dumps) != executable(replace(none, dumped_to=None), without_dumps)


def test_a_build_elsewhere_keeps_the_folder_of_another():
    other = Context(ELSEWHERE, MODULE)
    assert ("xla_dump_to", NOWHERE.dump_folder) in PROGRAM.overrides
    assert executable(PROGRAM, other) == PROGRAM.meant(other)
    assert executable(PROGRAM, other) != executable(PROGRAM)


def test_thunks_of_another_module_keep_its_number():
    foreign = replace(PROGRAM, thunk_module="jit_loss")
    assert executable(foreign) != executable(replace(foreign, thunk_ids=(7, 7, 8)))


def test_bytes_of_the_users_that_look_like_a_thunk_are_not_touched():
    custom = replace(PROGRAM, thunk_kind="custom-call")
    assert executable(replace(custom, thunk_ids=(9, 7, 7))) == executable(custom)
    assert executable(replace(custom, thunk_ids=(7, 7, 8))) != executable(custom)


def test_a_canonical_executable_is_its_own_canonical_form():
    assert canonicalize("executable", PROGRAM.meant(), NOWHERE) == (PROGRAM.meant(), ())


SHORT = st.text("ab/.", max_size=6)
PROGRAMS = st.builds(
    Program,
    module_id=st.none() | st.integers(0, 2**63 - 1),
    entry=st.integers(0, 300),
    aliasing=st.binary(max_size=6),
    stack_frames=st.none() | st.binary(max_size=12),
    shape=st.binary(max_size=8),
    layout=st.integers(0, 200),
    constant=st.binary(max_size=300),
    metadata=st.lists(st.none() | SHORT, max_size=4).map(tuple),
    profile=st.none() | st.integers(0, 300),
    dumped_to=st.none() | SHORT | st.just(NOWHERE.dump_folder),
    thunk_ids=st.tuples(*[st.none() | st.integers(0, 2**63 - 1)] * 3),
    thunk_module=st.sampled_from([MODULE, "jit_loss"]),
    op_name=SHORT,
    objects=st.lists(st.binary(max_size=20), max_size=4).map(tuple),
    overrides=st.lists(
        st.tuples(SHORT | st.just("xla_dump_to"), SHORT | st.just(NOWHERE.dump_folder)), max_size=4
    ).map(tuple),
    header=st.binary(max_size=200),
    tail=st.binary(max_size=20),
)


@given(PROGRAMS)
def test_nothing_but_what_the_rules_name_is_touched(program):
    assert executable(program) == program.meant()


@given(PROGRAMS, st.permutations(RULES["executable"]))
def test_the_order_of_rules_does_not_matter(program, rules):
    data = program.encoded()
    for rule in rules:
        data = rule.apply(data, NOWHERE)
    assert data == program.meant()


# -- what rules do not understand ------------------------------------------------------------------

NUMBERS = st.sampled_from([1, 2, 3, 5, 6, 7, 8, 14, 17, 109]) | st.integers(1, 2**29 - 1)
LEAVES = st.binary(max_size=8) | st.just(MODULE.encode()) | st.just(NOWHERE.dump_folder.encode())
MESSAGES = st.recursive(
    LEAVES,
    lambda inner: st.lists(
        st.builds(Field, NUMBERS, st.just(BYTES), inner)
        | st.builds(Field, NUMBERS, st.just(VARINT), st.integers(0, 2**64 - 1))
        | st.builds(Field, NUMBERS, st.just(FIXED64), st.binary(min_size=8, max_size=8)),
        max_size=5,
    ).map(encode),
    max_leaves=20,
)


@given(MESSAGES, st.binary(max_size=3))
def test_arbitrary_messages_never_break_a_rule(body, header):
    data = write_varint(len(header)) + header + body
    once, _ = canonicalize("executable", data, NOWHERE)
    assert once.startswith(data[: len(header) + 1])
    assert canonicalize("executable", once, NOWHERE) == (once, ())


@given(st.binary(max_size=40), st.binary(max_size=3))
@example(b"\x0b", b"")
@example(b"\x00", b"x")
def test_a_body_that_is_no_message_is_compared_as_it_is(garbage, header):
    data = write_varint(len(header)) + header + PROGRAM.encoded() + garbage + b"\x07"
    assert canonicalize("executable", data, NOWHERE) == (data, ())


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x05ab", b"\x80", b"\xff" * 12])
def test_an_executable_that_is_only_a_header_or_less_is_left_alone(data):
    assert canonicalize("executable", data, NOWHERE) == (data, ())


def _at(path: tuple[int, ...], *fields: Field) -> bytes:
    """An executable whose only content stands at `path`."""
    body = encode(list(fields))
    for at in reversed(path):
        body = encode([Field(at, BYTES, body)])
    return b"\x00" + body


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ((1, 1, 1), text(5, "no number")),
        ((1, 1, 1), number(17, 3)),
        ((1, 1, 1, 3, 2), number(7, 3)),
        ((1, 1, 1, 3, 2, 7), number(2, 3)),
        ((1, 1, 1, 3, 2, 7), text(4, "main.py")),
        ((1,), number(8, 3)),
        ((1, 1, 2, 14), number(109, 3)),
        ((2, 3, 3), Field(109, FIXED64, b"12345678")),
        ((2,), number(7, 3)),
    ],
    ids=[
        "module-id",
        "stack-frames",
        "metadata",
        "scope",
        "line",
        "object-order",
        "dump-folder",
        "dump-folder-2",
        "options",
    ],
)
def test_a_field_of_another_type_than_the_rule_knows_stays(path, field):
    # Another version of XLA may give a number to something else, and that may count.
    data = _at(path, number(2, 1), field)
    assert canonicalize("executable", data, NOWHERE) == (data, ())


PADDED = b"\x80\x01\x81\x00"  # field 16, and its value 1 in two bytes


@pytest.mark.parametrize(
    "path", [(), (1,), (1, 1), (1, 1, 1), (1, 1, 1, 3), (1, 1, 1, 3, 2), (1, 1, 2, 14), (2,), (2, 3, 3)]
)
def test_a_message_that_is_encoded_another_way_stays(path):
    inner = (
        encode([number(5, 9), Field(17, BYTES, b"f"), Field(7, BYTES, b"m"), text(109, "/tmp/x")]) + PADDED
    )
    for at in reversed(path):
        inner = encode([Field(at, BYTES, inner)])
    data = b"\x00" + inner
    assert PADDED in canonicalize("executable", data, NOWHERE)[0]


def test_padding_inside_a_thunk_stays():
    # Bytes inside a thunk may be no message at all and only look like one: encoding them afresh would hide a
    # change.
    info = message(2, text(1, "op"), text(2, MODULE), number(3, 7))
    thunk = encode([text(1, "kernel"), info]) + PADDED
    data = _at((1, 6), Field(1, BYTES, thunk))
    assert PADDED in canonicalize("executable", data, NOWHERE)[0]


@pytest.mark.parametrize(
    "fields",
    [
        [text(1, "op"), text(2, MODULE), text(3, "7")],
        [text(1, "op"), text(2, MODULE), number(3, 7), number(4, 1)],
        [text(2, MODULE), text(1, "op"), number(3, 7)],
        [text(1, "op"), number(2, 4), number(3, 7)],
        [text(1, "op"), text(2, MODULE + "_2"), number(3, 7)],
    ],
    ids=["a text for a number", "a field more", "another order", "a number for a name", "another name"],
)
def test_what_only_resembles_a_thunks_info_stays(fields):
    data = _at((1, 6, 1), text(1, "kernel"), message(2, *fields))
    assert canonicalize("executable", data, NOWHERE) == (data, ())


def test_however_deep_messages_nest_no_rule_breaks():
    deep = b""
    for _ in range(5000):
        deep = encode([Field(1, BYTES, deep)])
    data = b"\x00" + encode([message(1, Field(6, BYTES, deep))])
    assert canonicalize("executable", data, NOWHERE) == (data, ())


def test_loops_within_loops_lose_their_modules_number_at_every_depth():
    def nested(module_id: int) -> bytes:
        thunk = [text(1, "kernel"), message(2, text(1, "op"), text(2, MODULE), number(3, module_id))]
        for depth in range(30):
            info = message(2, text(1, f"while.{depth}"), text(2, MODULE), number(3, module_id))
            thunk = [text(1, "while"), info, message(12, message(2, message(1, *thunk)))]
        return _at((1, 6), message(1, *thunk))

    one, two = (canonicalize("executable", nested(module_id), NOWHERE) for module_id in (7, 4000))
    assert one == two
    assert one[1] == ("thunk-module-id",)
