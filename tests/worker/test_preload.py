"""Installed modules that the settings name are imported ahead of workers, and nothing is otherwise for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pcvd.core.errors import SetupError
from pcvd.core.model import TargetSpec

MODEL = "import {0}\n\ndef model(x):\n    return x * {0}.FACTOR\n"
SPEC = TargetSpec("model.py:model", ("f32[4]",))
NAME = "pcv_test_of_preload"


@pytest.fixture
def installed():
    """Installs a module for workers of this interpreter; gone afterwards."""
    site = Path(next(path for path in sys.path if path.endswith("site-packages")))
    path = site / f"{NAME}.py"
    yield lambda text: path.write_text(f"FACTOR = 2.0\n{text}\n", encoding="utf-8")
    path.unlink(missing_ok=True)


@pytest.fixture
def shops(open_workshop):
    """A project that imports the module, without preloading and with it."""
    with open_workshop() as plain, open_workshop(preload=(NAME,)) as ahead:
        for shop in (plain, ahead):
            shop.write("model.py", MODEL.format(NAME))
        yield plain, ahead


def built(shop):
    (build,) = shop.built(SPEC)
    return {stage: shop.text(build, stage) for stage in ("stablehlo", "hlo")}


def test_what_is_built_is_the_same_and_so_is_what_was_read(shops, installed):
    installed("import os; os.environ.get('PCV_ASKED_AT_IMPORT')")
    plain, ahead = shops
    assert built(ahead) == built(plain)
    reads = ahead.reads(ahead.build(SPEC), SPEC.entry)
    assert reads == plain.reads(plain.build(SPEC), SPEC.entry)
    assert "PCV_ASKED_AT_IMPORT" in reads["env"]
    assert f"{NAME}.py" in reads["absent"]


def test_who_does_not_import_it_does_not_depend_on_it(shops, installed):
    installed("import os; os.environ.get('PCV_ASKED_AT_IMPORT')")
    _, ahead = shops
    ahead.write("other.py", "def model(x):\n    return x\n")
    other = TargetSpec("other.py:model", ("f32[4]",))
    reads = ahead.reads(ahead.build(other), other.entry)
    assert "PCV_ASKED_AT_IMPORT" not in reads["env"]
    assert f"{NAME}.py" not in reads["absent"]


def test_it_is_imported_once_for_all_workers(shops, installed, tmp_path):
    log = tmp_path / "log"
    installed(f"open({str(log)!r}, 'a').write('imported ')")
    _, ahead = shops
    for _ in range(3):
        ahead.built(SPEC)
    # Once in each of the usual zygotes: that of the challengers is brought along.
    assert 1 <= len(log.read_text(encoding="utf-8").split()) <= 2


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("import threading as t; t.Timer(600, print).start()", "threads"),
        ("import jax; jax.devices()", "backends"),
        ("import jax; jax.config.update('jax_enable_x64', True)", "configuration"),
        ("import os; os.environ['PCV_SET_BY_IMPORT'] = '1'", "environment"),
        ("import sys; sys.path.append('/nowhere')", "where modules are found"),
        ("import pcv_own_code", "is not installed"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("open('settings.txt').read()", "settings.txt"),
        ("import subprocess; subprocess.run(['true'])", "true"),
    ],
)  # fmt: skip
def test_a_module_that_does_more_than_define_things_is_refused_with_the_reason(
    shops, installed, does, reason
):
    installed(does)
    _, ahead = shops
    ahead.write("pcv_own_code.py", "")
    ahead.write("settings.txt", "")
    with pytest.raises(SetupError, match=f"{NAME} can't be imported ahead .*{reason}") as refused:
        ahead.build(SPEC)
    assert "preload" in refused.value.hint


def test_the_project_s_own_module_is_never_passed_over(shops, installed):
    installed("")
    _, ahead = shops
    ahead.built(SPEC)
    ahead.write(f"{NAME}.py", "FACTOR = 3.0\n")
    failure = ahead.failure(SPEC)
    assert failure.kind == "crash"
    assert f"{NAME}.py would be found before" in failure.message + (failure.trace or "")
    ahead.call(ahead.pool.rest())
    with pytest.raises(SetupError, match="is not installed"):
        ahead.build(SPEC)
