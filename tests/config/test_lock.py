from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pcv_config import lock, places


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return str(tmp_path / "project")


def test_one_holder_and_everyone_can_tell_who(root: str) -> None:
    assert (lock.held(root), lock.holder(root)) == (False, None)
    with lock.holding(root):
        assert (lock.held(root), lock.holder(root)) == (True, os.getpid())
        with pytest.raises(lock.Held) as caught, lock.holding(root):
            pass
        assert caught.value.pid == os.getpid()
        assert not lock.held(root + "/another")
    assert (lock.held(root), lock.holder(root)) == (False, None)


def test_a_holder_that_was_killed_holds_nothing(root: str) -> None:
    script = "import os, sys\nfrom pcv_config import lock\n"
    script += "with lock.holding(sys.argv[1]):\n    os.kill(os.getpid(), 9)\n"
    assert subprocess.run([sys.executable, "-c", script, root], check=False).returncode == -9
    assert Path(places.lock_path(root)).read_text().isdigit()
    assert (lock.held(root), lock.holder(root)) == (False, None)
    with lock.holding(root):
        assert Path(places.lock_path(root)).read_text() == str(os.getpid())


def test_what_stands_in_a_lock_may_be_anything(root: str) -> None:
    with lock.holding(root):
        Path(places.lock_path(root)).write_text("nobody knows")
        assert (lock.held(root), lock.holder(root)) == (True, None)


def test_a_folder_that_others_can_enter_is_refused(root: str, tmp_path: Path) -> None:
    (tmp_path / "pcv").mkdir(mode=0o755)
    with pytest.raises(PermissionError, match="chmod 700"), lock.holding(root):
        pass
