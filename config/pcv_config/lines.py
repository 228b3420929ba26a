"""On which line of a TOML text each key stands: tomllib gives values without positions.

This reads a text that tomllib has already accepted, so it checks nothing and skips over values. It is still a
reader of tokens and not a search for names, since a name may also stand in a comment, in a string and in
another table.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands: the names of its keys, and indices in arrays: `("target", 1, "args")`."""

_STRING = r"""(?: "[^"\\\n]+" | '[^'\n]+' )"""  # without escapes
_TOKEN = re.compile(
    rf"""
      (?P<pair>    ^ [ \t]* (?P<key> [\w-]+ ) [ \t]* = [ \t]*  # most of a long file: at one go
                 (?P<value> {_STRING} | [\w.+:-]+
                          | \[ [ \t]* {_STRING} (?: [ \t]* , [ \t]* {_STRING} )* [ \t]* \] )
                 [ \t\r]* (?= \n | \Z ) )
    | (?P<header>  ^ \[\[ (?! (?: true | false | inf | nan ) \] )  # these may stand bare in an array
                 (?P<name> [A-Za-z_][\w-]* ) \]\] [ \t\r]* (?= \n | \Z ) )
    | (?P<newline> \n+ )
    | (?P<nothing> [ \t\r]+ | \#[^\n]* )
    | (?P<string>  "{{3}} (?: \\. | [^\\] )*? "{{3,5}}  # may end in two quotes of its own
                 | '{{3}} .*? '{{3,5}}
                 | " (?: \\. | [^"\\\n] )* "
                 | ' [^'\n]* ' )
    | (?P<mark>    [][{{}}=,.] )
    | (?P<bare>    [^][{{}}=,.\s\#"']+ )
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.ASCII,
)
_ELEMENT = re.compile(_STRING, re.VERBOSE)
_SEVERAL_LINES = frozenset({"newline", "string"})


class _Token(NamedTuple):
    kind: str
    text: str
    line: int
    value: str | None = None
    """Of a whole pair on one line, whose key is `text`: what stands behind the equals sign. A whole header's
    text is its name.
    """


class Lines:
    """The line, counted from 1, of each key, table and array element of one TOML text."""

    def __init__(self, text: str) -> None:
        self._at: dict[Path, int] = {}
        self._headers: dict[Path, int] = {}  # how many [[headers]] each array of tables has had so far
        self._tokens = _tokens(text)
        self._token = next(self._tokens)
        self._document()

    def __iter__(self) -> Iterator[Path]:
        return iter(self._at)

    def of(self, path: Path) -> int | None:
        """The line of `path` or, where it is not in the text, of the nearest table around it that is."""
        while path and path not in self._at:
            path = path[:-1]
        return self._at.get(path)

    def _document(self) -> None:
        table: Path = ()
        while self._token.kind != "end":
            if self._token.kind == "newline":
                self._advance()
            elif self._token.kind == "header":
                table = self._repeated((self._token.text,), self._token.line)
                self._advance()
            elif self._token.text == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        """`[a.b]` or `[[a.b]]`; gives the path of the table whose keys follow."""
        line = self._token.line
        repeated = self._advance().text == "["
        if repeated:
            self._advance()
        *around, name = self._key()
        path: Path = ()
        for outer in around:
            path = (*path, outer)
            self._at.setdefault(path, line)
            if path in self._headers:  # [a.b] after [[a]] belongs to the latest a
                path = (*path, self._headers[path] - 1)
        path = (*path, name)
        if repeated:
            path = self._repeated(path, line)
        else:
            self._at[path] = line  # a header says it better than a deeper one that implied the table before
        while self._token.text == "]":
            self._advance()
        return path

    def _repeated(self, array: Path, line: int) -> Path:
        """One more table of an array of tables."""
        self._at.setdefault(array, line)
        index = self._headers.get(array, 0)
        self._headers[array] = index + 1
        path = (*array, index)
        self._at[path] = line
        return path

    def _pair(self, table: Path) -> None:
        """`key = value`, where a dotted key stands for the tables on its way."""
        path, line, value = table, self._token.line, self._token.value
        if value is not None:
            path = (*path, self._token.text)
            self._at.setdefault(path, line)
            if value[0] == "[":
                self._at |= {(*path, index): line for index, _ in enumerate(_ELEMENT.findall(value))}
            self._advance()
            return
        for name in self._key():
            path = (*path, name)
            self._at.setdefault(path, line)
        self._advance()  # the equals sign
        self._value(path)

    def _key(self) -> list[str]:
        names = [_name(self._token)]
        while self._advance().text == ".":
            self._advance()
            names.append(_name(self._token))
        return names

    def _value(self, path: Path) -> None:
        if self._token.text == "[":
            self._array(path)
        elif self._token.text == "{":
            self._inline_table(path)
        else:
            # A float or a date is several tokens. A string that spells a mark is told apart by its quotes.
            while self._token.kind not in ("newline", "end") and self._token.text not in (",", "]", "}"):
                self._advance()

    def _array(self, path: Path) -> None:
        self._advance()
        index = 0
        while self._token.text != "]":
            if self._token.kind == "newline" or self._token.text == ",":
                self._advance()
            else:
                self._at[*path, index] = self._token.line
                self._value((*path, index))
                index += 1
        self._advance()

    def _inline_table(self, path: Path) -> None:
        self._advance()
        while self._token.text != "}":
            if self._token.kind == "newline" or self._token.text == ",":
                self._advance()
            else:
                self._pair(path)
        self._advance()

    def _advance(self) -> _Token:
        self._token = next(self._tokens)
        return self._token


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "pair":
            yield _Token(kind, match["key"], line, match["value"])
        elif kind == "header":
            yield _Token(kind, match["name"], line)
        elif kind != "nothing":
            yield _Token(kind, match[0], line)
            line += match[0].count("\n") if kind in _SEVERAL_LINES else 0
    yield _Token("end", "", line)


def _name(token: _Token) -> str:
    if token.kind == "bare":
        return token.text
    # Escapes are tomllib's business: it reads the quoted key as it reads any other string.
    name: str = tomllib.loads(f"name = {token.text}")["name"]
    return name
