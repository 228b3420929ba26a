"""From texts that differ to a place for people: the first thing that differs, and the user's line behind it.

Each function takes the texts of one stage and gives a `Place`. None raises: what can't be read is left out,
and the sentence says what is known. All take time linear in the texts' length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from pcvd.core import jaxpr, mlir
from pcvd.core.hlo import Module
from pcvd.core.kernel import instructions_of, kernel_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pcvd.core.hlo import Source

_LONGEST = 160  # characters of a text that a sentence quotes
_VARIABLE = re.compile(r"(?<![\w=.<\[])(?<!= )[a-z]{1,4}(?![\w=\[<(.])")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([^\s=(]+) = ")
_NUMBER = re.compile(r"(\d{1,9})\D*$")
_SHAPE = re.compile(r"\[[^\]]*\]$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a difference stands. `instruction` is that of the stage's own language; `file` is relative to the
    project's root. What is not known is None; `text` is a sentence that says it all.
    """

    kernel: str | None
    instruction: str | None
    file: str | None
    line: int | None
    text: str


def in_jaxpr(left: str, right: str, root: str) -> Place:
    """The first equation that differs between two jaxprs, printed with `source_info=True`."""
    sides = jaxpr.Listing(left), jaxpr.Listing(right)
    codes = [[line.code for line in side.lines] for side in sides]
    first = next(_differing(codes), None)
    if first is None:
        return Place(None, None, None, None, "the jaxprs are equal, apart from source positions")
    equation, head = sides[_side(first, codes)].equation(first, root), ""
    if equation is None and "{ lambda" not in _at(codes, first):  # printed without positions
        return Place(None, _at(codes, first).strip(), None, None, _against(codes, first))
    if equation is None:
        # Other arguments or constants: whatever follows has other names. Without them, what else differs
        # shows.
        head = f"the traced function's arguments or constants differ: {_against(codes, first)}"
        nameless = [[_VARIABLE.sub("_", line) for line in code] for code in codes]
        behind = (number for number in _differing(nameless) if number > first)
        first = next(behind, None)
        equation = None if first is None else sides[_side(first, codes)].equation(first, root)
    if first is None or equation is None:
        return Place(None, None, None, None, head)
    where = _where(equation.file, equation.line, equation.within)
    text = f"{where}{_against(codes, first)}" + (f"; {head}" if head else "")
    return Place(None, equation.text, equation.file, equation.line, text)


def in_constants(name: str, text: str, root: str, label: str = "") -> Place:
    """Where the constant whose part is called `name` (`constant_0003`) is first used in the jaxpr `text`,
    printed with `source_info=True`.

    `label` is its type as NumPy spells it (`float32[4]`); where the jaxpr's constant of that number has
    another shape, the number says nothing, and no line is given.
    """
    number = _NUMBER.search(name)
    what = f"constant {int(number[1])} ({label})" if number and label else name
    listing = jaxpr.Listing(text)
    found = listing.constant(int(number[1])) if number else None
    if found is None or (label and _shape(label) != _shape(found[1])):
        return Place(
            None, None, None, None, f"{what} has another value; the jaxpr does not show where it is used"
        )
    constant, kind, line = found
    equation = None if line is None else listing.equation(line, root)
    if equation is None:
        return Place(None, f"{constant}:{kind}", None, None, f"{what} has another value; no equation uses it")
    where = _where(equation.file, equation.line, equation.within)
    sentence = f"{where}{what} has another value; `{_cut(equation.text)}` uses it first"
    return Place(None, equation.text, equation.file, equation.line, sentence)


def in_stablehlo(left: str, right: str, root: str) -> Place:
    """The first operation that differs between two modules, printed with debug information."""
    sides = mlir.Listing(left), mlir.Listing(right)
    codes = [[one.code for one in side.operations] for side in sides]
    first = next(_differing(codes), None)
    if first is None:
        return Place(None, None, None, None, "the modules are equal, apart from source positions")
    # What a function takes and returns follows from what it does.
    inside = next((number for number in _differing(codes) if not mlir.is_head(_at(codes, number))), first)
    side = _side(inside, codes)
    return _placed(
        None, codes[side][inside].strip(), sides[side].source(inside, root), _against(codes, inside)
    )


def in_hlo(canonical: tuple[str, str], raw: tuple[str, str], debug: str, root: str) -> Place:
    """The first instruction that differs between two optimized modules, given in canonical form and as the
    compiler printed them, line by line the same; `debug` is either module as the compiler dumped it, with
    metadata.

    In canonical form names count up as they come, so the first line that differs says something else, and not
    the same by another name; what it is called in the dump, the compiler's own text tells.
    """
    codes = [text.splitlines() for text in canonical]
    first = next(_differing(codes), None)
    if first is None:
        return Place(None, None, None, None, "the modules are equal")
    inside = next((number for number in _differing(codes) if _at(codes, number)[:1].isspace()), first)
    module = Module.parse(debug)
    names = [_instruction_at(text.splitlines(), inside) for text in raw]
    name = next((one for one in names if one in module.instructions), names[0] or names[1])
    source = _source(module, name, root) if name in module.instructions else None
    return _placed(None, name or None, source, _against(codes, inside))


def in_kernel(part: str, optimized: str, root: str) -> Place:
    """The kernel that the dumped file `part` is (an object, IR, PTX), what it is in the `optimized` module
    as the compiler dumped it, with metadata, and the user's line behind that.
    """
    module = Module.parse(optimized)
    kernel = instructions_of(kernel_of(part), module)
    if not kernel.instructions:
        return Place(kernel.name or None, None, None, None, f"{part}: {kernel.remark}")
    sources = [_source(module, one.name, root) for one in kernel.instructions]
    source = next((one for one in sources if one is not None and one.file), sources[0])
    first = kernel.instructions[sources.index(source)]
    named = "" if first.name == kernel.name else f" `{first.name}`"
    also = f"; {kernel.remark}" if kernel.remark else ""
    text = f"kernel `{kernel.name}` is the {first.opcode}{named} of the optimized module{also}"
    return _placed(kernel.name, first.name, source, text)


def _placed(kernel: str | None, instruction: str | None, source: Source | None, text: str) -> Place:
    file, line, scope = source if source is not None else (None, None, "")
    return Place(kernel, instruction, file, line, _where(file, line, scope) + text)


def _source(module: Module, name: str, root: str) -> Source | None:
    own = module.source_of(module.instructions[name], root)
    return own if own is not None and own.file else module.near(module.instructions[name], root) or own


def _instruction_at(code: Sequence[str], number: int) -> str:
    """The instruction that line `number` belongs to; a long constant has lines of its own."""
    for line in code[number::-1]:
        if found := _INSTRUCTION.match(line):
            return found[1]
        if line and not line[0].isspace():
            break
    return ""


def _differing(codes: Sequence[Sequence[str]]) -> Iterator[int]:
    """The numbers of the lines that differ."""
    return (number for number, (one, other) in enumerate(zip_longest(*codes)) if one != other)


def _side(number: int, codes: Sequence[Sequence[str]]) -> int:
    return 0 if number < len(codes[0]) else 1


def _at(codes: Sequence[Sequence[str]], number: int) -> str:
    return codes[_side(number, codes)][number]


def _where(file: str | None, line: int | None, scope: str) -> str:
    within = f" ({scope})" if scope else ""
    return f"{file}:{line}{within}: " if file else f"{scope}: " if scope else ""


def _against(codes: Sequence[Sequence[str]], number: int) -> str:
    if number >= min(len(code) for code in codes):
        return f"`{_cut(_at(codes, number).strip())}` stands on one side only"
    one, other = (code[number].strip() for code in codes)
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    return f"`{_cut(one, at)}` against `{_cut(other, at)}`"


def _cut(text: str, around: int = 0) -> str:
    """`text`, or of a long one the piece in which it differs."""
    if len(text) <= _LONGEST:
        return text
    start = max(0, min(around - _LONGEST // 2, len(text) - _LONGEST))
    end = start + _LONGEST
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


def _shape(kind: str) -> str:
    found = _SHAPE.search(kind.replace(" ", ""))
    return found[0] if found else ""
