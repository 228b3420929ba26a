"""Code: what of a Python module is executed. Comments, blank lines and the way it is laid out are not.

Two sources of one syntax tree are compiled to the same instructions, whatever the version of Python. They may
differ in the numbers of their lines, which a program can ask for: agreement here is a reason to believe, and
building it the proof.
"""

from __future__ import annotations

import ast
import hashlib
import warnings

_LONGEST = 1 << 18
"""Bytes; of a longer source it takes too long to find out."""


def code_digest(source: bytes) -> str | None:
    """The digest of the syntax tree of a module, without positions. None for what is no Python that this
    interpreter understands, or too long.
    """
    if len(source) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's code; they are told where it is executed
            tree = ast.dump(ast.parse(source))
    # Nested too deeply; an encoding that is none; a null byte; a number of more digits than may be shown.
    except (SyntaxError, ValueError, LookupError, RecursionError, MemoryError):
        return None
    return hashlib.sha256(tree.encode(errors="surrogatepass")).hexdigest()
