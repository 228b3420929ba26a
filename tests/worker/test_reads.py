"""What a build read, found while it runs: exactly that, neither more nor less."""

from __future__ import annotations

import hashlib
import os
import threading
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from pcvd.core import looks
from pcvd.core.model import Read, TargetSpec
from pcvd.worker.hooks import Hooks
from pcvd.worker.reads import Ledger, module_owner

FILES = {
    "net/__init__.py": "from net.layers import dense\n",
    "net/layers.py": """
        from . import act
        from .deep.scale import SCALE

        def dense(x):
            return act.act(x) * SCALE
    """,
    "net/act.py": "import os\nKIND = os.environ.get('NET_KIND')\n\ndef act(x):\n    return x + 1\n",
    "net/deep/__init__.py": "",
    "net/deep/scale.py": "SCALE = 2.0\n",
    "net/unused.py": "raise RuntimeError('nobody imports this')\n",
    "net/late.py": "def late(x):\n    return x - 1\n",
    "data/weights.npy": None,
    "data/table.txt": "1 2 3\n",
    "reading/first.py": """
        import os
        import numpy as np
        import net

        def model(x):
            return net.dense(x) + np.load(os.path.join(os.path.dirname(__file__), "../data/weights.npy"))
    """,
    "reading/second.py": """
        from net import dense

        def model(x):
            return dense(x)
    """,
    "reading/third.py": """
        import importlib
        import os
        from pathlib import Path
        HERE = Path(__file__).parent

        def arguments():
            (HERE.parent / "data" / "table.txt").read_text()
            return (os.environ["HOME"] and 1.0,)

        def model(x):
            from net.late import late
            if "ABSENT_ONE" in os.environ or os.getenv("ABSENT_TWO"):
                return x
            try:
                open(HERE / "override.json")
            except FileNotFoundError:
                pass
            return late(x)
    """,
    "reading/setting.py": """
        import os

        def model(x):
            os.environ.setdefault("SET_HERE", "1")
            os.environ["HOME"] = "/elsewhere"
            return x + len(dict(os.environ)["SET_HERE"]) + len(os.environb[b"HOME"]) * 0
    """,
    "reading/fourth.py": """
        def model(x):
            return x
    """,
    "reading/writing.py": """
        import os
        PATH = os.path.join(os.path.dirname(__file__), "written.txt")

        def model(x):
            with open(PATH, "w") as file:
                file.write("1")
            return x
    """,
}

NET = {
    "net/__init__.py",
    "net/layers.py",
    "net/act.py",
    "net/deep/__init__.py",
    "net/deep/scale.py",
}


def before(file):
    """Where a module would be found before it is found in `file`, all in one folder."""
    if file.endswith("/__init__.py"):
        return {f"{file.removesuffix('.py')}{suffix}" for suffix in EXTENSION_SUFFIXES}
    base = file.removesuffix(".py")
    return {base, *(f"{base}{suffix}" for suffix in EXTENSION_SUFFIXES)}


def instead(folder):
    """What would make a folder without `__init__.py` something else than a namespace."""
    suffixes = [*EXTENSION_SUFFIXES, ".py"]
    return {f"{folder}{middle}{suffix}" for middle in ("", "/__init__") for suffix in suffixes}


def vain(files):
    """Where the modules in `files` were looked for in vain, and the namespace that the targets are in."""
    return set().union(instead("reading"), *(before(file) for file in files if file.endswith(".py")))


@pytest.fixture(scope="module")
def shop(workshop):
    import numpy as np

    for file, text in FILES.items():
        if text is not None:
            workshop.write(file, text)
    workshop.path("data").mkdir(exist_ok=True)
    np.save(workshop.path("data", "weights.npy"), np.ones(4, np.float32))
    return workshop


@pytest.fixture(scope="module")
def carried(shop):
    specs = [
        TargetSpec(f"reading/{name}.py:model", ("f32[4]",))
        for name in ("first", "second", "fourth", "writing")
    ]
    specs.insert(2, TargetSpec("reading/third.py:model", "reading/third.py:arguments"))
    done = shop.build(*specs)
    assert [build.failure for build in done.run.builds if build.failure] == []
    return done


def test_a_target_read_its_modules_their_packages_and_its_data(shop, carried):
    found = shop.reads(carried, "reading/first.py:model")
    assert found["file"] == {"reading/first.py", "data/weights.npy", *NET}
    assert found["absent"] == vain(found["file"])


def test_a_target_that_came_second_read_the_shared_modules_too(shop, carried):
    found = shop.reads(carried, "reading/second.py:model")
    assert found["file"] == {"reading/second.py", *NET}
    assert "NET_KIND" in found["env"]  # looked up by a module that was imported long before


def test_variables_count_as_they_were_before_the_process_set_them(shop):
    spec = TargetSpec("reading/setting.py:model", ("f32[4]",))
    read = {read.name: read.digest for read in shop.build(spec).reads[spec.entry] if read.kind == "env"}
    assert read["SET_HERE"] is None
    assert read["HOME"] == hashlib.sha256(os.environb[b"HOME"]).hexdigest()


def test_what_is_imported_opened_or_looked_for_while_tracing_counts(shop, carried):
    found = shop.reads(carried, "reading/third.py:model")
    assert found["file"] == {"reading/third.py", "data/table.txt", "net/late.py", *NET}
    assert found["absent"] == {"reading/override.json", *vain(found["file"])}
    assert {"HOME", "ABSENT_ONE", "ABSENT_TWO"} <= found["env"]


def test_a_target_read_nothing_of_its_neighbours(shop, carried):
    found = shop.reads(carried, "reading/fourth.py:model")
    assert found == {"file": {"reading/fourth.py"}, "absent": vain(["reading/fourth.py"]), "env": set()}


def test_what_a_build_writes_is_no_dependency(shop, carried):
    assert shop.reads(carried, "reading/writing.py:model")["file"] == {"reading/writing.py"}


def test_nothing_installed_is_booked(carried):
    for reads in carried.reads.values():
        for read in reads:
            if read.kind == "file":
                assert "site-packages" not in read.name
                assert "/lib/python" not in read.name


def test_sources_carry_the_digest_of_what_was_compiled(shop, carried):
    reads = {read.name: read for read in carried.reads["reading/second.py:model"]}
    path = shop.path("net", "act.py")
    assert reads[str(path)].digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert reads["NET_KIND"].digest is None


def test_data_files_carry_the_stat_at_the_time_of_opening(shop, carried):
    path = shop.path("data", "weights.npy")
    (read,) = (one for one in carried.reads["reading/first.py:model"] if one.name == str(path))
    info = path.stat()
    assert read.stat == (info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino)


def test_concurrent_builds_read_the_same(shop, carried):
    specs = [TargetSpec(f"reading/{name}.py:model", ("f32[4]",)) for name in ("first", "second", "fourth")]
    done = shop.build(*specs, schedule="threads:3")
    for spec in specs:
        assert shop.reads(done, spec.entry) == shop.reads(carried, spec.entry)


def test_a_target_that_fails_has_read_what_it_read(shop):
    shop.write("reading/broken.py", "import net.late\nimport net.unused\n")
    done = shop.build(TargetSpec("reading/broken.py:model", ("f32[4]",)))
    assert done.run.builds[0].failure.kind == "import"
    assert {"reading/broken.py", "net/late.py", "net/unused.py"} <= shop.reads(
        done, "reading/broken.py:model"
    )["file"]


def test_what_a_shared_module_reads_once_and_keeps_counts_for_all_who_use_it(shop):
    shop.write("data/kept.txt", "2")
    shop.write(
        "keeping.py",
        """
        import functools
        import os
        from pathlib import Path
        DATA = Path(__file__).parent / "data"
        kept = None

        @functools.cache
        def weights(name):
            return float(opened(name)) + len(os.environ.get("KEPT_WORD", ""))

        def opened(name):
            return (DATA / name).read_text()

        def table():
            global kept
            if kept is None:
                kept = len(list(DATA.iterdir()))
            return kept
        """,
    )
    for name in ("one", "two", "three"):
        shop.write(
            f"reading/kept_{name}.py",
            "import keeping\ndef model(x):\n    return x * keeping.weights('kept.txt') * keeping.table()\n",
        )
    specs = [TargetSpec(f"reading/kept_{name}.py:model", ("f32[4]",)) for name in ("one", "two", "three")]
    done = shop.build(*specs, TargetSpec("reading/fourth.py:model", ("f32[4]",)))
    for spec in specs:
        found = shop.reads(done, spec.entry)
        assert {"data", "data/kept.txt"} <= found["file"]
        assert "KEPT_WORD" in found["env"]
    assert shop.reads(done, "reading/fourth.py:model")["file"] == {"reading/fourth.py"}


# -- the ledger by itself --------------------------------------------------------------------------


def names(ledger, owner):
    return [read.name for read in ledger.of(owner)]


def test_a_ledger_follows_owners_within_owners():
    ledger = Ledger(())
    with ledger.owner("target a"):
        with ledger.owner("module m"):
            ledger.source("module m", "/p/m.py", b"m")
        ledger.source("target a", "/p/a.py", b"a")
    ledger.depends("target b", "module m")
    assert names(ledger, "target a") == ["/p/a.py", "/p/m.py"]
    assert names(ledger, "target b") == ["/p/m.py"]
    assert names(ledger, "target c") == []


def test_a_ledger_follows_circles():
    ledger = Ledger(())
    ledger.depends("module a", "module b")
    ledger.depends("module b", "module a")
    ledger.source("module b", "/p/b.py", b"b")
    assert names(ledger, "module a") == names(ledger, "module b") == ["/p/b.py"]


def test_threads_without_an_owner_count_for_everybody():
    ledger = Ledger(())

    def work():
        with ledger.owner("target a"):  # a pool's thread, given a target
            ledger.source(ledger.current, "/p/a.py", b"a")
        ledger.source(ledger.current, "/p/shared.py", b"s")
        ledger.depends(ledger.current, module_owner("m"))
        with ledger.owner(module_owner("m")):
            ledger.source(ledger.current, "/p/m.py", b"m")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert names(ledger, "target a") == ["/p/a.py", "/p/m.py", "/p/shared.py"]
    assert names(ledger, "target b") == ["/p/m.py", "/p/shared.py"]


def test_a_thread_that_goes_on_reading_disturbs_nobody():
    ledger = Ledger(())

    def read_on():
        for number in range(3000):
            ledger.variable(ledger.current, f"V{number}")
            ledger.depends(ledger.current, f"module {number}")

    thread = threading.Thread(target=read_on)
    thread.start()
    while thread.is_alive():
        ledger.of("target a")
    thread.join()
    assert len(ledger.of("target a")) == 3000


def test_nobody_owns_what_is_done_for_nobody(tmp_path):
    ledger = Ledger(())
    hear = Hooks(ledger).on_audit
    with ledger.owner("target a"):
        with ledger.owner(None):
            hear("open", (str(tmp_path / "x"), "r", 0))
        hear("open", (str(tmp_path / "y"), "r", 0))
    hear("open", (str(tmp_path / "z"), "r", 0))
    assert names(ledger, "target a") == [str(tmp_path / "y")]


def test_a_digest_of_what_was_read_is_never_replaced_by_a_stat(tmp_path):
    path = tmp_path / "m.py"
    path.write_bytes(b"m")
    ledger = Ledger(())
    hear = Hooks(ledger).on_audit
    with ledger.owner("target a"):
        hear("open", (str(path), "r", 0))
        ledger.source("target a", str(path), b"m")
        hear("open", (str(path), "r", 0))
    module, text = ledger.of("target a")
    assert module == Read("file", str(path), hashlib.sha256(b"m").hexdigest())
    assert (text.name, text.digest) == (looks.text(str(path)), None)


@pytest.mark.parametrize(
    ("mode", "flags", "booked"),
    [
        ("r", 0, True), ("rb", os.O_RDONLY, True), (None, os.O_RDONLY, True), ("r+", os.O_RDWR, True),
        ("w", os.O_WRONLY, False), ("a", os.O_WRONLY, False), ("x", os.O_WRONLY, False),
        (None, os.O_WRONLY | os.O_CREAT, False),
    ],
)  # fmt: skip
def test_only_reading_is_a_dependency(mode, flags, booked, tmp_path):
    ledger = Ledger((str(tmp_path / "ignored"),))
    hear = Hooks(ledger).on_audit
    with ledger.owner("target a"):
        hear("open", (str(tmp_path / "file"), mode, flags))
        hear("open", (str(tmp_path / "ignored" / "file"), mode, flags))
        hear("open", (str(tmp_path), mode, flags))  # a folder
        hear("open", (7, mode, flags))  # a descriptor: whoever opened it was booked
        hear("open", ("nul\0", mode, flags))
        hear("import", (str(tmp_path / "file"), mode, flags))
    assert names(ledger, "target a") == [str(tmp_path / "file")] * booked
