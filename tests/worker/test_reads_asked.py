"""What a build asked the system for in other ways than opening a file, with real workers and real files."""

from __future__ import annotations

import hashlib
import os
import py_compile
import sqlite3
import subprocess
import sys
import sysconfig
import textwrap
import zipfile
from contextlib import closing
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from pcvd.core import looks
from pcvd.core.model import TargetSpec

PRELUDE = """
import os
from pathlib import Path
HERE = Path(__file__).parent
DATA = HERE.parent / "asked"
"""

SUFFIXES = (*EXTENSION_SUFFIXES, ".py")

# What each target does while it is traced.
ASKING = {
    "shadowed": """
        import sys
        for folder in ("pk_first", "pk_second"):
            sys.path.append(str(DATA / folder))
        import pk
        return x + pk.VALUE
    """,
    "guarded": """
        import importlib.util
        assert importlib.util.find_spec("quick_version") is None
        try:
            from . import slow_version
        except ImportError:
            pass
        return x
    """,
    "located": """
        import importlib.util
        spec = importlib.util.spec_from_file_location("located_plugin", DATA / "plugin.py")
        plugin = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(plugin)
        return x + plugin.VALUE
    """,
    "transformed": """
        import importlib.util
        from importlib.machinery import SourceFileLoader
        class Loader(SourceFileLoader):
            def source_to_code(self, data, path, **options):
                return super().source_to_code(data.replace(b"# VALUE", b"VALUE"), path, **options)
        loader = Loader("transformed_plugin", str(DATA / "commented.py"))
        plugin = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
        loader.exec_module(plugin)
        return x + plugin.VALUE
    """,
    "run_path": """
        import runpy
        return x + runpy.run_path(str(DATA / "script.py"))["VALUE"]
    """,
    "run_module": """
        import runpy
        return x + runpy.run_module("asked.script")["VALUE"]
    """,
    "module_exists": "return x + os.path.exists(DATA / 'script.py') + (DATA / 'script.py').is_file()",
    "module_resolved": "return x + len((DATA / 'script.py').resolve().parts)",
    "module_text": "return x + len((DATA / 'script.py').read_text())",
    "module_size": "return x + os.path.getsize(DATA / 'script.py')",
    "module_stat": "return x + os.stat(DATA / 'script.py').st_size",
    "module_path_stat": "return x + (DATA / 'script.py').stat().st_size",
    "listdir": "return x + len(os.listdir(DATA / 'list'))",
    "listdir_bytes": "return x + len(os.listdir(os.fsencode(DATA / 'list')))",
    "scandir": """
        with os.scandir(DATA / "list") as entries:
            return x + len(list(entries))
    """,
    "iterdir": "return x + len(list((DATA / 'list').iterdir()))",
    "globbed": """
        import glob
        return x + len(glob.glob(str(DATA / "list" / "*.txt")))
    """,
    "path_globbed": "return x + len(list((DATA / 'list').glob('*.txt')))",
    "walked": "return x + sum(len(files) for _, _, files in os.walk(DATA / 'list'))",
    "fwalked": "return x + sum(len(files) for _, _, files, _ in os.fwalk(DATA / 'list'))",
    "list_gone": """
        try:
            return x + len(os.listdir(DATA / "nowhere"))
        except FileNotFoundError:
            return x
    """,
    "exists": "return x + os.path.exists(DATA / 'list' / 'a.txt')",
    "path_exists": "return x + (DATA / 'list' / 'a.txt').exists()",
    "isfile": "return x + os.path.isfile(str(DATA / 'list' / 'a.txt'))",
    "mtime": "return x + 0 * os.path.getmtime(DATA / 'list' / 'a.txt')",
    "access": "return x + os.access(DATA / 'list' / 'a.txt', os.R_OK)",
    "stat_by_name": "return x + 0 * os.stat(path=DATA / 'list' / 'a.txt').st_size",
    "stat_in_folder": """
        folder = os.open(DATA / "list", os.O_RDONLY)
        return x + 0 * os.stat("a.txt", dir_fd=folder).st_size
    """,
    "stat_relative": "return x + os.path.exists('asked/list/a.txt')",
    "isdir": "return x + os.path.isdir(DATA / 'empty')",
    "resolved": "return x + len((DATA / 'link').resolve().parts)",
    "exists_not": "return x + os.path.exists(DATA / 'nowhere')",
    "is_dir_not": "return x + (DATA / 'nowhere').is_dir()",
    "lexists_not": "return x + os.path.lexists(DATA / 'nowhere')",
    "open_in_folder": """
        folder = os.open(DATA / "list", os.O_RDONLY)
        with open(os.open("a.txt", os.O_RDONLY, dir_fd=folder)) as file:
            return x + len(file.read())
    """,
    "open_not_in_folder": """
        folder = os.open(DATA / "list", os.O_RDONLY)
        try:
            os.open("b.txt", os.O_RDONLY, dir_fd=folder)
        except FileNotFoundError:
            return x
    """,
    "database": """
        import sqlite3, contextlib
        with contextlib.closing(sqlite3.connect(DATA / "base.sqlite")) as base:
            return x + base.execute("SELECT value FROM numbers").fetchone()[0]
    """,
    "database_uri": """
        import sqlite3, contextlib
        with contextlib.closing(sqlite3.connect(f"file:{DATA}/base.sqlite?mode=ro", uri=True)) as base:
            return x + base.execute("SELECT value FROM numbers").fetchone()[0]
    """,
    "database_in_memory": """
        import sqlite3
        sqlite3.connect(":memory:").close()
        return x
    """,
    "library": """
        import ctypes
        try:
            ctypes.CDLL(str(DATA / "broken.so"))
        except OSError:
            return x
    """,
    "metadata": """
        import importlib.metadata
        return x + len(importlib.metadata.version("jax"))
    """,
    "sources": """
        import inspect
        return x + len(inspect.getsource(inspect.getmodule(model)))
    """,
    "writes": """
        DATA.joinpath("made").mkdir(exist_ok=True)
        DATA.joinpath("made", "out.txt").write_text("1")
        return x
    """,
    "popen": """
        import subprocess
        subprocess.run(["true"], check=True)
        return x
    """,
    "system": """
        assert os.system("true") == 0
        return x
    """,
    "spawned": """
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(pid, 0)
        return x
    """,
    "multiprocessed": """
        import multiprocessing.util, sys
        os.waitpid(multiprocessing.util.spawnv_passfds(b"/bin/true", [b"/bin/true"], ()), 0)
        return x
    """,
    "probing": """
        import ctypes.util, platform
        platform.processor(), ctypes.util.find_library("c")
        return x
    """,
}

FILE, ABSENT, LISTED, PRESENT, TREE, TEXT = "file", "absent", "listed", "present", "tree", "text"

# What is booked for them besides their own modules: kind and path below asked/.
TOGETHER = [
    (("located",), {(FILE, "plugin.py")}),
    (("transformed",), {(FILE, "commented.py"), (TEXT, "commented.py")}),
    (("run_module", "module_exists", "module_resolved"), {(FILE, "script.py")}),
    (("run_path", "module_text", "module_size", "module_stat", "module_path_stat"), {(TEXT, "script.py")}),
    (("listdir", "listdir_bytes", "scandir", "iterdir", "path_globbed", "globbed"), {(LISTED, "list")}),
    (("walked", "fwalked"), {(LISTED, "list"), (LISTED, "list/sub")}),
    (("list_gone", "exists_not", "is_dir_not", "lexists_not"), {(ABSENT, "nowhere")}),
    (("exists", "path_exists", "isfile", "mtime", "access", "stat_by_name"), {(FILE, "list/a.txt")}),
    (("stat_in_folder", "stat_relative", "open_in_folder"), {(FILE, "list/a.txt")}),
    (("open_not_in_folder",), {(ABSENT, "list/b.txt")}),
    (("isdir",), {(PRESENT, "empty")}),
    (("resolved",), {(PRESENT, "link"), (PRESENT, "empty"), (PRESENT, ".")}),
    (("database", "database_uri"), {(FILE, "base.sqlite")}),
    (("library",), {(FILE, "broken.so")}),
    (("popen", "system", "spawned", "multiprocessed"), {(TREE, "..")}),
    (("writes", "metadata", "sources", "probing", "database_in_memory"), set()),
]
BOOKED = {name: booked for names, booked in TOGETHER for name in names}


@pytest.fixture(scope="module")
def shop(workshop):
    for name, body in ASKING.items():
        done = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        workshop.write(f"asking/{name}.py", f"{PRELUDE}\ndef model(x):\n{done}\n")
    data = workshop.path("asked")
    for folder in ("list/sub", "empty", "pk_first", "pk_second/pk"):
        (data / folder).mkdir(parents=True, exist_ok=True)
    (data / "link").symlink_to("empty")
    for file in ("list/a.txt", "list/c.txt", "broken.so"):
        (data / file).write_text("text")
    for file in ("plugin.py", "script.py", "pk_second/pk.py"):
        (data / file).write_text("VALUE = 1\n")
    (data / "commented.py").write_text("# VALUE = 1\n")
    with closing(sqlite3.connect(data / "base.sqlite")) as base, base:
        base.execute("CREATE TABLE numbers (value INTEGER)")
        base.execute("INSERT INTO numbers VALUES (7)")
    return workshop


@pytest.fixture(scope="module")
def carried(shop):
    specs = [TargetSpec(f"asking/{name}.py:model", ("f32[4]",)) for name in ASKING]
    done = shop.build(*specs)
    assert [build.failure for build in done.run.builds if build.failure] == []
    return done


def found(shop, carried, name):
    """What a target read below asked/, in the words of BOOKED, with the digests."""
    seen = {}
    for read in carried.reads[f"asking/{name}.py:model"]:
        if not read.name.startswith(f"{shop.root}/"):
            continue
        path, kind = read.name, read.kind
        if read.name.endswith(looks.TEXT):
            path, kind = looks.path_of(path), TEXT
        elif read.name.endswith(looks.TREE):
            path, kind = looks.path_of(path), TREE
        elif read.name.endswith("/"):
            path, kind = looks.path_of(path), PRESENT
        elif kind == FILE and Path(path).is_dir():
            kind = LISTED
        inner = os.path.relpath(path, shop.path("asked"))
        if not inner.startswith("../"):
            seen[kind, inner] = read
    return seen


@pytest.mark.parametrize("name", sorted(BOOKED))
def test_what_was_asked_for_is_booked(name, shop, carried):
    seen = found(shop, carried, name)
    if name == "run_module":  # the folder is a namespace, which another file could be instead
        seen = {key: read for key, read in seen.items() if key[0] != ABSENT}
    assert set(seen) == BOOKED[name]


@pytest.mark.parametrize("name", ["listdir", "isdir", "resolved", "located"])
def test_the_daemon_makes_the_same_digests(name, shop, carried):
    for read in found(shop, carried, name).values():
        assert read.digest == shop.files.digest(read.name) is not None


def test_what_programs_read_is_not_known_and_they_are_named(shop, carried):
    programs = {
        name: [read.name for read in carried.reads[f"asking/{name}.py:model"] if read.kind == "program"]
        for name in ASKING
    }
    assert {name: told for name, told in programs.items() if told} == {
        "popen": ["true"],
        "system": ["true"],
        "spawned": ["/bin/true"],
        "multiprocessed": ["/bin/true"],
    }


# -- modules ---------------------------------------------------------------------------------------


def absent(shop, carried, name):
    return shop.reads(carried, f"asking/{name}.py:model")["absent"]


def test_every_place_that_comes_before_a_module_was_looked_at_in_vain(shop, carried):
    seen = absent(shop, carried, "shadowed")
    earlier = {f"{base}{suffix}" for base in ("pk", "asked/pk_first/pk") for suffix in SUFFIXES}
    folders = {"pk", "asked/pk_first/pk"}
    # A folder of that name is there already, without making it a package yet.
    beside = {f"asked/pk_second/pk/__init__{suffix}" for suffix in SUFFIXES}
    beside |= {f"asked/pk_second/pk{suffix}" for suffix in EXTENSION_SUFFIXES}
    assert {one for one in seen if "pk" in one} == earlier | folders | beside


def test_what_was_looked_for_and_not_found_at_all(shop, carried):
    seen = absent(shop, carried, "guarded")
    assert {"quick_version", "quick_version.py", "asking/slow_version", "asking/slow_version.py"} <= seen


def test_a_module_from_elsewhere_can_be_shadowed_as_well(shop, tmp_path):
    # Installed, as far as the project is concerned: found behind its own folders.
    (tmp_path / "elsewhere.py").write_text("import elsewhere_too\n")
    (tmp_path / "elsewhere_too.py").write_text("")
    body = f"import sys\nsys.path.append({str(tmp_path)!r})\nimport elsewhere\ndef model(x):\n    return x\n"
    shop.write("asking/elsewhere_1.py", body)
    shop.write("asking/elsewhere_2.py", body)
    specs = [TargetSpec(f"asking/elsewhere_{number}.py:model", ("f32[4]",)) for number in (1, 2)]
    done = shop.build(*specs)
    for spec in specs:  # the second one, too, which found it imported already
        assert {"elsewhere.py", "elsewhere", "elsewhere_too.py"} <= shop.reads(done, spec.entry)["absent"]


@pytest.mark.parametrize("way", ["located", "import", "loader"])
def test_modules_are_compiled_from_source_however_they_are_loaded(way, shop):
    # The edit leaves size and second of modification as they were: Python would take the old `.pyc`.
    path = shop.write(f"asked/trap_{way}.py", "VALUE = 1.0\n")
    before = path.stat()
    py_compile.compile(str(path), doraise=True)
    path.write_text("VALUE = 2.0\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    load = {
        "located": f"""
            import importlib.util
            spec = importlib.util.spec_from_file_location("trap", {str(path)!r})
            trap = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(trap)
        """,
        "import": f"import asked.trap_{way} as trap",
        "loader": f"""
            import importlib.util
            from importlib.machinery import SourceFileLoader
            class Hooked(SourceFileLoader):  # as import hooks do
                def source_to_code(self, data, path, **options):
                    return super().source_to_code(data, path, **options)
            loader = Hooked("trap", {str(path)!r})
            trap = importlib.util.module_from_spec(importlib.util.spec_from_loader("trap", loader))
            loader.exec_module(trap)
        """,
    }[way]
    load = textwrap.dedent(load)
    shop.write(f"asking/trap_{way}.py", f"{load}\ndef model(x):\n    return x * trap.VALUE\n")
    spec = TargetSpec(f"asking/trap_{way}.py:model", ("f32[4]",))
    done = shop.build(spec)
    (build,) = done.run.builds
    assert build.failure is None
    assert "2.0" in shop.text(build, "jaxpr").decode()
    booked = {read.name: read.digest for read in done.reads[spec.entry]}
    assert booked[str(path)] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_compiled_module_of_the_project_is_read_by_all_who_import_it(shop):
    source = shop.write("asked/fast.c", EXTENSION)
    built = shop.path(f"fast_one{EXTENSION_SUFFIXES[0]}")
    include = sysconfig.get_paths()["include"]
    made = subprocess.run(
        ["cc", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(built)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"nothing to compile with: {made.stderr[:200]}")
    for number in (1, 2):
        shop.write(f"asking/fast_{number}.py", "def model(x):\n    import fast_one\n    return x\n")
    specs = [TargetSpec(f"asking/fast_{number}.py:model", ("f32[4]",)) for number in (1, 2)]
    done = shop.build(*specs)
    for spec in specs:
        assert built.name in shop.reads(done, spec.entry)["file"]


EXTENSION = """
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast_one", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_fast_one(void) { return PyModule_Create(&module); }
"""


def test_a_module_in_an_archive_is_read_with_the_archive(shop):
    with zipfile.ZipFile(shop.path("asked", "packed.zip"), "w") as archive:
        archive.writestr("packed_one.py", "VALUE = 3.0\n")
    for number in (1, 2):
        shop.write(
            f"asking/packed_{number}.py",
            f"import sys\nsys.path.append({str(shop.path('asked', 'packed.zip'))!r})\n"
            "def model(x):\n    import packed_one\n    return x * packed_one.VALUE\n",
        )
    specs = [TargetSpec(f"asking/packed_{number}.py:model", ("f32[4]",)) for number in (1, 2)]
    done = shop.build(*specs)
    for spec in specs:
        assert "asked/packed.zip" in shop.reads(done, spec.entry)["file"]


# -- threads ---------------------------------------------------------------------------------------


def test_what_a_models_own_threads_read_counts_for_every_target(shop):
    shop.write("asked/threaded.txt", "5")
    shop.write("threaded_module.py", "VALUE = 1.0\n")
    shop.write(
        "asking/threaded.py",
        """
        import threading
        import jax
        import numpy as np
        from pathlib import Path
        DATA = Path(__file__).parent.parent / "asked"
        seen = []

        def read():
            import threaded_module
            seen.append(float((DATA / "threaded.txt").read_text()) * threaded_module.VALUE)

        def arguments():
            thread = threading.Thread(target=read)
            thread.start()
            thread.join()
            return (np.float32(seen[0]),)

        def model(x):
            return x * seen[0]

        def called(x):
            # On whatever thread the compiler calls back.
            def back(value):
                (DATA / "list" / "c.txt").read_text()
                return value
            return jax.pure_callback(back, jax.ShapeDtypeStruct((), np.float32), x)
        """,
    )
    shop.write("asking/beside.py", "def model(x):\n    return x\n")
    specs = [
        TargetSpec("asking/threaded.py:model", "asking/threaded.py:arguments"),
        TargetSpec("asking/threaded.py:called", ("f32[]",)),
        TargetSpec("asking/beside.py:model", ("f32[4]",)),
    ]
    done = shop.build(*specs)
    assert [build.failure for build in done.run.builds if build.failure] == []
    for spec in specs:
        assert {"asked/threaded.txt", "threaded_module.py"} <= shop.reads(done, spec.entry)["file"]
    assert "asked/list/c.txt" in shop.reads(done, "asking/threaded.py:called")["file"]


def test_a_wrapped_function_still_says_what_it_can_do():
    # In a process of its own: hooks stay for good.
    code = """if True:
        import os
        from pcvd.worker.reads import Ledger
        before = {name: [getattr(os, name) in able for able in (os.supports_dir_fd, os.supports_fd,
                  os.supports_follow_symlinks, os.supports_effective_ids)]
                  for name in ("stat", "lstat", "access", "open", "readlink")}
        real = os.stat
        Ledger(()).install()
        assert os.stat is not real
        after = {name: [getattr(os, name) in able for able in (os.supports_dir_fd, os.supports_fd,
                 os.supports_follow_symlinks, os.supports_effective_ids)] for name in before}
        assert before == after, (before, after)
        for wrong in (None, 1.5, b"\\0", "\\0"):
            for ask in (os.stat, os.lstat, os.listdir, os.readlink):
                try:
                    ask(wrong)
                except (TypeError, ValueError, OSError):
                    pass
    """
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=_environment()
    )
    assert ended.returncode == 0, ended.stderr


def _environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
