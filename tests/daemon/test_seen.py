"""What files hold, remembered from one life of the daemon to the next."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from pcvd import files, seen
from pcvd.files import Files


@pytest.fixture
def old(tmp_path):
    """A Python file that has not been touched for a while, so that its stat may be trusted."""
    path = tmp_path / "model.py"
    path.write_text("import pcv  # target")
    time.sleep(0.1)
    return path


@pytest.fixture
def cache(tmp_path, old):
    """Where a life has written down that file, and one whose name is no text."""
    first = Files()
    strange = os.fsdecode(bytes(tmp_path) + b"/\xff.py")
    Path(strange).write_bytes(b"")
    time.sleep(0.1)
    for path in (str(old), strange):
        assert first.digest(path)
    assert set(first.known) == {str(old), strange}
    seen.save(str(tmp_path / "files.json"), first.known)
    return str(tmp_path / "files.json")


def life(cache):
    """A later life, that recalls what was written down."""
    later = Files()
    later.recall(seen.load(cache))
    return later


def test_what_is_as_it_was_is_not_read_again(old, cache, monkeypatch):
    before = Files().digest(str(old))
    later = life(cache)
    monkeypatch.setattr(files, "_read", lambda _path: pytest.fail("it was read"))
    assert asyncio.run(later.digests([str(old)])) == {str(old): before}
    assert later.may_declare(str(old))
    assert set(later.known) == {str(old)}


def test_what_was_edited_meanwhile_is_read_also_with_its_time_put_back(old, cache):
    info, before = old.stat(), Files().digest(str(old))
    old.write_text("import pcv  # targeT")
    os.utime(old, ns=(info.st_atime_ns, info.st_mtime_ns))
    later = life(cache)
    assert later.digest(str(old)) == Files().digest(str(old)) != before
    assert not later.may_declare(str(old))


def test_what_is_gone_is_gone(old, cache):
    old.unlink()
    later = life(cache)
    assert later.digest(str(old)) is None
    assert later.known == {}


def test_only_what_was_looked_at_is_written_down_again(cache):
    seen.save(cache, life(cache).known)
    assert seen.load(cache) == {}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": "0", "files": {}}',
        b'{"version": 1}',
        b"\xff",
        b'{"x":' + b"[" * 100_000,
    ],
    ids=lambda text: repr(text[:40]),
)
def test_what_cannot_be_read_is_nothing(cache, text):
    Path(cache).write_bytes(text)
    assert seen.load(cache) == {}


def test_what_another_version_wrote_is_nothing(cache, monkeypatch):
    assert seen.load(cache)
    monkeypatch.setattr(seen, "__version__", "another")
    assert seen.load(cache) == {}
    assert seen.load(cache + ".missing") == {}


def test_where_nothing_can_be_written_nothing_is_remembered(tmp_path, old):
    seen.save(str(tmp_path / "missing" / "files.json"), {})
    (tmp_path / "folder").mkdir()
    seen.save(str(tmp_path / "folder"), {})
    assert {path.name for path in tmp_path.iterdir()} == {old.name, "folder"}
