from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from pcv_config import places
from pcvd import app
from pcvd.core.errors import SetupError, UsageError


@pytest.fixture
def root(tmp_path, short_runtime, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", short_runtime)
    return str(tmp_path.resolve())


def test_the_state_folder_is_private_and_keeps_out_of_git(root):
    app.prepare_state(root)
    state = Path(places.state(root))
    for path in (state, state / "objects"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (state / ".gitignore").read_text() == "*\n"
    (state / ".gitignore").write_text("mine\n")
    app.prepare_state(root)
    assert (state / ".gitignore").read_text() == "mine\n"


@pytest.mark.parametrize("name", [".pcv", ".pcv/objects"])
def test_a_file_in_the_way_is_named(name, root):
    path = Path(root, name)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(SetupError, match=r"cannot write .*\.pcv"):
        app.prepare_state(root)


def test_one_daemon_for_a_root(root):
    lock = Path(places.lock_path(root))
    with app.holding_lock(root):
        refusal = re.escape(f"a daemon already runs for {root} (pid {os.getpid()})")
        with pytest.raises(SetupError, match=refusal), app.holding_lock(root):
            pass
        with app.holding_lock(f"{root}/another"):
            pass
        assert lock.read_text() == str(os.getpid())
    with app.holding_lock(root):
        assert lock.read_text() == str(os.getpid())


def test_a_lock_folder_that_others_can_enter_is_refused(root, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "pcv").mkdir(mode=0o755)
    with pytest.raises(SetupError, match="chmod 700"), app.holding_lock(root):
        pass


def test_wrong_settings_keep_their_place(root):
    Path(root, "pcv.toml").write_text("\nnonsense = 1\n")
    with pytest.raises(UsageError) as caught:
        app.load(root)
    assert (caught.value.file, caught.value.line) == ("pcv.toml", 2)
