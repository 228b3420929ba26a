"""Names of instructions and computations in HLO: XLA makes them up, they say nothing of what is computed."""

from __future__ import annotations

import re
from collections import Counter

from pcvd.core.hlo import Module
from pcvd.core.rule import Context, Rule

# A name stands behind a %, and as a parameter in a computation's head. A quoted string may look like one.
_NAME = re.compile(rb'"(?:[^"\\\n]|\\.)*+"|%([A-Za-z_][\w.-]*)')
_HEAD = re.compile(rb"^(?:ENTRY )?%[\w.-]+ \(.*\{$", re.MULTILINE)
_PARAMETER = re.compile(rb"(?<=[( ])([A-Za-z_][\w.-]*)(?=: )")


def _named_anew(data: bytes, _context: Context) -> bytes:
    if not data.startswith(b"HloModule "):
        return data
    module = Module.parse(data.decode(errors="replace"))
    names: dict[bytes, bytes] = {}
    counts: Counter[str] = Counter()

    def name_anew(found: re.Match[bytes]) -> bytes:
        name = found[1]
        if name is None:
            return found[0]
        if name not in names:
            instruction = module.instructions.get(name.decode())
            kind = "computation" if instruction is None else instruction.opcode
            names[name] = f"%{kind}.{counts[kind]}".encode()
            counts[kind] += 1
        return names[name]

    headed = _HEAD.sub(lambda head: _PARAMETER.sub(rb"%\1", head[0]), data)
    return _NAME.sub(name_anew, headed)


INSTRUCTION_NAMES = Rule(
    name="instruction-names",
    what="the names of instructions and computations; they are named after their opcodes, as they come",
    why="XLA names them after the scopes of whoever traced them first, which may be another target, and by a"
    " count of what its passes make and throw away again",
    apply=_named_anew,
)
