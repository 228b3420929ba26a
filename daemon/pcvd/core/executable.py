"""The canonical form of XLA:CPU's serialized executable: a length-delimited header of PjRt-IFRT, then an
ExecutableAndOptionsProto.

Nothing is looked for by its contents alone: each rule names the place of a field and its type, and a message
that is written in another way than protocol buffers write it stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcvd.core import wire
from pcvd.core.errors import WireError
from pcvd.core.rule import Context, Rule
from pcvd.core.wire import BYTES, VARINT, Field

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[list[Field], Context], list[Field]]

_COMPILED = (1,)  # serialized_executable: CompilationResultProto
_MODULE = (1, 1, 1)  # hlo_module.hlo_module: HloModuleProto
_INSTRUCTIONS = (1, 1, 1, 3, 2)  # its computations' instructions
_THUNKS = (1, 6)  # thunk_sequence
_DEBUG_OPTIONS = ((1, 1, 2, 14), (2, 3, 3))  # in the module's config, and in the compile options
_OPTIONS = (2,)  # compile_options: CompileOptionsProto
_DEEPEST = 100  # messages within messages: where protocol buffers themselves stop
_ID, _STACK_FRAMES, _METADATA, _OBJECTS, _XLA_DUMP_TO, _OVERRIDES = 5, 17, 7, 8, 109, 7
# OpMetadata: op_type, op_name, source_file, source_line, stack_frame_id, and the line's end and columns.
_POSITION = {(number, BYTES) for number in (1, 2, 3)} | {(number, VARINT) for number in (4, 15, 17, 18, 19)}
# ThunkProto: kind, info {op_name, module_name, module_id}, and from 3 on what the thunk does.
_KIND, _INFO = 1, 2
_USERS_OWN = b"custom-call"  # the kind of thunk that holds bytes of the user's making


def _edit(data: bytes, path: tuple[int, ...], change: Callable[[list[Field]], list[Field]]) -> bytes:
    """`data` with `change` applied to the fields of every message that stands at `path`."""
    fields = _fields(data)
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


def _fields(data: bytes) -> list[Field]:
    fields = wire.decode(data)
    if wire.encode(fields) != data:
        raise WireError("not the encoding that protocol buffers are written in")
    return fields


def _at(*paths: tuple[int, ...], change: Change) -> Callable[[bytes, Context], bytes]:
    def apply(data: bytes, context: Context) -> bytes:
        try:
            size, at = wire.read_varint(data, 0)
            header, body = data[: at + size], data[at + size :]
            for path in paths:
                body = _edit(body, path, lambda fields: change(fields, context))
        except WireError:
            return data  # a format of another platform or version: compared as it is
        return header + body

    return apply


def _without(number: int, kind: int = BYTES) -> Change:
    return lambda fields, _: [field for field in fields if (field.number, field.kind) != (number, kind)]


def _sorted(number: int) -> Change:
    def change(fields: list[Field], _context: Context) -> list[Field]:
        ordered = iter(
            sorted((field for field in fields if field.number == number), key=lambda field: field.data)
        )
        return [next(ordered) if field.number == number else field for field in fields]

    return change


def _without_positions(fields: list[Field], _context: Context) -> list[Field]:
    kept = []
    for field in fields:
        if (field.number, field.kind) != (_METADATA, BYTES):
            kept.append(field)
            continue
        try:
            metadata = _fields(field.data)
        except WireError:
            kept.append(field)
            continue
        left = [one for one in metadata if (one.number, one.kind) not in _POSITION]
        if left:
            kept.append(Field(_METADATA, BYTES, wire.encode(left)))
    return kept


def _without_dump_folder(fields: list[Field], context: Context) -> list[Field]:
    folder = context.dump_folder.encode()
    return [field for field in fields if not (field == Field(_XLA_DUMP_TO, BYTES, folder) and folder)]


def _without_dump_option(fields: list[Field], context: Context) -> list[Field]:
    # An entry of a map<string, OptionOverrideProto>; the override's first field is a text.
    value = wire.encode([Field(1, BYTES, context.dump_folder.encode())])
    option = Field(_OVERRIDES, BYTES, wire.encode([Field(1, BYTES, b"xla_dump_to"), Field(2, BYTES, value)]))
    return [field for field in fields if not (field == option and context.dump_folder)]


def _without_thunk_module_ids(fields: list[Field], context: Context) -> list[Field]:
    """The fields of a ThunkSequenceProto, whose thunks stand in its first field."""
    return _sequence(fields, context.module.encode(), 0)


def _sequence(fields: list[Field], module: bytes, depth: int) -> list[Field]:
    return [
        Field(1, BYTES, _inside(field.data, lambda thunk: _thunk(thunk, module, depth)))
        if (field.number, field.kind) == (1, BYTES)
        else field
        for field in fields
    ]


def _thunk(fields: list[Field], module: bytes, depth: int) -> list[Field]:
    if [field.number for field in fields[:2]] != [_KIND, _INFO] or fields[_INFO - 1].kind != BYTES:
        return fields
    kind, info, *does = fields
    info = Field(_INFO, BYTES, _inside(info.data, lambda fields: _without_id(fields, module)))
    if kind.value != _USERS_OWN and depth < _DEEPEST:
        # Loops, calls and conditionals hold sequences of thunks in their turn, under numbers that differ.
        does = [
            Field(one.number, BYTES, _inside(one.data, lambda held: _holder(held, module, depth + 1)))
            if one.kind == BYTES
            else one
            for one in does
        ]
    return [kind, info, *does]


def _holder(fields: list[Field], module: bytes, depth: int) -> list[Field]:
    return [
        Field(one.number, BYTES, _inside(one.data, lambda inner: _sequence(inner, module, depth)))
        if one.kind == BYTES
        else one
        for one in fields
    ]


def _without_id(info: list[Field], module: bytes) -> list[Field]:
    if [field.number for field in info] == [1, 2, 3] and info[1].value == module and info[2].kind == VARINT:
        return info[:2]
    return info


def _inside(data: bytes, change: Callable[[list[Field]], list[Field]]) -> bytes:
    """`data` with its fields changed; what is no message (a text, numbers) as it is."""
    try:
        fields = _fields(data)
    except WireError:
        return data
    changed = change(fields)
    return wire.encode(changed) if changed != fields else data


EXECUTABLE = (
    Rule(
        "module-id",
        "the number of the HLO module",
        "XLA numbers the modules that a process compiles, in the order in which compilations start",
        _at(_MODULE, change=_without(_ID, VARINT)),
    ),
    Rule(
        "thunk-module-id",
        "the same number in each thunk's description",
        "every thunk repeats the number of the module that it belongs to",
        _at(_THUNKS, change=_without_thunk_module_ids),
    ),
    Rule(
        "object-order",
        "the order of object files",
        "they stand in the order in which codegen threads finished; they are linked by symbol",
        _at(_COMPILED, change=_sorted(_OBJECTS)),
    ),
    Rule(
        "stack-frames",
        "the table of source files, functions and lines",
        "it tells of whoever called the compiler, and nothing that runs refers to it",
        _at(_MODULE, change=_without(_STACK_FRAMES)),
    ),
    Rule(
        "metadata",
        "the type, scope name, source file, line and columns in an instruction's metadata",
        "they tell where an instruction comes from; they are kept and shown as locations",
        _at(_INSTRUCTIONS, change=_without_positions),
    ),
    Rule(
        "dump-folder",
        "the folder into which this build's dumps were written",
        "each build has a folder of its own, and XLA leaves it out of its cache key",
        _at(*_DEBUG_OPTIONS, change=_without_dump_folder),
    ),
    Rule(
        "dump-option",
        "the same folder among the compiler options as they were passed",
        "each build has a folder of its own, and XLA leaves it out of its cache key",
        _at(_OPTIONS, change=_without_dump_option),
    ),
    Rule(
        "option-order",
        "the order of compiler options",
        "options are a map: they are written in the order of a hash table seeded per process",
        _at(_OPTIONS, change=_sorted(_OVERRIDES)),
    ),
)
