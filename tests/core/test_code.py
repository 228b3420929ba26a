from __future__ import annotations

import ast
import gc
import time
from concurrent.futures import ThreadPoolExecutor

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


@pytest.mark.parametrize("line", range(SOURCE.count("\n") + 1))
def test_a_comment_may_stand_anywhere(line):
    lines = SOURCE.split("\n")
    indent = lines[line][: len(lines[line]) - len(lines[line].lstrip())]
    commented = "\n".join([*lines[:line], f"{indent}# more", "", *lines[line:]])
    assert code_digest(commented.encode()) == code_digest(SOURCE.encode())


def test_threads_do_not_disturb_each_other():
    # As `ast.parse` does in CPython 3.11, where a callback of the garbage collector lets another thread run.
    def collected(phase, _info):
        if phase == "start":
            time.sleep(0)

    sources = [f"x{number} = [{number}, (1, 2), {{'a': 3}}]\n".encode() * 40 for number in range(200)]
    gc.callbacks.append(collected)
    try:
        with ThreadPoolExecutor(4) as pool:
            digests = list(pool.map(code_digest, sources))
    finally:
        gc.callbacks.remove(collected)
    assert None not in digests
    assert len(set(digests)) == len(sources)


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
