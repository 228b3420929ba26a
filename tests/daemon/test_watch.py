from __future__ import annotations

import asyncio
import itertools

import pytest
import watchfiles.main
from watchfiles._rust_notify import WatchfilesRustInternalError

from pcvd.core.errors import SetupError
from pcvd.files import Files
from pcvd.watch import Watch

MODEL = "import pcv\n\n@pcv.target\ndef model(): pass\n"


@pytest.fixture
def root(tmp_path):
    for folder in ("models/deep", "data", ".git", ".pcv", "models/__pycache__", ".venv/lib", "env/lib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    return tmp_path.resolve()


def watch(root, folders=(".",), ignore=()):
    return Watch(str(root), folders, ignore, 20, Files().may_declare)


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("models/mlp.py", True), ("data/weights.npy", True), ("pcv.toml", True),
        ("models/deep/a.b.txt", True), (".env", True), ("targets/x.py", True),
        (".git/index", False), (".pcv/pcv.sqlite", False), ("models/__pycache__/mlp.cpython-311.pyc", False),
        ("models/mlp.pyc", False), ("models/mlp.py~", False), ("models/.mlp.py.swp", False),
        (".venv/lib/x.py", False), (".venv311/x.py", False), ("node_modules/x.js", False),
        ("a/site-packages/jax/x.py", False), (".ruff_cache/x", False),
    ],
)  # fmt: skip
def test_what_counts(path, counts, root):
    assert watch(root).counts(str(root / path)) is counts


@pytest.mark.parametrize(
    ("pattern", "path", "counts"),
    [
        ("data", "data/x", False),
        ("data/", "data/deep/x", False),
        ("data", "database/x", True),
        ("*.npy", "data/x.npy", False),
        ("*.npy", "data/x.npz", True),
        ("models/deep/*", "models/deep/x", False),
    ],
)
def test_what_a_project_ignores(pattern, path, counts, root):
    assert watch(root, ignore=(pattern,)).counts(str(root / path)) is counts


def test_files_that_may_declare(root):
    for folder in ("models", "models/deep", ".venv/lib", "env/lib", ".git"):
        (root / folder / "mlp.py").write_text(MODEL)
    (root / "data" / "mlp.txt").write_text(MODEL)
    (root / "models" / "plain.py").write_text("def model(): pass\n")
    assert watch(root).declaring() == ["models/deep/mlp.py", "models/mlp.py"]
    assert watch(root, folders=("models/deep",)).declaring() == ["models/deep/mlp.py"]
    assert watch(root, ignore=("models/deep",)).declaring() == ["models/mlp.py"]
    assert watch(root, folders=(".", "models")).declaring() == ["models/deep/mlp.py", "models/mlp.py"]
    saved = [
        str(root / file) for file in ("models/mlp.py", "models/plain.py", "data/mlp.txt", "models/no.py")
    ]
    assert watch(root).declaring_among(saved) == {"models/mlp.py"}


def seen(watching, save, enough):
    """What is reported until `enough(paths)`, while `save()` is done again and again.

    When the watching begins is the system's business, so a single save might come before it.
    """
    found = set()

    async def listen():
        async for paths in watching.changes():
            found.update(paths)

    async def both():
        listening = asyncio.create_task(listen())
        async with asyncio.timeout(30):
            while not enough(found) and not listening.done():
                save()
                await asyncio.wait({listening}, timeout=0.05)
        listening.cancel()
        await asyncio.wait({listening})
        if not listening.cancelled():
            listening.result()

    asyncio.run(both())
    return found


def test_saves_are_reported_and_others_are_not(root):
    def save():
        for file in ("models/mlp.py", "data/x.npy", ".git/index", "models/mlp.pyc"):
            (root / file).write_text("x")
        (root / "models" / ".new").write_text(MODEL)
        (root / "models" / ".new").replace(root / "models" / "renamed.py")

    wanted = {str(root / file) for file in ("models/mlp.py", "data/x.npy", "models/renamed.py")}
    found = seen(watch(root), save, wanted.issubset)
    assert wanted <= found <= wanted | {str(root / "models" / ".new"), str(root / "models")}


def test_the_projects_own_file_counts_wherever_one_looks(root):
    def save():
        for file in ("pcv.toml", "models/mlp.py", "data/x.npy"):
            (root / file).write_text("#")

    wanted = {str(root / file) for file in ("pcv.toml", "models/mlp.py")}
    assert seen(watch(root, folders=("models",)), save, wanted.issubset) == wanted


def test_files_in_new_folders_are_reported(root):
    numbers = itertools.count()
    made = set()

    def save():
        folder = root / f"new{next(numbers)}"
        folder.mkdir()
        (folder / "model.py").write_text(MODEL)
        made.update({str(folder), str(folder / "model.py")})

    assert seen(watch(root), save, made.intersection)


def test_a_folder_that_is_not_there_says_so(root):
    with pytest.raises(SetupError, match="cannot watch"):
        seen(watch(root, folders=("nowhere",)), lambda: None, lambda _: False)


def test_a_system_that_refuses_to_watch_says_so(root, monkeypatch):
    class Refusing:
        def __init__(self, *_args):
            raise WatchfilesRustInternalError("OS file watch limit reached")

    class Failing:
        def __init__(self, *_args):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_args):
            pass

        def watch(self, *_args):
            raise WatchfilesRustInternalError("error in underlying watcher")

        def close(self):
            pass

    for notify, said in ((Refusing, "limit reached"), (Failing, "underlying watcher")):
        monkeypatch.setattr(watchfiles.main, "RustNotify", notify)
        with pytest.raises(SetupError, match=said):
            seen(watch(root), lambda: None, lambda _: False)
