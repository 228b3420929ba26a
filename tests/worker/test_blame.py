"""Traces: they begin in the project's own code, whatever pcv and the import system stand above it."""

from __future__ import annotations

import re

import pytest

from pcvd.core.model import TargetSpec

X = ("f32[4]",)


@pytest.fixture
def trace(workshop):
    """The trace that a model of this text leaves."""

    def fail(name, text, args=X):
        workshop.write(f"blamed/{name}.py", text)
        return workshop.failure(TargetSpec(f"blamed/{name}.py:model", args)).trace

    return fail


def files(trace):
    """The files of a trace's frames, in order."""
    return re.findall(r'^ *\|? *File "([^"]+)"', trace, re.MULTILINE)


def test_a_trace_begins_in_the_model(trace, workshop):
    text = trace("deep", "def inner(x):\n    raise OSError\n\ndef model(x):\n    return inner(x)\n")
    assert files(text)[0] == str(workshop.path("blamed", "deep.py"))
    assert "in model\n" in text
    assert "in inner\n" in text
    assert not [file for file in files(text) if "/pcvd/" in file]


def test_frames_of_the_import_system_between_two_modules_are_left_out(trace, workshop):
    workshop.write("blamed/fault.py", "1 / 0\n")
    text = trace("importing", "from blamed import fault\n\ndef model(x):\n    return x\n")
    assert files(text) == [str(workshop.path("blamed", name)) for name in ("importing.py", "fault.py")]
    assert text.endswith("ZeroDivisionError: division by zero\n")


def test_libraries_below_the_model_stay(trace):
    text = trace(
        "library",
        "import json\n\ndef args():\n    return json.loads('{')\n\ndef model(x):\n    return x\n",
        "blamed/library.py:args",
    )
    assert files(text)[0].endswith("/blamed/library.py")
    assert files(text)[-1].endswith("/json/decoder.py")


def test_every_exception_of_a_chain_is_cut(trace):
    text = trace(
        "chained",
        """
        def model(x):
            try:
                raise KeyError("first")
            except KeyError as error:
                raise ValueError("second") from error
        """,
    )
    assert "direct cause of the following" in text
    parts = text.split("direct cause")
    assert [files(part)[0].endswith("/blamed/chained.py") for part in parts] == [True, True]
    assert "/pcvd/" not in text


def test_the_members_of_a_group_are_cut(trace):
    text = trace("group", "def model(x):\n    raise ExceptionGroup('', [ValueError('a'), KeyError('b')])\n")
    assert "ValueError: a" in text
    assert "KeyError: 'b'" in text
    assert "/pcvd/" not in text
