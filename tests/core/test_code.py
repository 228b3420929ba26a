from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvd.core.code import code_digest

SOURCE = '''
"""A module."""
import jax.numpy as jnp


def model(x, *, scale=1.5):
    """Some words."""
    if scale > 1:  # a comment
        return jnp.tanh(x) * scale
    return [x, f"{x!r}", 0x10]
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another"),
        ("  # a comment", ""),
        ("import jax", "# above\n\nimport jax"),
        ("0x10", "16"),
        ("jnp.tanh(x) * scale", "(\n            jnp.tanh(x)\n            * scale\n        )"),
        ("    ", "  "),
        ("\n", "\r\n"),
        ("1.5", "1.50"),
    ],
)
def test_comments_and_layout_are_no_code(old, new):
    assert code_digest(SOURCE.replace(old, new).encode()) == code_digest(SOURCE.encode()) is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tanh", "sin"),
        ("1.5", "1"),
        ("> 1:", "> 1.0:"),
        ("> 1:", "> True:"),
        ("* scale", "** scale"),
        ("x!r", "x!s"),
        ("Some words", "Other words"),
        ("scale=1.5", "scale=-1.5"),
        ("[x,", "(x,"),
        ("import jax.numpy as jnp", "import jax.numpy as np"),
        ("*, scale", "scale"),
    ],
)
def test_whatever_is_executed_counts(old, new):
    changed = SOURCE.replace(old, new).replace(", 0x10]", ", 0x10)" if new == "(x," else ", 0x10]")
    assert code_digest(changed.encode()) not in {code_digest(SOURCE.encode()), None}


def test_the_encoding_that_a_comment_names_counts():
    text = "x = 'é'\n".encode("latin-1")
    assert code_digest(b"# coding: latin-1\n" + text) not in {None, code_digest(b"# coding: cp1251\n" + text)}


@pytest.mark.filterwarnings("error")
def test_what_the_parser_would_warn_of_is_the_workers_to_tell():
    assert code_digest(b"x = '\\d' is 1") is not None


@pytest.mark.parametrize(
    "source",
    [
        b"def model(x:",
        b"# coding: no-such-thing\n",
        b"a\0b",
        b"x = '\xff'",
        b"(" * 5000,
        b"-" * 100_000 + b"1",
        b"x" + b".a" * 60_000,
        b"1" + b"+1" * 100_000,
        b"x = " + b"9" * 10_000,
        b"# long\n" * 50_000,
    ],
)
def test_of_what_cannot_be_understood_nothing_is_said(source):
    assert code_digest(source) is None


@given(st.binary(max_size=60))
def test_no_bytes_break_it(source):
    digest = code_digest(source)
    assert digest is None or digest == code_digest(source + b"\n# a comment")


@given(st.sampled_from([node for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Constant)]))
def test_every_constant_counts(node):
    lines = SOURCE.encode().split(b"\n")
    line = lines[node.end_lineno - 1]
    lines[node.end_lineno - 1] = line[: node.end_col_offset - 1] + b"7" + line[node.end_col_offset - 1 :]
    changed = b"\n".join(lines)
    if changed != SOURCE.encode():
        assert code_digest(changed) != code_digest(SOURCE.encode())
