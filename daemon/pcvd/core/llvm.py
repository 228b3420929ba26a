"""The canonical form of LLVM IR: without the module's name, and metadata numbered in the order of its use."""

from __future__ import annotations

import re

from pcvd.core.rule import Context, Rule

_ID = re.compile(rb"\A(; ModuleID = )'[^\n]*'$", re.MULTILINE)
_FILE = re.compile(rb'\A((?:; ModuleID = [^\n]*\n)?source_filename = )"[^"\n]*"$', re.MULTILINE)
_DEFINITION = re.compile(rb"^!(\d+) = ([^\n]*)", re.MULTILINE)
# Texts and comments come first: what looks like a reference inside them is none. A quote within a text is
# written \22, so the next quote ends it.
_REFERENCE = re.compile(rb'"[^"\n]*"|;[^\n]*|!(\d+)\b')


def _without_names(data: bytes, _context: Context) -> bytes:
    return _FILE.sub(rb"\1", _ID.sub(rb"\1", data))


def _renumbered(data: bytes, _context: Context) -> bytes:
    defined: list[tuple[bytes, bytes]] = _DEFINITION.findall(data)
    nodes = dict(defined)
    order = _in_order_of_use(_DEFINITION.sub(b"", data), nodes)
    if len(nodes) < len(defined) or not set(order) <= set(nodes):
        return data  # no whole module: a number may mean something that stands elsewhere
    numbers = {name: b"!%d" % number for number, name in enumerate(order)}
    renamed = _REFERENCE.sub(lambda found: numbers[found[1]] if found[1] else found[0], data)
    ordered = iter(sorted((found[0] for found in _DEFINITION.finditer(renamed)), key=_number))
    return _DEFINITION.sub(lambda _: next(ordered), renamed)


def _number(line: bytes) -> int:
    return int(line[1 : line.index(b" = ")])


def _in_order_of_use(text: bytes, nodes: dict[bytes, bytes]) -> list[bytes]:
    """The names of nodes as `text` refers to them, then as these refer to further ones; what nothing refers
    to comes last, as it stands.
    """
    met = dict.fromkeys(_references(text))
    order = list(met)
    reached = 0
    for root in (None, *nodes):
        if root is not None and root not in met:
            met[root] = None
            order.append(root)
        while reached < len(order):
            further = [name for name in _references(nodes.get(order[reached], b"")) if name not in met]
            met |= dict.fromkeys(further)
            order += dict.fromkeys(further)
            reached += 1
    return order


def _references(text: bytes) -> list[bytes]:
    return [name for name in _REFERENCE.findall(text) if name]


LLVM = (
    Rule(
        "llvm-module-id",
        "the module's name in the first two lines",
        "it names the file that the text was parsed from; which kernel it is, the artifact's part says",
        _without_names,
    ),
    Rule(
        "llvm-metadata-numbers",
        "the numbers of metadata nodes (!7), and the order in which they are defined",
        "nodes are numbered per module, as they were met; what they hold and who refers to them stays",
        _renumbered,
    ),
)
