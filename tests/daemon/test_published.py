from __future__ import annotations

import json
from pathlib import Path

import pytest

from pcv_config import places
from pcvd.published import Published
from pcvd.status import Status


@pytest.fixture
def document(tmp_path):
    (tmp_path / ".pcv").mkdir()
    target = {
        "target": "m.py:f", "verdict": "agree", "fresh": True, "state": "idle", "reason": None,
        "first_stage": None, "differing": [], "stages": {}, "output": None, "cause": None, "failure": None,
        "evidence": {"rounds": 1, "schedules": {}}, "checked_at": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip
    return {
        "schema": 1,
        "root": str(tmp_path),
        "daemon": {"pid": 7, "state": "idle", "version": "0.1.0", "uptime_s": 1.5},
        "summary": {"targets": 1, "agree": 1, "stale": 0},
        "targets": [target],
        "problems": [],
        "speed": {},
        "environment": {},
    }


def status(document):
    """The document as the board gives it out."""
    head = {name: value for name, value in document.items() if name != "targets"}
    return Status(
        head,
        [(json.dumps(one).encode(), b"") for one in document["targets"]],
        bytes,
        differs=False,
        agrees=True,
    )


def read(root):
    return json.loads(Path(places.state(root, "status.json")).read_text())


def inode(root):
    return Path(places.state(root, "status.json")).stat().st_ino


def test_both_files_are_written(document):
    Published(document["root"]).write(status(document), status(document))
    assert read(document["root"]) == document
    folder = Path(places.state(document["root"]))
    text = (folder / "status.txt").read_text()
    assert "m.py:f" in text
    assert "2026-01-01 00:00 UTC" in text  # an age would be wrong as soon as it is written
    assert sorted(path.name for path in folder.iterdir()) == ["status.json", "status.txt"]


def test_nothing_is_written_while_nothing_changes(document):
    published = Published(document["root"])
    published.write(status(document), status(document))
    before = inode(document["root"])
    later = status({**document, "daemon": {**document["daemon"], "uptime_s": 99.0}})
    published.write(later, later)
    assert inode(document["root"]) == before
    problem = {"message": "no", "file": None, "line": None, "hint": None}
    other = status({**document, "problems": [problem]})
    published.write(other, other)
    assert inode(document["root"]) != before


def test_what_could_not_be_written_is_written_when_it_can_be(document, monkeypatch):
    def refused(_path, _pieces):
        raise OSError(28, "No space left on device")

    published = Published(document["root"])
    with monkeypatch.context() as patched:
        patched.setattr("pcvd.published._replace", refused)
        with pytest.raises(OSError, match="No space"):
            published.write(status(document), status(document))
    published.write(status(document), status(document))
    assert read(document["root"]) == document


def test_nothing_is_written_after_the_last_words(document):
    published = Published(document["root"])
    published.write_down(status(document), 60)
    published.write(status(document), status(document))
    assert read(document["root"])["daemon"]["state"] == "down"


def test_the_last_words_are_stale(document):
    Published(document["root"]).write_down(status(document), 60)
    last = read(document["root"])
    assert last["daemon"]["state"] == "down"
    assert [(one["verdict"], one["fresh"]) for one in last["targets"]] == [("agree", False)]
    assert document["targets"][0]["fresh"] is True


def test_of_many_the_last_words_list_those_that_differ_and_count_all(document):
    (one,) = document["targets"]
    many = [{**one, "target": f"m.py:f{number}", "verdict": "agree"} for number in range(70)]
    many.append({**one, "target": "m.py:bad", "verdict": "diverged"})
    Published(document["root"]).write_down(status({**document, "targets": many}), 60)
    assert len(read(document["root"])["targets"]) == 71
    text = (Path(places.state(document["root"])) / "status.txt").read_text()
    assert "m.py:bad" in text
    assert "71 targets: 70 agree, 1 diverged, 71 of them stale" in text
    assert "and 11 more" in text
