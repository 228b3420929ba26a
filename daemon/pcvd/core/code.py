"""Code: what of a Python module is executed. Comments, blank lines and the way it is laid out are not.

Two sources that are compiled to the same instructions do the same, whatever the version of Python. They may
differ in the numbers of their lines, which a program can ask for: agreement here is a reason to believe, and
building it the proof.
"""

from __future__ import annotations

import hashlib
from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 1 << 18
"""Bytes; of a longer source it takes too long to find out."""

_EXECUTED = (
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_flags",
    "co_code",
    "co_names",
    "co_varnames",
    "co_cellvars",
    "co_freevars",
    "co_name",
    "co_qualname",
    "co_exceptiontable",
)
"""Of a code object, all but its constants, its file, and where in that everything stands."""


def code_digest(source: bytes) -> str | None:
    """The digest of a module's instructions, names and constants. None for what is no Python that this
    interpreter understands, or too long.
    """
    if len(source) > _LONGEST:
        return None
    try:
        # Not `ast.parse`: building its objects in two threads at once may fail in CPython 3.11 (gh-106905).
        code = compile(source, "", "exec", dont_inherit=True, optimize=0)
        told = "\0".join(_told(code))
    # Nested too deeply; an encoding that is none; a null byte; a number of more digits than may be shown.
    except (SyntaxError, ValueError, LookupError, RecursionError, MemoryError, SystemError):
        return None
    return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()


def _told(constant: object) -> Iterator[str]:
    yield type(constant).__name__
    if isinstance(constant, CodeType):
        for name in _EXECUTED:
            yield repr(getattr(constant, name))
        yield from _told(constant.co_consts)
    elif isinstance(constant, tuple):
        yield str(len(constant))
        for one in constant:
            yield from _told(one)
    elif isinstance(constant, frozenset):  # in any order
        yield from sorted("\0".join(_told(one)) for one in constant)
        yield str(len(constant))
    else:
        yield repr(constant)
