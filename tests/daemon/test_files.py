from __future__ import annotations

import asyncio
import hashlib
import os
import time

import pytest

from pcvd.core import looks
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


LISTING = looks.listing_digest([("file", False), ("sub", True)])


def test_digests_of_what_is_there_and_what_is_not(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "file").write_bytes(b"whatever")
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    names = ("file", "empty", "folder", "pipe", "link", "dangling", "missing", "file/below", "nul\0")
    paths = [str(tmp_path / name) for name in names]
    expected = [of(b"content"), of(b""), LISTING, None, of(b"content"), *[None] * 4]
    found = asyncio.run(Files().digests(paths))
    assert list(found.values()) == expected
    # Where most are missing, those that are not there are found out by listing their folders.
    many = [*paths, str(tmp_path / "nowhere" / "missing"), f"{tmp_path}/nul\0/missing"]
    found = asyncio.run(Files().digests(many, sparse=True))
    assert list(found.values()) == [*expected, None, None]


def test_names_of_looks_are_in_no_listing(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "m.py").write_bytes(b"text")
    names = [
        looks.presence(str(tmp_path / "folder")),
        looks.tree(str(tmp_path)),
        looks.text(f"{tmp_path}/m.py"),
    ]
    found = asyncio.run(Files().digests([*names, str(tmp_path / "missing")], sparse=True))
    assert [found[name] for name in names] == [Files().digest(name) for name in names]
    assert None not in [found[name] for name in names]


def test_what_a_file_system_may_take_for_one_name_is_looked_at(tmp_path, monkeypatch):
    (tmp_path / "data.txt").write_bytes(b"a")
    (tmp_path / "\u00e9.txt").write_bytes(b"b")
    asked = [str(tmp_path / "DATA.txt"), str(tmp_path / "e\u0301.TXT"), str(tmp_path / "date.txt")]
    looked = []
    monkeypatch.setattr(Files, "digest", lambda _, path: looked.append(path))
    asyncio.run(Files().digests(asked, sparse=True))
    assert looked == asked[:2]


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


def test_edits_within_one_tick_of_the_clock_are_seen(old, monkeypatch):
    # A fresh file's stat proves nothing: the next write may leave all of it as it is.
    now = time.time_ns()
    monkeypatch.setattr("pcvd.files.stat_of", lambda _path: (now, now, 3, 1))
    monkeypatch.setattr("pcvd.files.time.time_ns", lambda: now + 10_000_000)
    files = Files()
    assert files.digest(str(old)) == of(b"one")
    old.write_bytes(b"two")
    assert files.digest(str(old)) == of(b"two")
    monkeypatch.setattr("pcvd.files.time.time_ns", lambda: now + 1_000_000_000)
    assert files.digest(str(old)) == of(b"two")
    old.write_bytes(b"six")
    assert files.digest(str(old)) == of(b"two"), "an old stat is believed"


def test_a_folder_is_listed_anew_also_where_only_what_a_link_leads_to_has_changed(tmp_path):
    folder, target = tmp_path / "folder", tmp_path / "target"
    folder.mkdir()
    target.write_bytes(b"")
    (folder / "link").symlink_to(target)
    past = time.time_ns() - 3_600_000_000_000
    os.utime(folder, ns=(past, past))
    time.sleep(0.1)  # its ctime is that of now
    files = Files()
    assert files.digest(str(folder)) == looks.listing_digest([("link", False)])
    target.unlink()
    target.mkdir()
    assert files.digest(str(folder)) == looks.listing_digest([("link", True)])
    assert files.known == {}


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


# -- folders ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder that has not been touched for a while, and the same by a name that is a link."""
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "real" / "file").write_bytes(b"one")
    (tmp_path / "link").symlink_to("real")
    os.utime(tmp_path / "real", ns=(1, 1))
    return tmp_path / "real"


def test_a_listing_is_its_names_and_not_their_contents(folder):
    files = Files()
    before = files.digest(str(folder))
    (folder / "file").write_bytes(b"another")
    (folder / "sub" / "deep").write_bytes(b"")
    for noise in ("__pycache__", ".pcv", ".git"):
        (folder / noise).mkdir()
    for noise in ("file~", ".file.swp", "x.pyc"):
        (folder / noise).write_bytes(b"")
    assert files.digest(str(folder)) == before
    (folder / "new").write_bytes(b"")
    assert files.digest(str(folder)) != before
    (folder / "new").unlink()
    assert files.digest(str(folder)) == before
    (folder / "file").unlink()
    (folder / "file").mkdir()
    assert files.digest(str(folder)) != before


def test_the_presence_of_a_folder_is_where_it_is_and_not_what_it_holds(folder):
    files = Files()
    real, link = (looks.presence(str(folder.with_name(name))) for name in ("real", "link"))
    before = files.digest(link)
    assert files.digest(real) == before == looks.place_digest(os.path.realpath(folder))
    (folder / "new").write_bytes(b"")
    assert files.digest(link) == before
    folder.with_name("other").mkdir()
    folder.with_name("link").unlink()
    folder.with_name("link").symlink_to("other")
    assert files.digest(link) not in {before, None}
    folder.with_name("link").unlink()
    assert files.digest(link) is None
    folder.with_name("link").write_bytes(b"a file is no folder")
    assert files.digest(link) is None


def test_a_tree_is_every_file_that_somebody_may_save(folder):
    files, name = Files(), looks.tree(str(folder))
    before = files.digest(name)
    for inner in (".git/HEAD", "__pycache__/x.pyc", "venv/pyvenv.cfg", "venv/lib/x.py", "sub/.x.swp"):
        (folder / inner).parent.mkdir(exist_ok=True, parents=True)
        (folder / inner).write_bytes(b"")
    assert files.digest(name) == before
    (folder / "sub" / "deep").write_bytes(b"")
    after = files.digest(name)
    assert after != before
    (folder / "sub" / "deep").write_bytes(b"saved")
    assert files.digest(name) not in {after, before}
    assert files.digest(looks.tree(str(folder / "nowhere"))) is None


def test_a_python_file_that_mentions_what_a_declaration_needs_may_declare_targets(tmp_path):
    files = Files()
    texts = {
        "model.py": (b"import pcv\n@pcv.target\ndef f(x): ...", True),
        "binary.py": (b"\xff\xfe pcv target", True),
        "half.py": (b"import pcv", False),
        "model.txt": (b"pcv target", False),
    }
    for name, (text, _) in texts.items():
        (tmp_path / name).write_bytes(text)
    assert {name: files.may_declare(str(tmp_path / name)) for name in texts} == {
        name: expected for name, (_, expected) in texts.items()
    }
    assert not files.may_declare(str(tmp_path))
    assert not files.may_declare(str(tmp_path / "missing.py"))
    assert files.digest(str(tmp_path / "model.py")) == of(texts["model.py"][0])
    (tmp_path / "model.py").write_bytes(b"")
    assert not files.may_declare(str(tmp_path / "model.py"))


def test_a_python_file_is_read_once_for_its_digest_and_for_whether_it_may_declare(old, monkeypatch):
    path = str(old.rename(old.with_suffix(".py")))
    files, read = Files(), []
    monkeypatch.setattr("pcvd.files._read", lambda name: read.append(name) or ("digest", True))
    time.sleep(0.1)  # its ctime is that of the renaming
    assert files.may_declare(path)
    assert files.digest(path) == "digest"
    assert read == [path]
