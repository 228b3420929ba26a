"""Names of instructions and computations in HLO: XLA makes them up, they say nothing of what is computed."""

from __future__ import annotations

import re
from collections import Counter

from pcvd.core.hlo import APPLIES, Module
from pcvd.core.rule import Context, Rule

# A name stands behind a %, and as a parameter in a computation's head. A quoted string may look like one.
_NAMED = re.compile(
    rb'"(?:[^"\\\n]|\\.)*+"'
    rb"|^(?P<entry>(?:ENTRY )?)(?P<defined>%[\w.-]++)(?P<head> \(.*\{)$"
    rb"|(?P<applies>" + APPLIES.encode() + rb")(?P<applied>\{[^{}]*+\}|%[\w.-]++)"
    rb"|%(?P<instruction>[A-Za-z_][\w.-]*)",
    re.MULTILINE,
)
_NAME = re.compile(rb"%([A-Za-z_][\w.-]*)")
_PARAMETER = re.compile(rb"(?<=[( ])([A-Za-z_][\w.-]*)(?=: )")


class _Names:
    """New names for old ones. What stands where a computation does is one, though an instruction may have the
    same name: they are two things.
    """

    def __init__(self, module: Module) -> None:
        self._module = module
        self._known: dict[tuple[bytes, bool], bytes] = {}
        self._counts: Counter[str] = Counter()

    def computations(self, text: bytes) -> bytes:
        """`text`, which names computations."""
        return _NAME.sub(lambda found: self._new(found[1], applied=True), text)

    def instruction(self, name: bytes) -> bytes:
        """The new name of an instruction, or of a parameter."""
        return self._new(name, applied=False)

    def _new(self, name: bytes, *, applied: bool) -> bytes:
        if (name, applied) not in self._known:
            instruction = None if applied else self._module.instructions.get(name.decode())
            kind = "computation" if instruction is None else instruction.opcode
            self._known[name, applied] = f"%{kind}.{self._counts[kind]}".encode()
            self._counts[kind] += 1
        return self._known[name, applied]


def _named_anew(data: bytes, _context: Context) -> bytes:
    if not data.startswith(b"HloModule "):
        return data
    names = _Names(Module.parse(data.decode(errors="replace")))

    def name_anew(found: re.Match[bytes]) -> bytes:
        if found["instruction"] is not None:
            return names.instruction(found["instruction"])
        if found["applies"] is not None:
            return found["applies"] + names.computations(found["applied"])
        if found["defined"] is not None:
            head = _PARAMETER.sub(lambda one: names.instruction(one[1]), found["head"])
            return found["entry"] + names.computations(found["defined"]) + head
        return found[0]

    return _NAMED.sub(name_anew, data)


INSTRUCTION_NAMES = Rule(
    name="instruction-names",
    what="the names of instructions and computations; they are named after their opcodes, as they come",
    why="XLA names them after the scopes of whoever traced them first, which may be another target, and by a"
    " count of what its passes make and throw away again",
    apply=_named_anew,
)
