"""Which lines of a trace are the project's own."""

from __future__ import annotations

import pytest

from pcvd.core.frames import innermost, is_own, relative, reported

ROOT = "/home/me/project"


@pytest.mark.parametrize(
    ("path", "own"),
    [
        (f"{ROOT}/models/mlp.py", True),
        (f"{ROOT}/m.py", True),
        (f"{ROOT}/my-site-packages-copy/m.py", True),
        (f"{ROOT}/.venv/lib/python3.12/site-packages/jax/api.py", False),
        (f"{ROOT}/env/lib/python3/dist-packages/numpy/core.py", False),
        (f"{ROOT}/.pcv/scratch/x.py", False),
        ("/home/me/project2/m.py", False),
        ("/usr/lib/python3.12/json/decoder.py", False),
        ("<frozen importlib._bootstrap>", False),
        ("m.py", False),
    ],
)
def test_whose_a_file_is(path, own):
    assert is_own(path, ROOT) is own
    assert is_own(path, f"{ROOT}/") is own


def test_a_project_that_lives_among_packages_is_still_a_project():
    root = "/srv/site-packages/project"
    assert is_own(f"{root}/m.py", root)


def test_the_root_folder_itself_may_be_a_root():
    assert (is_own("/m.py", "/"), relative("/a/m.py", "/")) == (True, "a/m.py")


def test_the_innermost_own_frame_counts():
    frames = [
        (f"{ROOT}/outer.py", 1),
        (f"{ROOT}/inner.py", 2),
        (f"{ROOT}/.venv/site-packages/jax/api.py", 3),
    ]
    assert innermost(frames, ROOT) == ("inner.py", 2)
    assert innermost(frames[2:], ROOT) == innermost([], ROOT) == (None, None)


def test_a_report_of_faulthandler_has_the_most_recent_call_first():
    output = f"""last words
Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "/usr/lib/python3.12/ctypes/__init__.py", line 500 in string_at
  File "{ROOT}/models/deep.py", line 7 in inner
  File "{ROOT}/models/mlp.py", line 40 in forward
"""
    assert reported(output, ROOT) == ("models/deep.py", 7)
    assert reported("no stack at all", ROOT) == (None, None)
