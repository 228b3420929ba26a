"""Model files that are asked for their targets, and go or come while they are."""

from __future__ import annotations

import pytest

SLOW = """
    import pathlib
    import time

    import pcv

    here = pathlib.Path(__file__).parent
    (here / "begun").touch()
    while not (here / "go").exists():
        time.sleep(0.02)

    @pcv.target("f32[4]")
    def slow(x):
        return x * 3.0
"""


@pytest.fixture
def asking(project, eventually):
    """A project in which `slow.py` is just being asked, until `go()`."""
    project.write("slow.py", SLOW)
    eventually(lambda: project.path("begun").exists(), "the import of slow.py")

    def go():
        project.path("go").touch()

    project.go = go
    yield project
    go()


def test_while_a_file_is_asked_only_its_own_targets_are_open(asking, files):
    known = next(one for one in asking.json("status", code=3)["targets"])["target"]
    document = asking.json("status")
    assert document["asking"] == ["slow.py"]
    assert "importing, to see which targets there are: slow.py" in asking.pcvctl("status").stdout
    assert asking.json("status", "--fresh", known, code=0)["asking"] == []
    (target,) = asking.json("status", "slow.py:slow", code=3)["targets"]
    assert (target["verdict"], target["reason"]) == ("inconclusive", "not checked yet")
    asking.go()
    assert asking.json("wait", code=0)["asking"] == []
    assert asking.json("status", "slow.py:slow", code=0)["targets"][0]["verdict"] == "agree"


def test_a_file_that_goes_while_it_is_asked_is_no_more(asking, eventually):
    asking.path("slow.py").unlink()
    eventually(lambda: asking.json("status")["asking"] == [], "that the file is gone")
    asking.go()
    document = asking.json("wait", code=0)
    assert (document["problems"], document["asking"]) == ([], [])
    assert "slow.py:slow" not in {one["target"] for one in document["targets"]}
