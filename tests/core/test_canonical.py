"""Canonical forms: what a rule removes, what it must never hide, and that it leaves alone what it does not
know.

The executables here are synthetic messages in the layout of XLA:CPU's; that the layout is so is shown where
real executables are built.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcvd.core.canonical import RULES, Context, canonicalize
from pcvd.core.model import STAGES
from pcvd.core.wire import BYTES, FIXED64, VARINT, Field, encode, write_varint

MODULE = "jit_forward"
NOWHERE = Context("/tmp/pcv/0001-00", MODULE)


def text(number: int, value: str) -> Field:
    return Field(number, BYTES, value.encode())


def number(at: int, value: int) -> Field:
    return Field(at, VARINT, value)


def message(at: int, *fields: Field | None) -> Field:
    return Field(at, BYTES, encode([field for field in fields if field is not None]))


def _override(key: str, value: str) -> Field:
    return message(7, text(1, key), message(2, text(1, value)))


@dataclass(frozen=True)
class Program:
    """A small executable. What is None is left out, as protocol buffers leave out what is not set."""

    module_id: int | None = 7
    name: str = MODULE
    entry: int = 3
    aliasing: bytes = b"\x0a\x02\x08\x00"
    stack_frames: bytes | None = b"\x0a\x07main.py"
    opcode: str = "constant"
    shape: bytes = b"\x10\x0b\x1a\x02\x04\x04"
    layout: int = 1
    constant: bytes = b"\x00\x00\x80\x3f"
    metadata: tuple[str | None, ...] = ("jit(forward)/mul", "jit(forward)/add")
    xla_options: int = 2
    dumped_to: str | None = NOWHERE.dump_folder
    thunk_kind: str = "while"
    thunk_ids: tuple[int | None, ...] = (7, 7, 7)
    thunk_module: str = MODULE
    op_name: str = "while.3"
    objects: tuple[bytes, ...] = (b"\x7fELF two", b"\x7fELF one", b"\x7fELF three")
    overrides: tuple[tuple[str, str], ...] = (
        ("xla_embed_ir", "true"),
        ("xla_dump_to", NOWHERE.dump_folder),
        ("xla_cpu_max_isa", "AVX2"),
    )
    replicas: int = 1
    header: bytes = b"\x0a\x03cpu"
    tail: bytes = b"host"

    def _instruction(self, op_name: str | None) -> Field:
        return message(
            2,
            text(1, "constant.1"),
            text(2, self.opcode),
            message(3, Field(1, BYTES, self.shape), message(5, number(1, self.layout))),
            None if op_name is None else message(7, text(2, op_name), number(4, 12)),
            message(8, Field(3, BYTES, self.constant)),
        )

    def _module(self) -> Field:
        return message(
            1,
            text(1, self.name),
            message(3, text(1, "main"), *(self._instruction(one) for one in self.metadata)),
            None if self.module_id is None else number(5, self.module_id),
            number(6, self.entry),
            Field(8, BYTES, self.aliasing),
            None if self.stack_frames is None else Field(17, BYTES, self.stack_frames),
        )

    def _debug_options(self, at: int) -> Field:
        folder = None if self.dumped_to is None else text(109, self.dumped_to)
        return message(at, number(31, self.xla_options), folder, number(113, 1))

    def _info(self, op_name: str, module_id: int | None) -> Field:
        module_id_field = None if module_id is None else number(3, module_id)
        return message(2, text(1, op_name), text(2, self.thunk_module), module_id_field)

    def _thunks(self) -> Field:
        outer, condition, body = self.thunk_ids
        kernel = message(
            1, text(1, "kernel"), self._info("fusion.1", body), message(5, text(1, "main_kernel"))
        )
        test = message(1, text(1, "kernel"), self._info("compare.2", condition))
        loop = message(12, message(1, test), message(2, kernel), number(3, 10))
        return message(6, message(1, text(1, self.thunk_kind), self._info(self.op_name, outer), loop))

    def encoded(self) -> bytes:
        body = encode(
            [
                message(
                    1,
                    message(1, self._module(), message(2, number(2, 1), self._debug_options(14))),
                    text(4, "main"),
                    self._thunks(),
                    *(Field(8, BYTES, one) for one in self.objects),
                    number(9, 4096),
                ),
                message(
                    2,
                    message(3, number(4, self.replicas), self._debug_options(3)),
                    *(_override(key, value) for key, value in self.overrides),
                ),
                Field(3, BYTES, self.tail),
            ]
        )
        return write_varint(len(self.header)) + self.header + body

    def meant(self, context: Context = NOWHERE) -> bytes:
        """The executable without what carries no meaning, written down without any rule."""
        kept = [one for one in self.overrides if context.dump_folder not in one[1]]
        return replace(
            self,
            module_id=None,
            stack_frames=None,
            metadata=(None,) * len(self.metadata),
            dumped_to=None,
            thunk_ids=(None, None, None) if self.thunk_module == context.module else self.thunk_ids,
            objects=tuple(sorted(self.objects)),
            overrides=tuple(sorted(kept, key=lambda one: _override(*one).data)),
        ).encoded()


PROGRAM = Program()
ELSEWHERE = "/tmp/pcv/0815-03"

IRRELEVANT = {
    "module-id": replace(PROGRAM, module_id=8),
    "thunk-module-id": replace(PROGRAM, thunk_ids=(300, 301, 302)),
    "object-order": replace(PROGRAM, objects=PROGRAM.objects[::-1]),
    "stack-frames": replace(PROGRAM, stack_frames=b"\x0a\x0cother/run.py"),
    "metadata": replace(PROGRAM, metadata=("jit(forward)/scope/mul", "jit(forward)/scope/add")),
    "option-order": replace(PROGRAM, overrides=PROGRAM.overrides[::-1]),
}

RELEVANT = {
    "constant": replace(PROGRAM, constant=b"\x00\x00\x80\xbf"),
    "layout": replace(PROGRAM, layout=0),
    "shape": replace(PROGRAM, shape=b"\x10\x0b\x1a\x02\x04\x08"),
    "aliasing": replace(PROGRAM, aliasing=b"\x0a\x02\x08\x01"),
    "donation dropped": replace(PROGRAM, aliasing=b""),
    "opcode": replace(PROGRAM, opcode="parameter"),
    "an instruction more": replace(PROGRAM, metadata=(*PROGRAM.metadata, "jit(forward)/mul")),
    "module name": replace(PROGRAM, name="jit_loss"),
    "entry computation": replace(PROGRAM, entry=4),
    "thunk kind": replace(PROGRAM, thunk_kind="call"),
    "thunk operation": replace(PROGRAM, op_name="while.4"),
    "thunk of another module": replace(PROGRAM, thunk_module="jit_loss"),
    "machine code": replace(PROGRAM, objects=(b"\x7fELF two", b"\x7fELF One", b"\x7fELF three")),
    "an object fewer": replace(PROGRAM, objects=PROGRAM.objects[:2]),
    "an object twice": replace(PROGRAM, objects=(*PROGRAM.objects, PROGRAM.objects[0])),
    "compiler flag": replace(PROGRAM, xla_options=3),
    "option": replace(PROGRAM, overrides=(*PROGRAM.overrides[:2], ("xla_cpu_max_isa", "SSE4_2"))),
    "an option more": replace(PROGRAM, overrides=(*PROGRAM.overrides, ("xla_cpu_enable_fast_math", "true"))),
    "replicas": replace(PROGRAM, replicas=2),
    "header": replace(PROGRAM, header=b"\x0a\x03gpu"),
    "host": replace(PROGRAM, tail=b"guest"),
}


def executable(program: Program, context: Context = NOWHERE) -> bytes:
    return canonicalize("executable", program.encoded(), context)[0]


# -- the table itself ------------------------------------------------------------------------------


def test_every_rule_is_for_a_stage_and_says_why():
    assert set(RULES) <= set(STAGES)
    for stage, rules in RULES.items():
        assert len({rule.name for rule in rules}) == len(rules), stage
        for rule in rules:
            assert len(rule.why.split()) >= 5, rule.name


def test_what_runs_is_compared_as_it_is():
    assert not {"stablehlo", "hlo", "object", "output"} & set(RULES)


@given(st.sampled_from(["stablehlo", "hlo", "object", "output", "locations", "unheard-of"]), st.binary())
def test_stages_without_rules_are_left_alone(stage, data):
    assert canonicalize(stage, data, NOWHERE) == (data, ())


@given(st.sampled_from(sorted(RULES)), st.binary())
def test_arbitrary_bytes_never_break_a_rule(stage, data):
    once, _ = canonicalize(stage, data, NOWHERE)
    assert canonicalize(stage, once, NOWHERE) == (once, ())


# -- texts -----------------------------------------------------------------------------------------

JAXPR = (
    "{ lambda ; a:f32[2]. let b:f32[2] = custom_jvp_call[jvp=<function relu at 0x7f00deadbeef>] a in (b,) }"
)
LLVM = """\
; ModuleID = '__compute_module_while.1_kernel_module'
source_filename = "__compute_module_while.1_kernel_module"
target triple = "x86_64-unknown-linux-gnu"

@0 = private unnamed_addr constant [4 x i8] c"\\00\\00\\80?", align 4
; a remark: ModuleID = 'x', source_filename = "y"
define void @main() { ret void }
"""


@pytest.mark.parametrize(
    ("stage", "rule", "before", "irrelevant"),
    [
        ("jaxpr", "addresses", JAXPR, JAXPR.replace("7f00deadbeef", "55d1c0ffee00")),
        (
            "llvm",
            "llvm-module-id",
            LLVM,
            LLVM.replace("ModuleID = '__compute_module_while.1", "ModuleID = 'm_2"),
        ),
        (
            "llvm",
            "llvm-module-id",
            LLVM,
            LLVM.replace('source_filename = "__compute', 'source_filename = "x'),
        ),
    ],
)
def test_texts_that_differ_in_nothing_that_counts_become_one(stage, rule, before, irrelevant):
    assert before != irrelevant
    same, applied = canonicalize(stage, before.encode(), NOWHERE)
    assert applied == (rule,)
    assert canonicalize(stage, irrelevant.encode(), NOWHERE) == (same, (rule,))


@pytest.mark.parametrize(
    ("stage", "before", "relevant"),
    [
        ("jaxpr", JAXPR, JAXPR.replace("relu", "gelu")),
        ("jaxpr", JAXPR, JAXPR.replace("f32[2]", "f32[3]")),
        ("jaxpr", "a at 0x7f00deadbeef", "a at 0x7f00deadbee0"),  # no function's address: nothing closes it
        ("jaxpr", "<f at 0x12>", "<f at 0x13>"),  # too short for an address
        ("jaxpr", "c:u32[] = mul a 0x7f00deadbeef>", "c:u32[] = mul a 0x7f00deadbee0>"),
        ("llvm", LLVM, LLVM.replace("80?", "80@")),
        ("llvm", LLVM, LLVM.replace("ret void", "unreachable")),
        ("llvm", LLVM, LLVM.replace("ModuleID = 'x'", "ModuleID = 'z'")),  # in the middle of a line
        ("llvm", LLVM, LLVM.replace("x86_64", "aarch64")),
        ("llvm", LLVM, LLVM.partition("\n")[2]),
    ],
)
def test_texts_that_differ_in_what_counts_stay_apart(stage, before, relevant):
    assert before != relevant
    assert (
        canonicalize(stage, before.encode(), NOWHERE)[0] != canonicalize(stage, relevant.encode(), NOWHERE)[0]
    )


def test_all_else_of_a_text_stays_as_it_is():
    assert canonicalize("jaxpr", JAXPR.encode(), NOWHERE)[0] == JAXPR.replace("7f00deadbeef", "").encode()
    first, second, *others = LLVM.splitlines(keepends=True)
    kept = canonicalize("llvm", LLVM.encode(), NOWHERE)[0].decode().splitlines(keepends=True)
    assert kept == [first[: len("; ModuleID = ")] + "\n", second[: len("source_filename = ")] + "\n", *others]


# -- executables -----------------------------------------------------------------------------------


def test_the_same_executable_has_the_same_canonical_bytes():
    assert executable(PROGRAM) == executable(Program()) == PROGRAM.meant()


@pytest.mark.parametrize("rule", sorted(IRRELEVANT))
def test_executables_that_differ_in_nothing_that_counts_become_one(rule):
    other = IRRELEVANT[rule]
    assert other.encoded() != PROGRAM.encoded()
    assert executable(other) == executable(PROGRAM)
    applied = {*canonicalize("executable", PROGRAM.encoded(), NOWHERE)[1]}
    applied |= {*canonicalize("executable", other.encoded(), NOWHERE)[1]}
    assert rule in applied
    # Without the rule they stay apart: it is this one that makes them equal, and no other is too greedy.
    assert _without(rule, other) != _without(rule, PROGRAM)


def _without(rule: str, program: Program) -> bytes:
    data = program.encoded()
    for one in RULES["executable"]:
        if one.name != rule:
            data = one.apply(data, NOWHERE)
    return data


@pytest.mark.parametrize("dropped", ["dump-folder", "dump-option"])
def test_the_folder_of_dumps_is_no_part_of_an_executable(dropped):
    elsewhere = replace(
        PROGRAM,
        dumped_to=ELSEWHERE,
        overrides=(PROGRAM.overrides[0], ("xla_dump_to", ELSEWHERE), PROGRAM.overrides[2]),
    )
    there = Context(ELSEWHERE, MODULE)
    assert executable(elsewhere, there) == executable(PROGRAM)
    for program, context in ((PROGRAM, NOWHERE), (elsewhere, there)):
        assert dropped in canonicalize("executable", program.encoded(), context)[1]


@pytest.mark.parametrize("what", sorted(RELEVANT))
def test_executables_that_differ_in_what_counts_stay_apart(what):
    assert executable(RELEVANT[what]) != executable(PROGRAM)
    assert executable(RELEVANT[what]) == RELEVANT[what].meant()  # and nothing else of them was touched


def test_an_option_is_dropped_for_the_folder_in_it_and_for_nothing_else():
    # Where nothing was dumped there is no folder to look for, and "" is in every text.
    without_dumps = Context("", MODULE)
    changed = RELEVANT["option"]
    assert executable(changed, without_dumps) != executable(PROGRAM, without_dumps)


def test_a_build_elsewhere_keeps_the_folder_of_another():
    other = Context(ELSEWHERE, MODULE)
    assert ("xla_dump_to", NOWHERE.dump_folder) in PROGRAM.overrides
    assert executable(PROGRAM, other) == PROGRAM.meant(other)
    assert executable(PROGRAM, other) != executable(PROGRAM)


def test_thunks_of_another_module_keep_its_number():
    foreign = replace(PROGRAM, thunk_module="jit_loss")
    assert executable(foreign) != executable(replace(foreign, thunk_ids=(7, 7, 8)))


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
    dumped_to=st.none() | SHORT,
    thunk_ids=st.tuples(*[st.none() | st.integers(0, 2**63 - 1)] * 3),
    thunk_module=st.sampled_from([MODULE, "jit_loss"]),
    op_name=SHORT,
    objects=st.lists(st.binary(max_size=20), max_size=4).map(tuple),
    overrides=st.lists(st.tuples(SHORT, SHORT | st.just(NOWHERE.dump_folder)), max_size=4).map(tuple),
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
        ((1,), number(8, 3)),
        ((1, 1, 2, 14), number(109, 3)),
        ((2, 3, 3), Field(109, FIXED64, b"12345678")),
        ((2,), number(7, 3)),
    ],
    ids=["module-id", "stack-frames", "metadata", "object-order", "dump-folder", "dump-folder-2", "options"],
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
    thunk = PADDED + encode([info])
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
    data = _at((1, 6, 1), message(2, *fields))
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


def test_rules_are_reported_in_the_order_in_which_they_were_applied():
    program = replace(PROGRAM, overrides=PROGRAM.overrides[::-1])
    applied = canonicalize("executable", program.encoded(), NOWHERE)[1]
    assert applied == tuple(rule.name for rule in RULES["executable"])
