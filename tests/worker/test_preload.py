"""What the project imports is imported ahead of its workers, and nothing is otherwise for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pcvd.core.model import TargetSpec

MODEL = "import {package}\n\ndef model(x):\n    return x * {package}.FACTOR\n"
SPEC = TargetSpec("model.py:model", ("f32[4]",))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package of one module, for workers of this interpreter; gone afterwards."""
    site = Path(next(path for path in sys.path if path.endswith("site-packages")))
    made = []

    def install(name, text):
        path = site / f"{name}.py"
        assert not path.exists()
        path.write_text(text, encoding="utf-8")
        made.append(path)

    yield install
    for path in made:
        path.unlink()


def ahead(shop):
    return shop.pool._zygotes._ahead


def built(shop):
    (build,) = shop.built(SPEC)
    assert build.failure is None
    return {stage: shop.text(build, stage) for stage in ("stablehlo", "hlo")}


def test_what_a_target_imports_is_there_for_the_next(open_workshop, installed):
    installed("pcv_given", "FACTOR = 2.0\n")
    with open_workshop() as shop:
        shop.write("model.py", MODEL.format(package="pcv_given"))
        before = built(shop)
        assert ahead(shop) == ()
        shop.call(shop.pool.prepare())
        assert ahead(shop) == ("pcv_given",)
        assert built(shop) == before


def test_what_its_import_reads_is_read_by_who_imports_it(open_workshop, installed):
    installed("pcv_asking", "import os\nFACTOR = float(os.environ.get('PCV_FACTOR_ASKED', '2'))\n")
    with open_workshop() as shop:
        shop.write("model.py", MODEL.format(package="pcv_asking"))
        shop.write("other.py", "def model(x):\n    return x\n")
        first = shop.reads(shop.build(SPEC), SPEC.entry)
        shop.call(shop.pool.prepare())
        assert ahead(shop) == ("pcv_asking",)
        assert shop.reads(shop.build(SPEC), SPEC.entry) == first
        assert "PCV_FACTOR_ASKED" in first["env"]
        assert "pcv_asking.py" in first["absent"]
        other = TargetSpec("other.py:model", ("f32[4]",))
        assert "PCV_FACTOR_ASKED" not in shop.reads(shop.build(other), other.entry)["env"]


def test_the_project_s_own_module_goes_before_one_that_was_imported_ahead(open_workshop, installed):
    installed("pcv_shadowed", "FACTOR = 2.0\n")
    with open_workshop() as shop:
        shop.write("model.py", MODEL.format(package="pcv_shadowed"))
        before = built(shop)
        shop.call(shop.pool.prepare())
        shop.write("pcv_shadowed.py", "FACTOR = 3.0\n")
        assert built(shop)["stablehlo"] != before["stablehlo"]
        shop.call(shop.pool.rest())
        assert built(shop)["stablehlo"] != before["stablehlo"]
        assert "pcv_shadowed" not in ahead(shop)


@pytest.mark.parametrize(
    "does",
    [
        "import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
        "import jax; jax.devices()",
        "import jax; jax.config.update('jax_enable_x64', True)",
        "import os; os.environ['PCV_SET_BY_IMPORT'] = '1'",
        "import sys; sys.path.append('/nowhere')",
        "import pcv_own_code",
        "import sys\nif 'pcvd.worker.session' not in sys.modules: raise SystemExit(3)",
    ],
    ids=["thread", "backend", "configuration", "variable", "path", "own-code", "exit"],
)
def test_a_package_that_does_more_than_define_things_is_imported_by_who_wants_it(
    open_workshop, installed, does
):
    installed("pcv_doing", f"FACTOR = 2.0\n{does}\n")
    installed("pcv_harmless", "FACTOR = 2.0\n")
    with open_workshop() as shop:
        shop.write("pcv_own_code.py", "")
        shop.write("model.py", "import pcv_harmless\n" + MODEL.format(package="pcv_doing"))
        before = built(shop)
        shop.call(shop.pool.prepare())
        assert ahead(shop) == ("pcv_harmless",)
        assert built(shop) == before


def test_reference_and_challenger_are_given_the_same(open_workshop, installed):
    installed("pcv_late", "FACTOR = 2.0\n")
    with open_workshop() as shop:
        shop.write("model.py", MODEL.format(package="pcv_late"))
        shop.built(SPEC)  # by the reference's zygote, which lives on
        shop.built(SPEC, schedule="threads:2")  # a zygote that is started later imports no more than that one
        assert ahead(shop) == ()
        assert shop.pool._zygotes.outdated
