"""Canonical forms: named rules, per stage, that remove from an artifact what carries no meaning.

Two builds agree at a stage when their canonical bytes are equal. A rule may remove only what cannot change
what runs: ids, the order of files that the linker does not care about, source positions, temporary paths.
Constants, layouts, aliasing and donation, precision and shardings stay. Each rule says what it removes and
why that is meaningless; each has its test. Bytes that a rule does not understand stay as they are, so the
worst that can happen is a difference too many, never one too few.
"""

from __future__ import annotations

import re

from pcvd.core.executable import EXECUTABLE
from pcvd.core.llvm import LLVM
from pcvd.core.renaming import INSTRUCTION_NAMES
from pcvd.core.rule import Context, Rule

__all__ = ["RULES", "Context", "Rule", "canonicalize"]

# JAX itself writes an X for every digit of some addresses, and how many digits there are differs, too.
_ADDRESS = re.compile(rb"(?<= at 0x)(?:[0-9a-f]{6,16}|X{6,16})(?=>)")
# What `repr` prints of a text, a number or a name; anything longer is no element that this module can order.
_ELEMENT = rb"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|[\w.+-]+"""
_ELEMENTS = re.compile(_ELEMENT)
_FROZENSET = re.compile(rb"frozenset\(\{((?:%s)(?:, (?:%s))*)\}\)" % (_ELEMENT, _ELEMENT))


def canonicalize(stage: str, data: bytes, context: Context) -> tuple[bytes, tuple[str, ...]]:
    """The canonical bytes of one part of an artifact, and the names of the rules that changed something."""
    applied = []
    for rule in RULES.get(stage, ()):
        changed = rule.apply(data, context)
        if changed != data:
            applied.append(rule.name)
            data = changed
    return data, tuple(applied)


def _in_order(found: re.Match[bytes]) -> bytes:
    return b"frozenset({%s})" % b", ".join(sorted(_ELEMENTS.findall(found[1])))


RULES: dict[str, tuple[Rule, ...]] = {
    "jaxpr": (
        Rule(
            "addresses",
            "where a function inside the jaxpr lies in memory",
            "it differs from process to process; which function it is, the part `callables.txt` says",
            lambda data, _: _ADDRESS.sub(b"", data),
        ),
        Rule(
            "set-order",
            "the order in which a frozenset's elements are printed",
            "it is the order of their hashes, which the process's hash seed decides; a set has none",
            lambda data, _: _FROZENSET.sub(_in_order, data),
        ),
    ),
    "hlo": (INSTRUCTION_NAMES,),
    "llvm": LLVM,
    "executable": EXECUTABLE,
}
"""Per stage, the rules in the order in which they are applied. Stages that are not listed are compared as
they are: no version of XLA or JAX was seen to write into them what differs from build to build.
"""
