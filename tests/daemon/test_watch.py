from __future__ import annotations

import asyncio
import os

import pytest

from pcvd.core.errors import SetupError
from pcvd.watch import Watch, may_declare

MODEL = "import pcv\n\n@pcv.target\ndef model(): pass\n"


@pytest.fixture
def root(tmp_path):
    for folder in ("models/deep", "data", ".git", ".pcv", "models/__pycache__", ".venv/lib", "env/lib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    return os.path.realpath(tmp_path)


def watch(root, folders=(".",), ignore=()):
    return Watch(root, folders, ignore, 20)


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("models/mlp.py", True), ("data/weights.npy", True), ("pcv.toml", True), ("models/deep/a.b.txt", True),
        (".env", True), ("targets/x.py", True),
        (".git/index", False), (".pcv/pcv.sqlite", False), ("models/__pycache__/mlp.cpython-311.pyc", False),
        ("models/mlp.pyc", False), ("models/mlp.py~", False), ("models/.mlp.py.swp", False),
        (".venv/lib/x.py", False), (".venv311/x.py", False), ("node_modules/x.js", False),
        ("a/site-packages/jax/x.py", False), (".ruff_cache/x", False),
    ],
)  # fmt: skip
def test_what_counts(path, counts, root):
    assert watch(root).counts(os.path.join(root, path)) is counts


@pytest.mark.parametrize(
    ("pattern", "path", "counts"),
    [
        ("data", "data/x", False), ("data/", "data/deep/x", False), ("data", "database/x", True),
        ("*.npy", "data/x.npy", False), ("*.npy", "data/x.npz", True), ("models/deep/*", "models/deep/x", False),
    ],
)  # fmt: skip
def test_what_a_project_ignores(pattern, path, counts, root):
    assert watch(root, ignore=(pattern,)).counts(os.path.join(root, path)) is counts


def test_files_that_may_declare(root):
    for file in ("models/mlp.py", "models/deep/a.py", ".venv/lib/b.py", "env/lib/c.py", ".git/d.py", "data/x.txt"):
        with open(os.path.join(root, file), "w") as out:
            out.write(MODEL)
    with open(os.path.join(root, "models/plain.py"), "w") as out:
        out.write("def model(): pass\n")
    assert watch(root).declaring() == ["models/deep/a.py", "models/mlp.py"]
    assert watch(root, folders=("models/deep",)).declaring() == ["models/deep/a.py"]
    assert watch(root, ignore=("models/deep",)).declaring() == ["models/mlp.py"]
    assert watch(root, folders=(".", "models")).declaring() == ["models/deep/a.py", "models/mlp.py"]
    saved = [os.path.join(root, file) for file in ("models/mlp.py", "models/plain.py", "data/x.txt", "models/no.py")]
    assert watch(root).declaring_among(saved) == {"models/mlp.py"}


def test_what_cannot_be_read_declares_nothing(tmp_path):
    assert not may_declare(str(tmp_path))
    assert not may_declare(str(tmp_path / "missing"))
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe pcv target")
    assert may_declare(str(tmp_path / "binary.py"))


def seen(watching, save, wanted):
    """What is reported until all `wanted` paths have been, while `save` is done again and again.

    When the watching begins is the system's business, so a single save might come before it.
    """

    async def listen():
        found = set()
        listening = asyncio.create_task(collect(found))
        async with asyncio.timeout(60):
            while not wanted <= found:
                save()
                await asyncio.sleep(0.05)
                if listening.done():
                    break
        listening.cancel()
        return found

    async def collect(found):
        async for paths in watching.changes():
            found |= paths

    return asyncio.run(listen())


def test_saves_are_reported_and_others_are_not(root):
    def save():
        for file in ("models/mlp.py", "data/x.npy", ".git/index", "models/mlp.pyc"):
            with open(os.path.join(root, file), "a") as out:
                out.write("x")
        unfinished = os.path.join(root, "models/.new")
        with open(unfinished, "w") as out:
            out.write(MODEL)
        os.replace(unfinished, os.path.join(root, "models/renamed.py"))

    wanted = {os.path.join(root, file) for file in ("models/mlp.py", "data/x.npy", "models/renamed.py")}
    found = seen(watch(root), save, wanted)
    assert wanted <= found <= wanted | {os.path.join(root, "models/.new"), os.path.join(root, "models")}


def test_the_projects_own_file_counts_wherever_one_looks(root):
    def save():
        for file in ("pcv.toml", "models/mlp.py", "data/x.npy"):
            with open(os.path.join(root, file), "a") as out:
                out.write("#")

    wanted = {os.path.join(root, file) for file in ("pcv.toml", "models/mlp.py")}
    assert seen(watch(root, folders=("models",)), save, wanted) == wanted


def test_files_in_new_folders_are_reported(root):
    counter = iter(range(10_000))
    latest = set()

    def save():
        folder = os.path.join(root, f"new{next(counter)}")
        os.mkdir(folder)
        with open(os.path.join(folder, "model.py"), "w") as out:
            out.write(MODEL)
        latest.add(folder)

    async def listen():
        async for paths in watch(root).changes():
            if any(os.path.dirname(path) in latest or path in latest for path in paths):
                return

    async def both():
        listening = asyncio.create_task(listen())
        async with asyncio.timeout(60):
            while not listening.done():
                save()
                await asyncio.wait({listening}, timeout=0.05)
        await listening

    asyncio.run(both())


def test_a_folder_that_is_not_there_says_so(root):
    async def listen():
        async for _ in watch(root, folders=("nowhere",)).changes():
            pass

    with pytest.raises(SetupError, match="cannot watch"):
        asyncio.run(listen())
