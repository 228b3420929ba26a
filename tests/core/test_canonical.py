"""Canonical forms: what a rule removes, what it must never hide, and that it leaves alone what it does not
know.

The executables here are synthetic messages in the layout of XLA:CPU's; that the layout is so is shown where
real executables are built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pcvd.core.canonical import RULES, Context, canonicalize
from pcvd.core.model import STAGES, digest
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
    profile: int | None = None
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
            self._metadata(op_name),
            message(8, Field(3, BYTES, self.constant)),
        )

    def _metadata(self, op_name: str | None) -> Field | None:
        profile = None if self.profile is None else number(8, self.profile)
        if op_name is None:
            return None if profile is None else message(7, profile)
        position = [text(1, "mul"), text(2, op_name), text(3, "main.py"), number(4, 12)]
        return message(7, *position, profile, number(15, 3), number(17, 12), number(18, 4), number(19, 9))

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
        folder = context.dump_folder
        kept = [one for one in self.overrides if one != ("xla_dump_to", folder) or not folder]
        return replace(
            self,
            module_id=None,
            stack_frames=None,
            metadata=(None,) * len(self.metadata),
            dumped_to=None if self.dumped_to == folder and folder else self.dumped_to,
            thunk_ids=(None, None, None) if self.thunk_module == context.module else self.thunk_ids,
            objects=tuple(sorted(self.objects)),
            overrides=tuple(sorted(kept, key=lambda one: _override(*one).data)),
        ).encoded()


PROGRAM = Program()
ELSEWHERE = "/tmp/pcv/0815-03"


def built_in(folder: str, **changes) -> Program:
    """The same executable, built with its dumps in another folder."""
    overrides = [(key, folder if key == "xla_dump_to" else value) for key, value in PROGRAM.overrides]
    return replace(PROGRAM, **{"dumped_to": folder, "overrides": tuple(overrides), **changes})


JAXPR = """\
{ lambda ; a:f32[2]. let
    b:f32[2] = custom_jvp_call[jvp=<function relu at 0x7f00deadbeef>] a
    c:f32[2] = pure_callback[callback=<function host at 0xXXXXXXXXXXXX>] b
  in (c,) }
"""
SETS = """\
policy=Names(names=frozenset({'b', "it's", 'a', 1.5, -2}), order=('y', 'x'))
within=frozenset({frozenset({'n'}), 'm'}) objects=frozenset({<f>, <e>}) none=frozenset()
"""
LLVM = """\
; ModuleID = '__compute_module_while.1_kernel_module'
source_filename = "__compute_module_while.1_kernel_module"
target triple = "x86_64-unknown-linux-gnu"

@0 = private unnamed_addr constant [7 x i8] c"\\00!3\\80!4", align 4
; a remark on !4: ModuleID = 'x', source_filename = "y"
define float @main(ptr %0) {
  %2 = load float, ptr %0, align 4, !noalias !3
  %3 = load float, ptr %0, align 4, !alias.scope !3, !noalias !4
  ret float %3, !note !{!"!4"}
}

!llvm.module.flags = !{!0, !1}

!0 = !{i32 2, !"Debug Info Version", i32 3}
!1 = !{i32 1, !"xla_dylib_index", i64 1}
!3 = !{!5}
!4 = distinct !{!4, !"buffer: {index:2}", !6}
!5 = distinct !{!5, !"buffer: {index:3}", !6}
!6 = !{!"!4 = !{!0}"}
"""
RENUMBERED = """\
; ModuleID = '__compute_module_while.1_kernel_module'
source_filename = "__compute_module_while.1_kernel_module"
target triple = "x86_64-unknown-linux-gnu"

@0 = private unnamed_addr constant [7 x i8] c"\\00!3\\80!4", align 4
; a remark on !4: ModuleID = 'x', source_filename = "y"
define float @main(ptr %0) {
  %2 = load float, ptr %0, align 4, !noalias !9
  %3 = load float, ptr %0, align 4, !alias.scope !9, !noalias !2
  ret float %3, !note !{!"!4"}
}

!llvm.module.flags = !{!1, !0}

!0 = !{i32 1, !"xla_dylib_index", i64 1}
!1 = !{i32 2, !"Debug Info Version", i32 3}
!2 = distinct !{!2, !"buffer: {index:2}", !6}
!6 = !{!"!4 = !{!0}"}
!7 = distinct !{!7, !"buffer: {index:3}", !6}
!9 = !{!7}
"""


HLO = """\
HloModule jit_f, is_scheduled=true, entry_computation_layout={(f32[4]{0})->f32[4]{0}}

%region_0.1 (Arg_0.2: f32[], Arg_1.3: f32[]) -> f32[] {
  %Arg_0.2 = f32[] parameter(0)
  %Arg_1.3 = f32[] parameter(1)
  ROOT %sub.4 = f32[] subtract(%Arg_0.2, %Arg_1.3)
}

ENTRY %main.9 (x.1: f32[4]) -> f32[4] {
  %x.1 = f32[4]{0} parameter(0)
  %constant.2 = f32[] constant(0), frontend_attributes={note="%x.1 is no name here"}
  %mul.3 = f32[4]{0} multiply(%x.1, %x.1)
  %folded = f32[] reduce(%mul.3, %constant.2), dimensions={0}, to_apply=%region_0.1
  ROOT %cos.5 = f32[4]{0} broadcast(%folded), dimensions={}
}
"""


@dataclass(frozen=True)
class Threes:
    """What a rule is tried on: an artifact, others that differ from it in nothing that counts, and others
    that differ in what does.
    """

    stage: str
    base: str | Program
    irrelevant: tuple[str | Program, ...]
    relevant: dict[str, str | Program]


THREES = {
    "addresses": Threes(
        "jaxpr",
        JAXPR,
        (
            JAXPR.replace("7f00deadbeef", "55d1c0ffee00"),
            JAXPR.replace("7f00deadbeef", "XXXXXXXXXXXX"),
            JAXPR.replace("XXXXXXXXXXXX", "XXXXXXXX"),  # the heap of an interpreter at a fixed address is low
        ),
        {
            "another function": JAXPR.replace("relu", "gelu"),
            "another shape": JAXPR.replace("f32[2]", "f32[3]"),
            "an equation fewer": JAXPR.replace("    c:", "    _:"),
        },
    ),
    "set-order": Threes(
        "jaxpr",
        SETS,
        (SETS.replace("""'b', "it's", 'a', 1.5, -2""", """-2, 'a', "it's", 'b', 1.5"""),),
        {
            "another element": SETS.replace("'b', \"it's\"", "'c', \"it's\""),
            "one fewer": SETS.replace("'b', \"it's\"", '"it\'s"'),
            "a text for a number": SETS.replace("1.5", "'1.5'"),
            "a tuple": SETS.replace("('y', 'x')", "('x', 'y')"),
            "a set within": SETS.replace("frozenset({'n'}), 'm'", "'m', frozenset({'n'})"),
            "what is no set of constants": SETS.replace("{<f>, <e>}", "{<e>, <f>}"),
        },
    ),
    "instruction-names": Threes(
        "hlo",
        HLO,
        (
            HLO.replace("%mul.3", "%layer_7_mul.31"),
            HLO.replace("x.1:", "Arg_0.7:")
            .replace("%x.1 =", "%Arg_0.7 =")
            .replace("(%x.1, %x.1)", "(%Arg_0.7, %Arg_0.7)"),
            HLO.replace("region_0.1", "add_of_another_target.17"),
            HLO.replace("%Arg_0.2", "%z")
            .replace("%Arg_1.3", "%Arg_0.2")
            .replace("%z", "%Arg_1.3")
            .replace("Arg_0.2: f32[], Arg_1.3", "Arg_1.3: f32[], Arg_0.2"),
        ),
        {
            "another operation": HLO.replace("multiply(", "add("),
            "operands the other way round": HLO.replace("(%Arg_0.2, %Arg_1.3)", "(%Arg_1.3, %Arg_0.2)"),
            "another operand": HLO.replace("(%x.1, %x.1)", "(%x.1, %constant.2)"),
            "another layout": HLO.replace("f32[4]{0} multiply", "f32[4]{} multiply"),
            "another constant": HLO.replace("constant(0)", "constant(1)"),
            "another text": HLO.replace("%x.1 is no", "%x.2 is no"),
            "what is no module": HLO.replace("HloModule", "Module").replace("%mul.3", "%mul.4"),
        },
    ),
    "llvm-module-id": Threes(
        "llvm",
        LLVM,
        (
            LLVM.replace("ModuleID = '__compute_module_while.1", "ModuleID = 'it's_\"m\"_2"),
            LLVM.replace('source_filename = "__compute', 'source_filename = "x'),
        ),
        {
            "constant": LLVM.replace("80!4", "80!5"),
            "instruction": LLVM.replace("load float", "load double"),
            "another target": LLVM.replace("x86_64", "aarch64"),
            "no module": LLVM.partition("\n")[2],
            "a remark that looks like it": LLVM.replace("ModuleID = 'x'", "ModuleID = 'z'"),
            "a file named elsewhere": LLVM.replace("\n!llvm", 'source_filename = "y"\n!llvm'),
        },
    ),
    "llvm-metadata-numbers": Threes(
        "llvm",
        LLVM,
        (RENUMBERED,),
        {
            "contents of a node": LLVM.replace("{index:2}", "{index:4}"),
            "another reference": LLVM.replace("!alias.scope !3", "!alias.scope !4"),
            "two references swapped": LLVM.replace(
                "!alias.scope !3, !noalias !4", "!alias.scope !4, !noalias !3"
            ),
            "a node that is shared": LLVM.replace("!6 = ", "!6 = distinct "),
            "a text that looks like a reference": LLVM.replace('!{!"!4"}', '!{!"!3"}'),
            "a constant that looks like references": LLVM.replace("00!3", "00!4"),
            "a remark that looks like a reference": LLVM.replace("remark on !4", "remark on !3"),
            "a node's text that looks like a node": LLVM.replace("!4 = !{!0}", "!4 = !{!1}"),
            "a flag": LLVM.replace('!"xla_dylib_index", i64 1', '!"xla_dylib_index", i64 0'),
            "order of named nodes": LLVM.replace("!{!0, !1}", "!{!1, !0}"),
        },
    ),
    "module-id": Threes(
        "executable",
        PROGRAM,
        (replace(PROGRAM, module_id=8), replace(PROGRAM, module_id=None)),
        {
            "constant": replace(PROGRAM, constant=b"\x00\x00\x80\xbf"),
            "module name": replace(PROGRAM, name="jit_loss"),
            "entry computation": replace(PROGRAM, entry=4),
            "aliasing": replace(PROGRAM, aliasing=b"\x0a\x02\x08\x01"),
            "donation dropped": replace(PROGRAM, aliasing=b""),
            "layout": replace(PROGRAM, layout=0),
            "shape": replace(PROGRAM, shape=b"\x10\x0b\x1a\x02\x04\x08"),
            "opcode": replace(PROGRAM, opcode="parameter"),
            "header": replace(PROGRAM, header=b"\x0a\x03gpu"),
            "host": replace(PROGRAM, tail=b"guest"),
        },
    ),
    "thunk-module-id": Threes(
        "executable",
        PROGRAM,
        (replace(PROGRAM, thunk_ids=(300, 301, 302)),),
        {
            "kind": replace(PROGRAM, thunk_kind="call"),
            "operation": replace(PROGRAM, op_name="while.4"),
            "another module": replace(PROGRAM, thunk_module="jit_loss"),
        },
    ),
    "object-order": Threes(
        "executable",
        PROGRAM,
        (replace(PROGRAM, objects=PROGRAM.objects[::-1]),),
        {
            "machine code": replace(PROGRAM, objects=(b"\x7fELF two", b"\x7fELF One", b"\x7fELF three")),
            "one fewer": replace(PROGRAM, objects=PROGRAM.objects[:2]),
            "one twice": replace(PROGRAM, objects=(*PROGRAM.objects, PROGRAM.objects[0])),
        },
    ),
    "stack-frames": Threes(
        "executable",
        PROGRAM,
        (replace(PROGRAM, stack_frames=b"\x0a\x0cother/run.py"), replace(PROGRAM, stack_frames=None)),
        {"aliasing beside it": replace(PROGRAM, aliasing=b"\x0a\x02\x08\x02")},
    ),
    "metadata": Threes(
        "executable",
        PROGRAM,
        (
            replace(PROGRAM, metadata=("jit(forward)/scope/mul", "jit(forward)/scope/add")),
            replace(PROGRAM, metadata=(None, None)),
        ),
        {
            "an instruction more": replace(PROGRAM, metadata=(*PROGRAM.metadata, "jit(forward)/mul")),
            "what is no position": replace(PROGRAM, profile=4096),
        },
    ),
    "dump-folder": Threes(
        "executable",
        PROGRAM,
        (built_in(ELSEWHERE), replace(PROGRAM, dumped_to=None)),
        {
            "compiler flag": replace(PROGRAM, xla_options=3),
            "a folder of the user's": replace(PROGRAM, dumped_to="/home/me/dumps"),
        },
    ),
    "dump-option": Threes(
        "executable",
        PROGRAM,
        (built_in(ELSEWHERE), replace(PROGRAM, overrides=PROGRAM.overrides[::2])),
        {
            "value": replace(PROGRAM, overrides=(*PROGRAM.overrides[:2], ("xla_cpu_max_isa", "SSE4_2"))),
            "one more": replace(PROGRAM, overrides=(*PROGRAM.overrides, ("xla_cpu_fast_math", "true"))),
            "another folder": replace(PROGRAM, overrides=(*PROGRAM.overrides, ("xla_dump_to", "/home/me"))),
            "another option in that folder": replace(
                PROGRAM, overrides=(*PROGRAM.overrides, ("xla_gpu_kernels", NOWHERE.dump_folder + "/k"))
            ),
        },
    ),
    "option-order": Threes(
        "executable",
        PROGRAM,
        (replace(PROGRAM, overrides=PROGRAM.overrides[::-1]),),
        {
            "replicas": replace(PROGRAM, replicas=2),
            "values swapped": replace(
                PROGRAM,
                overrides=(("xla_embed_ir", "AVX2"), PROGRAM.overrides[1], ("xla_cpu_max_isa", "true")),
            ),
        },
    ),
}


def artifact(one: str | Program) -> tuple[bytes, Context]:
    """The bytes of an artifact as the compiler gives them, and where it was built."""
    if isinstance(one, str):
        return one.encode(), NOWHERE
    return one.encoded(), Context(ELSEWHERE if one.dumped_to == ELSEWHERE else NOWHERE.dump_folder, MODULE)


def canonical_digest(stage: str, one: str | Program) -> str:
    data, context = artifact(one)
    return digest(canonicalize(stage, data, context)[0])


def executable(program: Program, context: Context = NOWHERE) -> bytes:
    return canonicalize("executable", program.encoded(), context)[0]


# -- the table itself ------------------------------------------------------------------------------


def test_every_rule_is_for_a_stage_and_says_what_it_removes_and_why():
    assert set(RULES) <= set(STAGES)
    every = [rule for rules in RULES.values() for rule in rules]
    assert len({rule.name for rule in every}) == len(every)
    for rule in every:
        assert len(rule.what.split()) >= 3, rule.name
        assert len(rule.why.split()) >= 8, rule.name


def test_every_rule_is_tried():
    assert {(stage, rule.name) for stage, rules in RULES.items() for rule in rules} == {
        (threes.stage, rule) for rule, threes in THREES.items()
    }


def test_what_runs_is_compared_as_it_is():
    assert not {"stablehlo", "object", "output"} & set(RULES)


@pytest.mark.parametrize("rule", THREES)
def test_the_same_input_has_the_same_digest(rule):
    threes = THREES[rule]
    data, context = artifact(threes.base)
    canonical, applied = canonicalize(threes.stage, data, context)
    assert canonicalize(threes.stage, bytes(bytearray(data)), context) == (canonical, applied)
    assert canonicalize(threes.stage, canonical, context) == (canonical, ())


@pytest.mark.parametrize(
    ("rule", "place"), [(rule, place) for rule, one in THREES.items() for place in range(len(one.irrelevant))]
)
def test_an_irrelevant_change_leaves_the_digest(rule, place):
    threes = THREES[rule]
    other = threes.irrelevant[place]
    assert artifact(other)[0] != artifact(threes.base)[0]
    assert canonical_digest(threes.stage, other) == canonical_digest(threes.stage, threes.base)
    applied = {*canonicalize(threes.stage, *artifact(threes.base))[1]}
    applied |= {*canonicalize(threes.stage, *artifact(other))[1]}
    assert rule in applied
    # Without the rule they stay apart: it is this one that makes them equal, and no other is too greedy.
    assert _without(rule, other) != _without(rule, threes.base)


@pytest.mark.parametrize(
    ("rule", "what"), [(rule, what) for rule, one in THREES.items() for what in one.relevant]
)
def test_a_relevant_change_gives_another_digest(rule, what):
    threes = THREES[rule]
    other = threes.relevant[what]
    assert artifact(other)[0] != artifact(threes.base)[0]
    assert canonical_digest(threes.stage, other) != canonical_digest(threes.stage, threes.base)
    if isinstance(other, Program):
        assert executable(other) == other.meant()  # and nothing else of it was touched


def _without(rule: str, one: str | Program) -> bytes:
    data, context = artifact(one)
    for other in RULES[THREES[rule].stage]:
        if other.name != rule:
            data = other.apply(data, context)
    return data


@given(st.sampled_from(["stablehlo", "hlo", "object", "output", "locations", "unheard-of"]), st.binary())
def test_stages_without_rules_are_left_alone(stage, data):
    assert canonicalize(stage, data, NOWHERE) == (data, ())


@given(st.sampled_from(sorted(RULES)), st.binary())
def test_arbitrary_bytes_are_left_alone(stage, data):
    assert canonicalize(stage, data, NOWHERE) == (data, ())


# -- texts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "a at 0x7f00deadbeef",  # no function's address: nothing closes it
        "<f at 0x12>",  # too short for an address
        "c:u32[] = mul a 0x7f00deadbeef>",
        "<f at 0X7F00DEADBEEF>",
        "<f at 0x7f00deadbeef0011aabb>",  # too long
    ],
)
def test_what_is_no_address_stays(text):
    assert canonicalize("jaxpr", text.encode(), NOWHERE) == (text.encode(), ())


def test_all_else_of_a_jaxpr_stays_as_it_is():
    kept = JAXPR.replace("7f00deadbeef", "").replace("XXXXXXXXXXXX", "")
    assert canonicalize("jaxpr", JAXPR.encode(), NOWHERE)[0] == kept.encode()


def test_metadata_is_numbered_as_it_is_used_and_all_else_stays_as_it_is():
    kept = LLVM.replace("'__compute_module_while.1_kernel_module'", "", 1)
    kept = kept.replace('"__compute_module_while.1_kernel_module"', "", 1)
    for old, new in (
        ("4, !noalias !3\n", "4, !noalias !0\n"),
        ("!alias.scope !3, !noalias !4", "!alias.scope !0, !noalias !1"),
        ("flags = !{!0, !1}", "flags = !{!2, !3}"),
    ):
        assert old in kept
        kept = kept.replace(old, new)
    kept = kept[: kept.index("!0 = ")] + (
        "!0 = !{!4}\n"
        '!1 = distinct !{!1, !"buffer: {index:2}", !5}\n'
        '!2 = !{i32 2, !"Debug Info Version", i32 3}\n'
        '!3 = !{i32 1, !"xla_dylib_index", i64 1}\n'
        '!4 = distinct !{!4, !"buffer: {index:3}", !5}\n'
        '!5 = !{!"!4 = !{!0}"}\n'
    )
    assert canonicalize("llvm", LLVM.encode(), NOWHERE)[0].decode() == kept


@pytest.mark.parametrize(
    "text",
    [
        "ret void, !dbg !7\n!3 = !{}\n",
        "ret void, !dbg !3\n!3 = !{}\n!3 = !{i32 1}\n",
        "!3 = !{!4}\n",
        'c"!3", !"!3" ; !3\n',
        " !3 = !{}\n",
        "!3abc = !{}\n",
    ],
    ids=["no such node", "two of one number", "node without its node", "texts", "indented", "a name"],
)
def test_metadata_that_is_no_whole_module_stays(text):
    assert canonicalize("llvm", text.encode(), NOWHERE) == (text.encode(), ())


@given(st.data(), st.integers(1, 12))
def test_no_numbering_of_metadata_counts(data, count):
    # Nodes refer to any nodes, themselves included; some may be referred to by nothing.
    places = st.integers(0, count - 1)
    refers = [data.draw(st.lists(places, max_size=3)) for _ in range(count)]
    used = data.draw(st.lists(places, max_size=5))

    def module(numbers: list[int]) -> str:
        uses = "".join(f"  load ptr %{place}, !x !{numbers[one]}\n" for place, one in enumerate(used))
        nodes = {
            numbers[place]: f'!{{!"{place} !0", {", ".join(f"!{numbers[one]}" for one in others)}}}'
            for place, others in enumerate(refers)
        }
        return uses + "".join(f"!{number} = {nodes[number]}\n" for number in sorted(nodes))

    reached, waiting = set(), [*used]
    while waiting:
        one = waiting.pop()
        waiting += [] if one in reached else refers[one]
        reached.add(one)
    left, right = (
        canonicalize("llvm", module(data.draw(st.permutations(range(count)))).encode(), NOWHERE)[0]
        for _ in range(2)
    )
    if len(reached) == count:
        assert left == right
    assert canonicalize("llvm", left, NOWHERE) == (left, ())
    assert sorted(re.findall(rb'"(\d+) !0"', left)) == sorted(b"%d" % place for place in range(count))


# -- executables -----------------------------------------------------------------------------------


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


def test_rules_are_reported_in_the_order_in_which_they_were_applied():
    program = replace(PROGRAM, overrides=PROGRAM.overrides[::-1])
    applied = canonicalize("executable", program.encoded(), NOWHERE)[1]
    assert applied == tuple(rule.name for rule in RULES["executable"])


def test_a_computation_and_an_instruction_of_one_name_are_two_things():
    module = """HloModule m

%{0} (a: f32[], b: f32[]) -> f32[] {{
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}}

ENTRY %main (x: f32[4], y: f32[]) -> f32[] {{
  %x = f32[4] parameter(0)
  %y = f32[] parameter(1)
  ROOT %{1} = f32[] reduce(%x, %y), dimensions={{0}}, to_apply=%{0}, called_computations={{%{0}, %{0}}}
}}
"""
    forms = {
        canonicalize("hlo", module.format(*names).encode(), NOWHERE)[0]
        for names in (("reduce.0", "reduce.0"), ("region", "reduce.0"), ("add", "c.1"))
    }
    (form,) = forms
    assert b"to_apply=%computation.0, called_computations={%computation.0, %computation.0}" in form
    assert b"ROOT %reduce.0 = " in form
