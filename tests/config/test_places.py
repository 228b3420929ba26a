from __future__ import annotations

import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from pcv_config import places, settings


@pytest.mark.parametrize(
    "text",
    [
        "[tool.pcv]\n",
        "[project]\nname = 'x'\n\n  [tool.pcv]  # ours\r\nseed = 1\n",
        "[[tool.pcv.target]]\nentry = 'm.py:f'\n",
        "[tool.pcv.env]\n",
        "[ tool . 'pcv' ]\n",
        '\ufeff["tool".pcv]\n',
    ],
)
def test_pyproject_with_settings_makes_a_root(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text, newline="")
    assert places.find_root(str(tmp_path)) == os.path.realpath(tmp_path)
    assert settings.load(str(tmp_path)).source == "pyproject.toml"


@pytest.mark.parametrize(
    "text",
    [
        "[tool.pcvx]\n",
        "[tool.pcv-extra]\n",
        "[tools.pcv]\n",
        "[tool]\n",
        "[pcv]\n",
        "# [tool.pcv]\n",
        "[project]\nkeywords = [\n['tool.pcv']\n]\n",
        "[project]\ndependencies = ['pcv']\nx = '[tool.pcv]'\n",
        "",
    ],
)
def test_pyproject_without_settings_makes_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert places.find_root(str(tmp_path)) != os.path.realpath(tmp_path)


def test_the_nearest_root_above_wins(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    (inner / "c").mkdir(parents=True)
    (tmp_path / "pcv.toml").touch()
    (tmp_path / "a" / "pcv.toml").mkdir()  # a folder of that name is no project file
    (inner / "pyproject.toml").mkdir()
    assert places.find_root(str(inner / "c")) == os.path.realpath(tmp_path)
    (inner / "pcv.toml").touch()
    assert places.find_root(str(inner / "c")) == os.path.realpath(inner)
    link = tmp_path / "link"
    link.symlink_to(inner)
    assert places.find_root(str(link)) == os.path.realpath(inner)


def test_a_root_without_settings_is_found_where_pcv_has_been_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    root = Path(os.path.realpath(tmp_path), "a")
    (root / "b").mkdir(parents=True)
    (root / ".pcv").touch()  # a file of that name keeps nothing

    def found() -> str | None:
        return places.find_root(str(root / "b"), lived_in=True)

    assert found() != str(root)
    (root / ".pcv").unlink()
    (root / ".pcv").mkdir()
    assert found() == str(root)
    assert places.find_root(str(root / "b")) != str(root)
    socket_file = Path(places.socket_path(str(root / "b")))
    socket_file.parent.mkdir()
    socket_file.touch()
    assert found() == str(root / "b")


def test_the_runtime_folder_is_where_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temp"))
    fallback = str(tmp_path / "temp" / f"pcv-{os.getuid()}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert places.runtime_folder() == str(tmp_path / "pcv")
    for useless in (str(tmp_path / "missing"), "", "."):
        monkeypatch.setenv("XDG_RUNTIME_DIR", useless)
        assert places.runtime_folder() == fallback
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert places.runtime_folder() == fallback
    too_deep = str(tmp_path / ("x" * 100))
    for useless in ("", "relative", too_deep):
        monkeypatch.setenv("TMPDIR", useless)
        assert places.runtime_folder() == f"/tmp/pcv-{os.getuid()}"


def test_each_root_has_its_own_socket_and_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    names = [
        place(root) for place in (places.socket_path, places.lock_path) for root in ("/a", "/a/b", "/\udcff")
    ]
    assert len(set(names)) == 6
    assert {str(Path(name).parent) for name in names} == {str(tmp_path / "pcv")}
    assert places.socket_path("/a") == names[0]


def test_a_folder_is_taken_exactly_as_long_as_a_socket_in_it_can_be_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        room = places._SOCKET_LIMIT - len(places.socket_path("/a")) - 1
        longest = Path(short, "é" + "x" * (room - 2))  # bytes count, not characters
        longest.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(longest))
        path = places.socket_path("/a")
        places.make_private(str(Path(path).parent))
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
        longer = longest.with_name(longest.name + "x")
        longer.mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(longer))
        monkeypatch.setenv("TMPDIR", short)
        path = places.socket_path("/a")
        assert Path(path).parent == Path(short, f"pcv-{os.getuid()}")
        assert places.bindable(path)
        monkeypatch.setenv("TMPDIR", str(longer))
        assert Path(places.socket_path("/a")).parent == Path("/tmp", f"pcv-{os.getuid()}")


def test_a_private_folder_is_made_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "pcv"
    previous = os.umask(0)
    try:
        places.make_private(str(folder))
    finally:
        os.umask(previous)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "kept").touch()
    places.make_private(str(folder))
    assert (folder / "kept").exists()


@pytest.mark.parametrize("mode", [0o755, 0o720, 0o701])
def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "pcv"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(PermissionError, match="chmod 700"):
        places.make_private(str(folder))


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(private)
    (tmp_path / "dangling").symlink_to(tmp_path / "missing")
    (tmp_path / "file").touch(mode=0o600)
    for name in ("link", "dangling", "file"):
        with pytest.raises(PermissionError, match=name):
            places.make_private(str(tmp_path / name))
    assert not (tmp_path / "missing").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "pcv"
    folder.mkdir(mode=0o700)
    os.chown(folder, 4711, 4711)
    with pytest.raises(PermissionError, match="belong to you alone"):
        places.make_private(str(folder))
