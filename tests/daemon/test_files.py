from __future__ import annotations

import asyncio
import hashlib
import os
import time

import pytest

from pcvd.files import Files, stat_of


def of(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def old(tmp_path):
    """A file that has not been touched for a while, so that its stat may be trusted."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    past = time.time_ns() - 3_600_000_000_000
    os.utime(path, ns=(past, past))
    return path


def test_digests_of_what_is_there_and_what_is_not(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    names = ("file", "empty", "folder", "pipe", "link", "dangling", "missing", "file/below", "nul\0")
    paths = [str(tmp_path / name) for name in names]
    found = asyncio.run(Files().digests(paths))
    assert list(found.values()) == [of(b"content"), of(b""), None, None, of(b"content"), *[None] * 4]


def test_an_edit_is_seen(old):
    files = Files()
    assert files.digest(str(old)) == of(b"one")
    old.write_bytes(b"three")
    assert files.digest(str(old)) == of(b"three")
    old.unlink()
    assert files.digest(str(old)) is None
    old.write_bytes(b"one")
    assert files.digest(str(old)) == of(b"one")


def test_an_edit_of_the_same_size_and_time_is_seen(old):
    files = Files()
    before = old.stat()
    files.digest(str(old))
    old.write_bytes(b"two")
    os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns))  # the change time cannot be set
    assert files.digest(str(old)) == of(b"two")


def test_another_file_renamed_over_it_is_seen(old):
    files = Files()
    before = old.stat()
    files.digest(str(old))
    other = old.with_name("other")
    other.write_bytes(b"two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(old)
    assert files.digest(str(old)) == of(b"two")


def test_edits_within_one_tick_of_the_clock_are_seen(tmp_path):
    # A fresh file's stat proves nothing: the next write may leave all of it as it is.
    path = tmp_path / "file"
    files = Files()
    for number in range(300):
        data = f"{number:03}".encode()
        with path.open("r+b" if number else "wb") as file:
            file.write(data)
        assert files.digest(str(path)) == of(data)


def test_stats_change_with_the_file(old):
    before = stat_of(str(old))
    files = Files()
    assert asyncio.run(files.stats([str(old)])) == {str(old): before}
    old.write_bytes(b"two")
    assert asyncio.run(files.stats([str(old)])) != {str(old): before}
    old.unlink()
    assert asyncio.run(files.stats([str(old)])) == {str(old): None}


def test_large_files_are_hashed_whole(tmp_path):
    path = tmp_path / "large"
    data = os.urandom((1 << 20) + 7)
    path.write_bytes(data)
    assert Files().digest(str(path)) == of(data)
