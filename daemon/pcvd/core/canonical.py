"""Canonical forms: named rules, per stage, that remove from an artifact what carries no meaning.

Two builds agree at a stage when their canonical bytes are equal. A rule may remove only what cannot change
what runs: ids, the order of files that the linker does not care about, source positions, temporary paths.
Constants, layouts, aliasing and donation, precision and shardings stay. Each rule says why what it removes is
meaningless; each has its test. Bytes that a rule does not understand stay as they are, so the worst that can
happen is a difference too many, never one too few.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcvd.core import wire
from pcvd.core.errors import WireError
from pcvd.core.wire import BYTES, VARINT, Field

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Context:
    """What rules need to know of the build: the folder it dumped into, and its HLO module's name."""

    dump_folder: str
    module: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One named step towards a canonical form. `why` tells why what it removes carries no meaning."""

    name: str
    why: str
    apply: Callable[[bytes, Context], bytes]


def canonicalize(stage: str, data: bytes, context: Context) -> tuple[bytes, tuple[str, ...]]:
    """The canonical bytes of one part of an artifact, and the names of the rules that changed something."""
    applied = []
    for rule in RULES.get(stage, ()):
        changed = rule.apply(data, context)
        if changed != data:
            applied.append(rule.name)
            data = changed
    return data, tuple(applied)


def _substitute(pattern: str, replacement: str) -> Callable[[bytes, Context], bytes]:
    compiled = re.compile(pattern.encode(), re.MULTILINE)

    def apply(data: bytes, _context: Context) -> bytes:
        return compiled.sub(replacement.encode(), data)

    return apply


# -- XLA:CPU's serialized executable: a length-delimited header of PjRt-IFRT, then ExecutableAndOptionsProto

_COMPILED = (1,)  # serialized_executable: CompilationResultProto
_MODULE = (1, 1, 1)  # hlo_module.hlo_module: HloModuleProto
_INSTRUCTIONS = (1, 1, 1, 3, 2)  # its computations' instructions
_THUNKS = (1, 6)  # thunk_sequence
_DEBUG_OPTIONS = ((1, 1, 2, 14), (2, 3, 3))  # in the module's config, and in the compile options
_OPTIONS = (2,)  # compile_options: CompileOptionsProto
_DEEPEST = 200  # messages within messages; protocol buffers themselves stop at 100
_ID, _STACK_FRAMES, _METADATA, _OBJECTS, _XLA_DUMP_TO, _OVERRIDES = 5, 17, 7, 8, 109, 7


def _edit(data: bytes, path: tuple[int, ...], change: Callable[[list[Field]], list[Field]]) -> bytes:
    """`data` with `change` applied to the fields of every message that stands at `path`."""
    fields = wire.decode(data)
    if wire.encode(fields) != data:
        raise WireError("not the encoding that protocol buffers are written in")
    if not path:
        return wire.encode(change(fields))
    return wire.encode(
        [
            Field(field.number, BYTES, _edit(field.data, path[1:], change))
            if field.number == path[0] and field.kind == BYTES
            else field
            for field in fields
        ]
    )


def _in_executable(
    *paths: tuple[int, ...], change: Callable[[list[Field]], list[Field]]
) -> Callable[[bytes, Context], bytes]:
    def apply(data: bytes, _context: Context) -> bytes:
        try:
            size, at = wire.read_varint(data, 0)
            header, body = data[: at + size], data[at + size :]
            for path in paths:
                body = _edit(body, path, change)
        except WireError:
            return data  # a format of another platform or version: compared as it is
        return header + body

    return apply


def _without(number: int, kind: int = BYTES) -> Callable[[list[Field]], list[Field]]:
    return lambda fields: [field for field in fields if (field.number, field.kind) != (number, kind)]


def _sorted(number: int) -> Callable[[list[Field]], list[Field]]:
    def change(fields: list[Field]) -> list[Field]:
        ordered = iter(
            sorted((field for field in fields if field.number == number), key=lambda field: field.data)
        )
        return [next(ordered) if field.number == number else field for field in fields]

    return change


def _without_thunk_module_ids(data: bytes, context: Context) -> bytes:
    module = context.module.encode()

    def strip(message: bytes, depth: int = 0) -> bytes:
        try:
            fields = wire.decode(message)
        except WireError:
            return message
        if depth > _DEEPEST or wire.encode(fields) != message:
            return message
        # ThunkProto.Info is {op_name, module_name, module_id}; thunks nest (loops, calls, conditionals),
        # their info does not.
        if (
            [field.number for field in fields] == [1, 2, 3]
            and fields[1].value == module
            and fields[2].kind == VARINT
        ):
            return wire.encode(fields[:2])
        inner = [
            Field(field.number, BYTES, strip(field.data, depth + 1)) if field.kind == BYTES else field
            for field in fields
        ]
        return wire.encode(inner) if inner != fields else message

    def change(fields: list[Field]) -> list[Field]:
        return [
            Field(field.number, BYTES, strip(field.data)) if field.kind == BYTES else field
            for field in fields
        ]

    return _in_executable(_THUNKS, change=change)(data, context)


RULES: dict[str, tuple[Rule, ...]] = {
    "jaxpr": (
        Rule(
            "addresses",
            "functions inside a jaxpr are printed with their address in this process's memory",
            _substitute(r" at 0x[0-9a-f]{6,16}(?=>)", " at 0x"),
        ),
    ),
    "llvm": (
        Rule(
            "llvm-module-id",
            "the first lines of LLVM IR name the file it was parsed from",
            _substitute(r"^(; ModuleID = |source_filename = ).*$", r"\1"),
        ),
    ),
    "executable": (
        Rule(
            "module-id",
            "XLA numbers the modules that a process compiles, in the order in which compilations start",
            _in_executable(_MODULE, change=_without(_ID, VARINT)),
        ),
        Rule("thunk-module-id", "every thunk repeats the module's number", _without_thunk_module_ids),
        Rule(
            "object-order",
            "object files stand in the order in which codegen threads finished; they are linked by symbol",
            _in_executable(_COMPILED, change=_sorted(_OBJECTS)),
        ),
        Rule(
            "stack-frames",
            "the table of source files, functions and lines of whoever called the compiler",
            _in_executable(_MODULE, change=_without(_STACK_FRAMES)),
        ),
        Rule(
            "metadata",
            "source positions and scope names of instructions",
            _in_executable(_INSTRUCTIONS, change=_without(_METADATA)),
        ),
        Rule(
            "dump-folder",
            "where this build's dumps were written; XLA leaves it out of its own cache key",
            _in_executable(*_DEBUG_OPTIONS, change=_without(_XLA_DUMP_TO)),
        ),
        Rule(
            "dump-option",
            "the same folder again, among the compiler options as they were passed",
            lambda data, context: _in_executable(
                _OPTIONS,
                change=lambda fields: [
                    field
                    for field in fields
                    if not (
                        field.number == _OVERRIDES
                        and context.dump_folder
                        and context.dump_folder.encode() in field.data
                    )
                ],
            )(data, context),
        ),
        Rule(
            "option-order",
            "compiler options are a map: they are written in the order of a hash table seeded per process",
            _in_executable(_OPTIONS, change=_sorted(_OVERRIDES)),
        ),
    ),
}
"""Per stage, the rules in the order in which they are applied. Stages that are not listed are compared as
they are.
"""
