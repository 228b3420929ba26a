"""Blobs: content-addressed, written by many at once, verified when read."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcvd.blobs import BlobCorrupt, BlobError, BlobMissing, Blobs


def file_of(blobs: Blobs, name: str) -> Path:
    return Path(blobs.folder) / name[:2] / name[2:]


@pytest.fixture
def blobs(tmp_path):
    return Blobs(str(tmp_path / "objects"))


@given(st.lists(st.binary(max_size=300)))
def test_what_is_put_comes_back_under_its_sha256(tmp_path_factory, contents):
    blobs = Blobs(str(tmp_path_factory.mktemp("objects")))
    names = [blobs.put(data) for data in contents]
    assert names == [hashlib.sha256(data).hexdigest() for data in contents]
    assert [blobs.get(name) for name in names] == contents
    assert sorted(blobs.digests()) == sorted(set(names))


def test_a_file_is_private_and_its_place_is_the_digest(blobs):
    name = blobs.put(b"x" * 10_000)
    path = file_of(blobs, name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert blobs.size() == path.stat().st_size < 10_000
    assert zlib.decompress(path.read_bytes()) == b"x" * 10_000


def test_noise_is_kept_as_it_is_and_text_is_packed(blobs):
    """Of large data a sample tells: packing what can't be packed would take long, for nothing."""
    noise, text = os.urandom(1 << 16), b"not everything is noise " * (1 << 12)
    for data, packed in ((noise, False), (text, True), (noise[:1000], False)):
        name = blobs.put(data)
        assert blobs.get(name) == data
        assert blobs.verify(name)
        assert (file_of(blobs, name).stat().st_size < len(data)) is packed


def test_what_is_there_is_not_written_again(blobs):
    name = blobs.put(b"once")
    before = file_of(blobs, name).stat().st_ino
    assert blobs.put(b"once") == name
    assert file_of(blobs, name).stat().st_ino == before


def test_missing(blobs):
    name = hashlib.sha256(b"never stored").hexdigest()
    assert not blobs.has(name)
    assert not blobs.verify(name)
    assert list(blobs.digests()) == []
    assert blobs.size() == 0
    with pytest.raises(BlobMissing, match=name[2:]):
        blobs.get(name)


def test_removed_is_missing_and_removing_twice_is_no_error(blobs):
    kept, gone = blobs.put(b"kept"), blobs.put(b"gone")
    blobs.remove(gone)
    blobs.remove(gone)
    assert not blobs.has(gone)
    assert list(blobs.digests()) == [kept]


@pytest.mark.parametrize(
    "name", ["", "ab", "../../etc/passwd", "A" * 64, "g" * 64, "a" * 63 + "/", "a" * 64 + "\n"]
)
def test_a_name_that_is_no_digest_reaches_no_file(blobs, name):
    assert not blobs.has(name)
    with pytest.raises(BlobMissing, match="no SHA-256"):
        blobs.get(name)
    with pytest.raises(BlobMissing, match="no SHA-256"):
        blobs.remove(name)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda packed: b"", id="emptied"),
        pytest.param(lambda packed: packed[:-1], id="a byte short"),
        pytest.param(lambda packed: packed[: len(packed) // 2], id="half"),
        pytest.param(lambda packed: b"not zlib at all", id="garbage"),
        pytest.param(lambda packed: zlib.compress(b"somebody else's bytes"), id="other bytes"),
    ],
)
def test_damage_is_detected_and_healed_by_the_next_put(blobs, damage):
    data = os.urandom(2_000)
    name = blobs.put(data)
    path = file_of(blobs, name)
    path.write_bytes(damage(path.read_bytes()))
    assert blobs.has(name)
    assert not blobs.verify(name)
    with pytest.raises(BlobCorrupt, match=name[2:]):
        blobs.get(name)
    blobs.put(data)
    assert blobs.get(name) == data


def test_every_single_flipped_bit_is_detected(blobs):
    name = blobs.put(b"a kernel's machine code")
    path = file_of(blobs, name)
    packed = path.read_bytes()
    for bit in range(len(packed) * 8):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(flipped))
        # Some bits of zlib's frame mean nothing (its level): the bytes are right all the same.
        if not blobs.verify(name):
            continue
        assert blobs.get(name) == b"a kernel's machine code"


def test_strangers_and_unfinished_files_are_no_blobs(blobs):
    name = blobs.put(b"real")
    folder = file_of(blobs, name).parent
    (folder / ".unfinished-killed").write_bytes(b"half")
    (folder / "README").write_bytes(b"hello")
    assert list(blobs.digests()) == [name]


def test_sweeping_removes_what_is_old_and_unreferenced_and_no_more(blobs):
    names = [blobs.put(data) for data in (b"referenced", b"old", b"put again", b"new")]
    referenced, old, again, new = (file_of(blobs, name) for name in names)
    unfinished, young, stranger = (
        old.parent / name for name in (".unfinished-old", ".unfinished-young", "README")
    )
    for path in (unfinished, young, stranger):
        path.write_bytes(b"half")
    for path in (referenced, old, again, unfinished, stranger):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    blobs.put(b"put again")
    assert blobs.sweep({names[0]}, 3600.0) == 2
    assert [path.exists() for path in (old, unfinished)] == [False, False]
    assert all(path.exists() for path in (referenced, again, new, young, stranger))
    assert blobs.sweep({names[0]}, 3600.0) == 0


def test_a_folder_that_cannot_be_written_says_which_and_why(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BlobError, match=r"file/objects.*Not a directory") as caught:
        Blobs(str(tmp_path / "file" / "objects")).put(b"x")
    assert caught.value.hint


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    # A limit on file sizes looks like a full disk from inside. It binds a whole process, so it gets its own.
    script = """
import resource, sys
from pcvd.blobs import BlobError, Blobs
import os
blobs = Blobs(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    blobs.put(os.urandom(100_000))
except BlobError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert list(blobs.digests()) == [] and blobs.size() == 0
assert blobs.get(blobs.put(b"works again")) == b"works again"
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "objects")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "File too large" in done.stdout


def test_many_processes_and_threads_put_the_same_blobs_while_others_read(blobs):
    script = """
import hashlib, sys, threading
from pcvd.blobs import Blobs
blobs = Blobs(sys.argv[1])
sys.stdin.readline()  # all start together
def work():
    for n in range(100):
        data = str(n).encode() * 5_000
        assert blobs.get(blobs.put(data)) == data
threads = [threading.Thread(target=work) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, blobs.folder], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    ended = threading.Event()
    torn = []

    def read() -> None:
        while not ended.is_set():
            torn.extend(name for name in blobs.digests() if not blobs.verify(name))

    reader = threading.Thread(target=read)
    reader.start()
    for worker in workers:
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
    errors = [worker.communicate()[1].decode() for worker in workers]
    ended.set()
    reader.join()
    assert errors == ["", "", ""]
    assert torn == []
    assert len(list(blobs.digests())) == 100
    files = [path for path in Path(blobs.folder).rglob("*") if path.is_file()]
    assert len(files) == 100, "no unfinished file is left"
