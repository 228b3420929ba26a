"""Canonical forms: what a rule removes, what it must never hide, and that it leaves alone what it does not
know.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from artifacts import ELSEWHERE, LLVM, MODULE, NOWHERE, PROGRAM, RENUMBERED, Program, executable
from hypothesis import given
from hypothesis import strategies as st

from pcvd.core.builds import STAGES
from pcvd.core.canonical import RULES, Context, canonicalize
from pcvd.core.model import digest


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


def test_rules_are_reported_in_the_order_in_which_they_were_applied():
    program = replace(PROGRAM, overrides=PROGRAM.overrides[::-1])
    applied = canonicalize("executable", program.encoded(), NOWHERE)[1]
    assert applied == tuple(rule.name for rule in RULES["executable"])


# -- jaxprs ----------------------------------------------------------------------------------------


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
