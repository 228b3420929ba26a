"""Jaxprs as JAX prints them with `source_info=True`: which equation a line belongs to, and the user's line
behind it.

Each equation's first line ends in a comment, ` # file:line:column (function)`, empty where JAX itself made
the equation. What an equation applies stands within it, indented, or as `let name = {…} in` before everything
else where several share it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pcvd.core.frames import is_own, relative

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_COMMENT = re.compile(r" ?(?:(.+?):(\d{1,9})(?::\d+)? \((.*)\))?$")
_SHARED = re.compile(r"let (\w+) = ")
_TOKEN = re.compile(r"(?:let (\w+) = |(\w+)=)?\{ lambda ([^;]{0,100000});|[{}]|(\w*jaxpr)=(\w+)")


class Equation(NamedTuple):
    """An equation's text, and the place in the project that it comes from: its own, or that of the nearest
    equation around it which has one. `within` tells the library function that made it, where one did.
    """

    text: str
    file: str | None
    line: int | None
    within: str


@dataclass(frozen=True, slots=True)
class Line:
    """One printed line, without its comment. `begins` tells whether an equation does so here."""

    code: str
    begins: bool
    file: str = ""
    line: int = 0
    function: str = ""

    @property
    def indent(self) -> int:
        """How many blanks it starts with."""
        return len(self.code) - len(self.code.lstrip())


@dataclass(slots=True, eq=False)
class _Scope:
    """A `{ lambda constants; arguments. let … }`: where its body begins and ends in the joined code."""

    constants: list[tuple[str, str]]
    begin: int
    end: int
    inner: list[tuple[str, _Scope | str]] = field(default_factory=list)


class Listing:
    """A printed jaxpr."""

    def __init__(self, text: str) -> None:
        self.lines = [_line(line) for line in _COLOUR.sub("", text).splitlines()]
        self._shared = {
            found[1]: number
            for number, line in enumerate(self.lines)
            if (found := _SHARED.match(line.code)) is not None
        }

    def equation(self, number: int, root: str) -> Equation | None:
        """The equation that line `number` belongs to; None where it belongs to none (the jaxpr's own
        head).
        """
        innermost = next(self._around(number), None)
        if innermost is None:
            return None
        text, within = self.lines[innermost].code.strip(), ""
        text = f"{text}…]" if text.endswith("[") else text  # its parameters have lines of their own
        for at in self._outward(number):
            line = self.lines[at]
            if line.file and is_own(line.file, root):
                return Equation(text, relative(line.file, root), line.line, within)
            within = within or line.function
        return Equation(text, None, None, within)

    def constant(self, place: int) -> tuple[str, str, int | None] | None:
        """The name and type of the constant that is number `place` of all, and the line that uses it first;
        None without such a constant.

        They are counted through the jaxpr, then through those that its equations apply, once each time they
        are applied.
        """
        code, scopes, top = self._scopes()
        scope: _Scope | None = top
        counts = _counts(top, scopes)
        while scope is not None and place >= len(scope.constants):
            place -= len(scope.constants)
            ahead, scope = _inner(scope, scopes), None
            for one in ahead:
                if place < counts.get(id(one), 0):
                    scope = one
                    break
                place -= counts.get(id(one), 0)
        if scope is None:
            return None
        name, kind = scope.constants[place]
        used = re.compile(rf"(?<![\w:=.]){re.escape(name)}(?![\w:=.])").search(code, scope.begin, scope.end)
        return name, kind, None if used is None else code.count("\n", 0, used.start())

    def _around(self, number: int) -> Iterator[int]:
        """The lines where the equations begin that line `number` stands in, innermost first."""
        line = self.lines[number]
        if line.begins:
            yield number
        # What closes an equation stands as deep as the equation's first line, what it holds deeper.
        deepest = line.indent - (0 if line.code.lstrip()[:1] in ("]", ")") and not line.begins else 1)
        for at in range(number - 1, -1, -1):
            line = self.lines[at]
            if line.indent <= deepest and line.code:
                if line.begins:
                    yield at
                deepest = line.indent - 1

    def _outward(self, number: int) -> Iterator[int]:
        """The same, and on through the equations that apply a shared jaxpr in which the last one stands."""
        seen: set[str] = set()
        while True:
            yield from self._around(number)
            name = next((key for key, at in self._shared.items() if at <= number <= self._end(at)), None)
            if name is None or name in seen:
                return
            seen.add(name)
            applied = re.compile(rf"jaxpr={name}\b|[(,] ?{name}[,)]")
            user = next((at for at, line in enumerate(self.lines) if applied.search(line.code)), None)
            if user is None:
                return
            number = user

    def _end(self, start: int) -> int:
        """The last line of the shared jaxpr whose first is `start`."""
        return next(
            (at for at in range(start, len(self.lines)) if self.lines[at].code.endswith("} in")),
            len(self.lines),
        )

    def _scopes(self) -> tuple[str, dict[str, _Scope], _Scope]:
        code = "\n".join(line.code for line in self.lines)
        shared: dict[str, _Scope] = {}
        top = _Scope([], 0, len(code))
        open_: list[_Scope | None] = [top]
        for token in _TOKEN.finditer(code):
            holder = next((scope for scope in reversed(open_) if scope is not None), top)
            if token[3] is not None:
                head = token[3].split()
                constants = [
                    (name, kind) for name, colon, kind in (one.partition(":") for one in head) if colon
                ]
                scope = _Scope(constants, token.end(), len(code))
                if token[1]:
                    shared[token[1]] = scope
                else:
                    _add(holder, token[2] or "", scope)
                open_.append(scope)
            elif token[4]:
                _add(holder, token[4], token[5])
            elif token[0] == "{":
                open_.append(None)
            elif len(open_) > 1:
                closed = open_.pop()
                if closed is not None:
                    closed.end = token.start()
        return code, shared, top


def _line(text: str) -> Line:
    code, hash_, comment = text.rpartition(" #")
    found = _COMMENT.match(comment) if hash_ else None
    if found is None:
        return Line(text.rstrip(), False)
    return Line(code.rstrip(), True, found[1] or "", int(found[2] or 0), found[3] or "")


def _add(holder: _Scope, key: str, scope: _Scope | str) -> None:
    # Parameters are printed by name, but a loop's condition comes before its body.
    if key == "cond_jaxpr" and holder.inner and holder.inner[-1][0] == "body_jaxpr":
        holder.inner.insert(-1, (key, scope))
    else:
        holder.inner.append((key, scope))


def _inner(scope: _Scope, shared: dict[str, _Scope]) -> list[_Scope]:
    found = [shared.get(one) if isinstance(one, str) else one for _, one in scope.inner]
    return [one for one in found if one is not None]


def _counts(top: _Scope, shared: dict[str, _Scope]) -> dict[int, int]:
    """How many constants each scope holds, with those of the scopes that it applies."""
    counts: dict[int, int] = {}
    under_way = [(top, iter(_inner(top, shared)))]
    seen = {id(top)}
    while under_way:
        scope, ahead = under_way[-1]
        one = next(ahead, None)
        if one is None:
            under_way.pop()
            counts[id(scope)] = len(scope.constants) + sum(
                counts.get(id(each), 0) for each in _inner(scope, shared)
            )
        elif id(one) not in seen:
            seen.add(id(one))
            under_way.append((one, iter(_inner(one, shared))))
    return counts
