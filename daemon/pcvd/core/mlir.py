"""StableHLO as `as_text(debug_info=True)` prints it: the operations apart from where they come from.

Locations stand behind operations and arguments (`loc(#loc12)`), mostly as names of a table at the text's end:
`"scope"(…)` names one, `callsite(callee at caller)` is a stack, `"file":line:column` a place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pcvd.core.frames import innermost
from pcvd.core.hlo import STRING, Source

_NESTED = rf"(?:[^()\"\n]++|{STRING}|\((?:[^()\"\n]++|{STRING}|\((?:[^()\"\n]++|{STRING})*+\))*+\))*+"
_LOCATION = re.compile(rf"{STRING}|(?:^|(?<=[ ,(]))loc\(({_NESTED})\)")
_NAMED = re.compile(r"(#\w+) = loc\((.*)\)$")
_PLACE = re.compile(rf"({STRING}):(\d{{1,9}})")
_SCOPE = re.compile(rf"({STRING})(?:\((.*)\))?$")
_STEP = re.compile(rf"{STRING}|[()\[\]]| at |,")
_FUNCTION = re.compile(r"\s+func\.func (?:\w+ )?@([\w.$-]+|" + STRING + r")\(")
_CONSTANT = re.compile(r"\s+(%[\w$.-]+) = stablehlo\.constant ")
_CALL = re.compile(r"\bcall @([\w.$-]+|" + STRING + r")\(")
_ESCAPE = re.compile(r"\\([0-9A-Fa-f]{2}|.)")
_MOST_STEPS = 10_000  # a location may name itself; no stack is so deep


@dataclass(frozen=True, slots=True)
class Operation:
    """One printed line without locations, and the location it ends with; empty where that stands with the
    end of the operation's regions.
    """

    code: str
    location: str


class Listing:
    """A printed module: its lines without the table of locations, and that table."""

    def __init__(self, text: str) -> None:
        self._table: dict[str, str] = {}
        self.operations: list[Operation] = []
        for line in text.splitlines():
            if line.startswith("#") and (named := _NAMED.match(line)):
                self._table[named[1]] = named[2]
            else:
                self.operations.append(_operation(line))

    def source(self, number: int, root: str) -> Source | None:
        """The line of the project under `root` that operation `number` comes from: where the operation has
        none (a function of JAX's own), that of the call that leads there.
        """
        op_name = ""
        seen: set[str] = set()
        while True:
            name, stack = self._stack(self._location(self._user(number)))
            op_name = op_name or name
            file, line = innermost(reversed(stack), root)
            if file is not None:
                return Source(file, line, op_name)
            function = self._function(number)
            if function is None or function in seen:
                return Source(None, None, op_name) if op_name else None
            seen.add(function)
            caller = self._caller(function)
            if caller is None:
                return Source(None, None, op_name) if op_name else None
            number = caller

    def _location(self, number: int) -> str:
        """The location of an operation: on its own line, or on the one that closes its regions."""
        depth = _indent(self.operations[number].code)
        for operation in self.operations[number:]:
            if operation.location and _indent(operation.code) <= depth:
                return operation.location
        return ""

    def _user(self, number: int) -> int:
        """The operation that uses a constant first: constants only tell who called the traced function."""
        if (constant := _CONSTANT.match(self.operations[number].code)) is None:
            return number
        used = re.compile(rf"{re.escape(constant[1])}(?![\w$.-])")
        for user in range(number + 1, len(self.operations)):
            code = self.operations[user].code
            if is_head(code):
                break
            if used.search(code):
                return user
        return number

    def _function(self, number: int) -> str | None:
        for operation in self.operations[number::-1]:
            if found := _FUNCTION.match(operation.code):
                return found[1]
        return None

    def _caller(self, function: str) -> int | None:
        for number, operation in enumerate(self.operations):
            if (found := _CALL.search(operation.code)) and found[1] == function:
                return number
        return None

    def _stack(self, location: str) -> tuple[str, list[tuple[str, int]]]:
        """The scope that a location names, and its files and lines, innermost first."""
        scope, stack, ahead = "", [], [location]
        for _ in range(_MOST_STEPS):
            if not ahead:
                break
            one = ahead.pop().strip()
            one = self._table.get(one, one)
            if place := _PLACE.match(one):
                stack.append((_text(place[1]), int(place[2])))
            elif named := _SCOPE.match(one):
                scope = scope or _text(named[1])
                ahead.append(named[2] or "")
            elif one.startswith("callsite(") and one.endswith(")"):
                ahead += _split(one[len("callsite(") : -1], " at ")[::-1]
            elif one.startswith("fused") and one.endswith("]"):
                ahead += _split(one[one.find("[") + 1 : -1], ",")[::-1]
            elif one.startswith("#"):
                ahead.append(self._table.get(one, ""))
        return scope, stack


def is_head(code: str) -> bool:
    """Whether a line begins the module or a function."""
    return code.startswith("module ") or _FUNCTION.match(code) is not None


def _operation(line: str) -> Operation:
    if "loc(" not in line:
        return Operation(line.rstrip(), "")
    code, at, location = [], 0, ""
    for found in _LOCATION.finditer(line):
        if found[1] is not None:
            code.append(line[at : found.start()].rstrip(" "))
            at, location = found.end(), found[1]
    if line[at:].strip():
        location = ""  # it belongs to an argument
    return Operation("".join([*code, line[at:]]).rstrip(), location)


def _indent(code: str) -> int:
    return len(code) - len(code.lstrip())


def _split(text: str, separator: str) -> list[str]:
    """The parts of `text` between separators that stand in no parentheses and no string."""
    parts, at, depth = [], 0, 0
    for found in _STEP.finditer(text):
        if found[0] in ("(", "["):
            depth += 1
        elif found[0] in (")", "]"):
            depth -= 1
        elif found[0] == separator and depth == 0:
            parts.append(text[at : found.start()])
            at = found.end()
    return [*parts, text[at:]]


def _text(quoted: str) -> str:
    """A quoted string's text: MLIR writes what is not printable ASCII as its bytes, in hexadecimal."""
    text = quoted[1:-1]
    if "\\" not in text:
        return text
    data = _ESCAPE.sub(
        lambda found: chr(int(found[1], 16)) if len(found[1]) == 2 else found[1],
        text.encode().decode("latin-1"),
    )
    return data.encode("latin-1", "replace").decode("utf-8", "replace")


def calls_back(text: str) -> bool:
    """Whether a printed module calls into the process that runs it, so that what it does is not all in it.

    JAX lowers callbacks to custom calls such as `xla_ffi_python_cpu_callback`; whatever has that word in its
    name is taken for one.
    """
    return "callback" in text and any(
        "custom_call" in line and "callback" in line for line in text.splitlines()
    )
