"""Compiled kernels in a folder: they outlive their process, and nothing that is not whole is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import jax
import pytest

import pcv
from pcv_config import places
from pcvd.kernels.compile import compile_kernels
from pcvd.kernels.shelf import STATE, Damaged, FolderCache, usual

KEY = "ab" * 32

MODEL = textwrap.dedent("""
    import json, sys
    import jax, jax.numpy as jnp
    import pcv

    def layers(weights, x):
        for number, one in enumerate(weights):
            x = x + (jnp.sin if str(number) in sys.argv[1:] else jnp.tanh)(x @ one) @ one.T
        return x

    weights = [jnp.full((16, 16), 0.01 * n) for n in range(6)]
    linked = pcv.compile_kernels(layers, weights, jnp.ones((4, 16)), policy="ops")
    told = [row.origin for row in linked.report.rows]
    print(json.dumps([told, linked.report.notes, linked(weights, jnp.ones((4, 16))).sum().item().hex()]))
""")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kernels"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_put_is_there_for_everybody_until_it_is_replaced(folder):
    assert FolderCache(str(folder)).get(KEY) is None
    FolderCache(str(folder)).put(KEY, b"one")
    assert FolderCache(str(folder)).get(KEY) == b"one"
    FolderCache(str(folder)).put(KEY, b"other")
    assert FolderCache(str(folder)).get(KEY) == b"other"
    assert names(folder) == [KEY]
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("torn", [b"", b"short", b"\0" * 64])
def test_what_is_torn_is_told_and_can_be_put_anew(folder, torn):
    cache = FolderCache(str(folder))
    cache.put(KEY, b"one")
    (folder / KEY).write_bytes(torn)
    with pytest.raises(Damaged, match=KEY):
        cache.get(KEY)
    cache.put(KEY, b"one")
    assert cache.get(KEY) == b"one"


def test_what_others_may_have_written_is_not_loaded(folder):
    cache = FolderCache(str(folder))
    cache.put(KEY, b"one")
    (folder / KEY).chmod(0o666)
    with pytest.raises(Damaged, match="others may have written it"):
        cache.get(KEY)


def test_what_was_not_wanted_for_longest_goes_first(folder):
    cache = FolderCache(str(folder), most_bytes=100)
    for age, key in enumerate(("old", "wanted", "young")):
        cache.put(key, b"")
        os.utime(folder / key, (age, age))
    assert cache.get("old") == b""  # which makes it young
    cache.put("last", b"")
    assert names(folder) == ["last", "old", "young"]


def test_nothing_is_left_of_what_can_not_be_written(folder, monkeypatch):
    cache = FolderCache(str(folder))
    cache.put(KEY, b"one")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space left"):
        cache.put("cd" * 32, b"two")
    assert names(folder) == [KEY]


def test_there_is_none_where_jax_is_to_do_without_nor_where_pcv_keeps_nothing(tmp_path, monkeypatch):
    assert STATE == places.STATE
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path / "models")
    assert usual() is None
    (tmp_path / STATE).mkdir()
    assert isinstance(usual(), FolderCache)
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert usual() is None
    finally:
        jax.config.update("jax_enable_compilation_cache", True)


def test_a_damaged_one_is_compiled_anew_with_a_remark_and_mended(shop, stack, folder):
    graph = shop.graph(stack.loss, *stack.args)
    cache = FolderCache(str(folder))
    compile_kernels(graph.kernels, cache=cache)
    path = next(folder.iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    (mended,) = [one for one in compile_kernels(graph.kernels, cache=cache) if one.origin != "cache"]
    assert "could not be loaded from the cache, and was built anew: Damaged" in mended.note
    assert {one.origin for one in compile_kernels(graph.kernels, cache=cache)} == {"cache"}


class Script:
    """A model as people run it: each time a process of its own, in a folder of a project or in none."""

    def __init__(self, folder):
        self._folder = folder
        (folder / "model.py").write_text(MODEL, encoding="utf-8")

    def run(self, *edited):
        """Where its kernels came from, the notes, and its result, with these layers edited."""
        command = [sys.executable, "model.py", *edited]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)


@pytest.fixture
def script(tmp_path):
    return Script(tmp_path)


def test_in_a_project_an_edit_compiles_what_it_changed(script, tmp_path):
    (tmp_path / STATE).mkdir()
    origins, notes, first = script.run()
    assert set(origins) == {"threads"}
    again, _, second = script.run()
    assert (set(again), notes, second) == ({"cache"}, [], first)
    edited, _, third = script.run("3")
    assert 0 < edited.count("threads") < len(edited)
    assert third != first


def test_outside_of_a_project_nothing_is_kept(script, tmp_path):
    (tmp_path / "pcv.toml").touch()  # of one in which pcv was never at work
    for _ in range(2):
        assert set(script.run()[0]) == {"threads"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.py", "pcv.toml"]


def test_the_report_says_how_many_were_kept(shop, stack, folder):
    for told in ("distinct; ", "distinct (4 from the cache); "):
        linked = pcv.compile_kernels(stack.loss, *stack.args, cache=FolderCache(str(folder)))
        assert told.replace("4", str(linked.report.distinct)) in str(linked.report)
