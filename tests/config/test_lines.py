from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcv_config.lines import Lines

TRAPS = """\
# seed = 1
a = \"\"\"
seed = 2 \\\"\"\"
[seed]
\"\"\"\"\"  # two of these quotes are the text's own
"q.\\u00e9" = 'seed = [' # ]
b = ''''
seed = 3'''
seed = 4
[tool]
pcv.x = 1.5
pcv.d = 1979-05-27 07:32:00
[[t]]
entry = "[[t]]"
args = [ # ]
  "x", {k = "}", j.l = [
 1]},
]
[[t.u]]
z = {}
[[t.u]]
[t.v]
w = []
[[t]]
args = "[t]"
[x.y]
[x]
3.14 = 1
c = [""\""a""\"", "]",
  1]
e = [
[[true]]
]
d = [''''b'''', ']',
  1]
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 2),
        (("q.é",), 6),
        (("b",), 7),
        (("seed",), 9),
        (("tool",), 10),
        (("tool", "pcv"), 11),
        (("tool", "pcv", "d"), 12),
        (("t",), 13),
        (("t", 0), 13),
        (("t", 0, "entry"), 14),
        (("t", 0, "args"), 15),
        (("t", 0, "args", 1, "j", "l", 0), 17),
        (("t", 0, "u", 0, "z"), 20),
        (("t", 0, "u", 1), 21),
        (("t", 0, "v", "w"), 23),
        (("t", 1), 24),
        (("t", 1, "args"), 25),
        (("x", "y"), 26),
        (("x",), 27),
        (("x", "3", "14"), 28),
        (("x", "c", 2), 30),
        (("x", "e", 0, 0), 32),
        (("x", "d", 2), 35),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_traps(path: tuple[str | int, ...], line: int, newline: str) -> None:
    text = TRAPS.replace("\n", newline)
    tomllib.loads(text)  # the trap itself must be valid, or the test shows nothing
    assert Lines(text).of(path) == line


def test_what_is_not_there_has_the_line_of_what_is_around_it() -> None:
    lines = Lines("a = 1\n[[t]]\nx = 1\n\n[[t]]\n\ny = [\n1]\n")
    assert lines.of(("t", 1, "entry")) == 5
    assert lines.of(("t", 1, "y", 7)) == 7
    assert lines.of(("nowhere",)) is None
    assert Lines("").of(("a", 1)) is None


SCALARS = [
    "1", "-1.5e3", "true", "1979-05-27 07:32:00.5", "07:32:00", "0xff", "inf",
    '""', "''", '"k0 = 1 # ["', "'k1 = ]'", '"\\"}\\\\"', "'\\'",
    '""""""', '""""a""""', '"""\nk0 = 1\n"""', '"""\\"""\n[[a]]"""""',
    "''''''", "''''b''''", "'''\nk1 = '' ]\n'''''",
]  # fmt: skip
KEYS = ["{}", '"{}"', "'{}'", '"\\u005f{}"']
GAPS = [", ", ",\n", " ,# ] }\n\n  "]


class Writer:
    """Writes a random TOML document, and notes the line of everything it writes."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[tuple[str | int, ...], int] = {}
        self.names = 0

    def one_of(self, choices: list[str]) -> str:
        return self.draw(st.sampled_from(choices))

    def note(self, path: tuple[str | int, ...]) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def key(self) -> tuple[str, str]:
        """A name that is new in the document, and a way to write it."""
        self.names += 1
        style = self.one_of(KEYS)
        return ("_" if "005f" in style else "") + f"k{self.names}", style.format(f"k{self.names}")

    def pair(self, table: tuple[str | int, ...], depth: int) -> None:
        path, written = table, []
        for _ in range(self.draw(st.integers(1, 3))):
            name, spelled = self.key()
            path = (*path, name)
            self.note(path)
            written.append(spelled)
        self.text += self.one_of([".", " . "]).join(written) + self.one_of(["=", " = "])
        self.value(path, depth)

    def value(self, path: tuple[str | int, ...], depth: int) -> None:
        kind = self.one_of(["scalar", "scalar", "array", "table"]) if depth else "scalar"
        if kind == "scalar":
            self.text += self.one_of(SCALARS)
        elif kind == "array":
            self.text += self.one_of(["[", "[\n", "[ # [\n"])
            for index in range(self.draw(st.integers(0, 3))):
                self.note((*path, index))
                self.value((*path, index), depth - 1)
                self.text += self.one_of(GAPS)
            self.text += "]"
        else:
            self.text += "{ "
            for index in range(self.draw(st.integers(0, 3))):
                self.text += ", " if index else ""
                self.pair(path, depth - 1)
            self.text += " }"

    def pairs(self, table: tuple[str | int, ...]) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.text += self.one_of(["", "\n", "  ", "# k1 = 1\n", "# [k1]\n"])
            self.pair(table, 2)
            self.text += self.one_of(["\n", " # k1 = 1\n"])

    def header(self, path: tuple[str | int, ...], written: str) -> None:
        self.lines[path] = self.text.count("\n") + 1
        self.text += self.one_of([f"{written}\n", f" {written} # [k1]\n"])
        self.pairs(path)

    def document(self) -> None:
        self.pairs(())
        for _ in range(self.draw(st.integers(0, 3))):
            name, spelled = self.key()
            if self.draw(st.booleans()):
                self.header((name,), f"[ {spelled} ]")
                continue
            for index in range(self.draw(st.integers(1, 3))):
                self.note((name,))
                self.header((name, index), f"[[{spelled}]]")
                inner, inner_spelled = self.key()
                if self.draw(st.booleans()):
                    self.note((name, index, inner))
                    self.header((name, index, inner, 0), f"[[{spelled} . {inner_spelled}]]")
                else:
                    self.header((name, index, inner), f"[{spelled}.{inner_spelled}]")


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[tuple[str | int, ...], int]]:
    writer = Writer(draw)
    writer.document()
    return writer.text, writer.lines


def paths(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Where everything stands in a document, as tomllib sees it."""
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return {path, *(deep for key, item in inner for deep in paths(item, (*path, key)))}


@given(documents(), st.sampled_from(["\n", "\r\n"]))
def test_every_line_of_every_document(
    document: tuple[str, dict[tuple[str | int, ...], int]], newline: str
) -> None:
    text, expected = document[0].replace("\n", newline), document[1]
    lines = Lines(text)
    assert {path: lines.of(path) for path in lines} == expected
    assert set(lines) == paths(tomllib.loads(text)) - {()}
