"""Optimized HLO as XLA prints it, read far enough to lead from a kernel back to a line of the user's model.

Tolerant by rule: XLA's text changes from version to version, and an explanation that lacks a line is worth
more than none. What this parser cannot read it leaves out; it raises on no input, and takes time linear in
its length.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from pcvd.core.frames import innermost

STRING = r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
"""A quoted string. Users name scopes and functions: such a text may look like anything, even like HLO."""

METADATA = rf'metadata=\{{(?:[^{{}}"]++|{STRING}|\{{(?:[^{{}}"]++|{STRING})*+\}})*+\}}'
"""Where an instruction comes from: scope name, source position or stack frame. Says nothing of what it
does.
"""

_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([^\s=(]+) = ")
_COMPUTATION = re.compile(r"(ENTRY )?%?([^\s(]+) (?:\([^\n]*)?\{$")
_OPCODE = re.compile(r" ?([a-z][\w-]*)\(")
_PARENTHESIS = re.compile(r"[()]")
APPLIES = r"\b(?:calls|to_apply|condition|body|select|scatter|comparator|\w+_computations?)="
"""How an attribute begins that names computations, one or a list in braces."""

_ATTRIBUTE = re.compile(rf"{STRING}|{METADATA}|{APPLIES}(\{{[^{{}}]*+\}}|%?[\w.\-]++)")
_METADATA_OR_STRING = re.compile(rf"{STRING}|({METADATA})")
_OPERAND = re.compile(r"%([\w.\-]+)")
_MODULE = re.compile(r"HloModule ([^\s,]+)")
_ENTRY = re.compile(r"(\d+) (?:\"(.*)\"|\{(.*)\})$")
_PAIR = re.compile(rf"(\w+)=(?:({STRING})|(\d+))")
_NUMBER = re.compile(r"(\w+)=(\d+)")
_ESCAPE = re.compile(r"\\([0-7]{1,3}|.)")
_TABLES = ("FileNames", "FunctionNames", "FileLocations", "StackFrames")


class Source(NamedTuple):
    """Where in the user's project something comes from: a file relative to the root, its line, and the scope
    name that JAX gave it. Without a place in the project, only the scope name.
    """

    file: str | None
    line: int | None
    op_name: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of a computation. `operands` names the instructions whose results it takes, `called` the
    computations it applies, in the order in which they are printed; `file` and `line` stand where older
    versions of XLA print them in place of a `frame`.
    """

    name: str
    opcode: str
    computation: str
    operands: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    op_name: str = ""
    frame: int = 0
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Module:
    """A module: instructions by name, the names that each computation holds in its order, and the stack
    frames (file, line, number of the caller's frame; 0 for none).
    """

    name: str
    entry: str
    instructions: dict[str, Instruction] = field(default_factory=dict)
    computations: dict[str, tuple[str, ...]] = field(default_factory=dict)
    frames: dict[int, tuple[str, int, int]] = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> Module:
        """The module that `text` prints, as far as it can be read."""
        name, entry, computation, table = "", "", "", ""
        instructions: dict[str, Instruction] = {}
        held: dict[str, list[str]] = {}
        tables: dict[str, dict[int, str]] = {title: {} for title in _TABLES}
        for line in text.splitlines():
            if line[:1].isspace():
                instruction = _instruction(line, computation)
                if instruction is not None:
                    instructions[instruction.name] = instruction
                    held.setdefault(computation, []).append(instruction.name)
            elif line in tables:
                table = line
            elif table and (row := _ENTRY.match(line)):
                tables[table][_number(row[1])] = row[2] if row[2] is not None else row[3]
            elif (head := _MODULE.match(line)) and not name:
                name = head[1]
            elif line.endswith("{") and (head := _COMPUTATION.match(line)):
                table, computation = "", head[2]
                held.setdefault(computation, [])
                entry = computation if head[1] else entry
        return Module(
            name, entry, instructions, {key: tuple(names) for key, names in held.items()}, _frames(tables)
        )

    def stack(self, instruction: Instruction) -> list[tuple[str, int]]:
        """The files and lines that lead to `instruction`, innermost first."""
        if instruction.file:
            return [(instruction.file, instruction.line)]
        found, number, seen = [], instruction.frame, set()
        while number in self.frames and number not in seen:
            seen.add(number)
            file, line, number = self.frames[number]
            found.append((file, line))
        return found

    def callers(self, computation: str) -> list[Instruction]:
        """The instructions that apply `computation`."""
        return [one for one in self.instructions.values() if computation in one.called]

    def source_of(self, instruction: Instruction, root: str) -> Source | None:
        """The line of the project under `root` that `instruction` comes from.

        That is its own innermost frame there. An instruction that has none (the compiler made it up) stands
        for what it applies: the line that most of the instructions in there come from.
        """
        file, line = innermost(reversed(self.stack(instruction)), root)
        if file is not None:
            return Source(file, line, instruction.op_name)
        within = [(one, innermost(reversed(self.stack(one)), root)) for one in self._within(instruction)]
        counts = Counter(place for _, place in within if place[0] is not None)
        op_name = instruction.op_name or next((one.op_name for one, _ in within if one.op_name), "")
        if counts:
            return Source(*counts.most_common(1)[0][0], op_name)
        return Source(None, None, op_name) if op_name else None

    def near(self, instruction: Instruction, root: str) -> Source | None:
        """The source of what stands nearest before `instruction`, else after it, in the flow of values: the
        compiler's own copies and broadcasts have none.
        """
        users: dict[str, list[str]] = {}
        for one in self.instructions.values():
            for operand in one.operands:
                users.setdefault(operand, []).append(one.name)
        operands = {one.name: list(one.operands) for one in self.instructions.values()}
        for ways in (operands, users):
            ahead, seen = deque([instruction.name]), {instruction.name}
            while ahead:
                for name in ways.get(ahead.popleft(), ()):
                    if name in seen or name not in self.instructions:
                        continue
                    source = self.source_of(self.instructions[name], root)
                    if source is not None and source.file is not None:
                        return source
                    seen.add(name)
                    ahead.append(name)
        return None

    def _within(self, instruction: Instruction) -> list[Instruction]:
        """All that the computations hold which `instruction` applies, directly or through others."""
        found, seen, ahead = [], set(), list(instruction.called[::-1])
        while ahead:
            computation = ahead.pop()
            if computation in seen:
                continue
            seen.add(computation)
            for name in self.computations.get(computation, ()):
                found.append(self.instructions[name])
                ahead.extend(self.instructions[name].called)
        return found


def _instruction(line: str, computation: str) -> Instruction | None:
    head = _INSTRUCTION.match(line)
    if head is None:
        return None
    opcode = _OPCODE.match(line, _end_of_type(line, head.end()))
    if opcode is None:
        return None
    metadata, operands, called = "", [], []
    if opcode[1] == "constant":  # a literal may be megabytes long, and applies nothing
        for found in _METADATA_OR_STRING.finditer(line, opcode.end()):
            metadata = found[1] or metadata
    else:
        end = _closing(line, opcode.end() - 1)
        operands = _OPERAND.findall(line, opcode.end(), end)
        for found in _ATTRIBUTE.finditer(line, end):
            if found[1] is not None:
                called += [name.strip().lstrip("%") for name in found[1].strip("{}").split(",")]
            elif found[0].startswith("metadata="):
                metadata = found[0]
    pairs = {key: text[1:-1] if text else number for key, text, number in _PAIR.findall(metadata)}
    return Instruction(
        head[1],
        opcode[1],
        computation,
        tuple(operands),
        tuple(name for name in called if name),
        _unescape(pairs.get("op_name", "")),
        _number(pairs.get("stack_frame_id", "")),
        _unescape(pairs.get("source_file", "")),
        _number(pairs.get("source_line", "")),
    )


def _end_of_type(line: str, start: int) -> int:
    if line.startswith("(", start):
        return _closing(line, start)
    end = line.find(" ", start)
    return end if end >= 0 else len(line)


def _closing(line: str, start: int) -> int:
    """Behind the parenthesis that closes the one at `start`."""
    depth = 0
    for parenthesis in _PARENTHESIS.finditer(line, start):
        depth += 1 if parenthesis[0] == "(" else -1
        if depth == 0:
            return parenthesis.end()
    return len(line)


def _frames(tables: dict[str, dict[int, str]]) -> dict[int, tuple[str, int, int]]:
    places = {number: _numbers(row) for number, row in tables["FileLocations"].items()}
    frames = {number: _numbers(row) for number, row in tables["StackFrames"].items()}
    # XLA prints one more than the number of the caller's frame, so that an outermost frame has 1. Should a
    # version print the number itself, an outermost frame would have 0 or none.
    shift = 1 if all(row.get("parent_frame_id", 0) for row in frames.values()) else 0
    found = {}
    for number, row in frames.items():
        place = places.get(row.get("file_location_id", 0), {})
        file = _unescape(tables["FileNames"].get(place.get("file_name_id", 0), ""))
        found[number] = (file, place.get("line", 0), row.get("parent_frame_id", 0) - shift)
    return found


def _numbers(row: str) -> dict[str, int]:
    return {key: _number(value) for key, value in _NUMBER.findall(row)}


def _number(digits: str) -> int:
    # int() refuses thousands of digits; no line has so many.
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else 0


def _unescape(text: str) -> str:
    """`text` without C's escapes: letters beyond ASCII come as their UTF-8 bytes, in octal."""
    if "\\" not in text:
        return text
    data = _ESCAPE.sub(
        lambda found: chr(int(found[1], 8) & 255) if found[1][0] in "01234567" else found[1],
        text.encode().decode("latin-1"),
    )
    return data.encode("latin-1", "replace").decode("utf-8", "replace")
