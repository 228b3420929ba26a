"""Compiling kernels: in threads and processes, from a cache, and what goes wrong."""

from __future__ import annotations

import copy
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pcvd.kernels import compile as compiling
from pcvd.kernels import portable, processes
from pcvd.kernels.compile import MemoryCache, compile_kernels
from pcvd.kernels.errors import CompilerDied, KernelFailed

X = jnp.linspace(0, 1, 16).reshape(4, 4)


def model(x, weights):
    for _ in range(3):
        x = jnp.tanh(x @ weights)
    return jax.lax.cumsum(x), jax.random.normal(jax.random.key(3), (2,))


@pytest.fixture(scope="module")
def graph(shop):
    return shop.graph(model, X, X, policy="ops")


@pytest.fixture(scope="module")
def serial(shop, graph):
    return shop.bits(shop.linked(graph, workers=1)([X, X]))


@pytest.mark.parametrize(
    ("workers", "how"), [(2, "threads"), (4, "threads"), (1, "processes"), (2, "processes")]
)
def test_concurrent_builds_compute_the_same_bits(shop, graph, serial, workers, how):
    built = compile_kernels(graph.kernels, workers, how=how)
    assert [one.kernel for one in built] == list(graph.kernels)
    assert {(one.origin, one.note) for one in built} == {(how, "")}
    assert shop.bits(shop.linked(graph, workers=workers, how=how)([X, X])) == serial


def test_each_kernel_is_compiled_once_the_largest_first(graph, monkeypatch):
    order = []
    lower = compiling._task

    def task(kernel, *rest):
        order.append(kernel.weight)
        return lower(kernel, *rest)

    monkeypatch.setattr(compiling, "_task", task)
    compile_kernels(graph.kernels)
    assert order == sorted((kernel.weight for kernel in graph.kernels), reverse=True)


def test_a_cache_is_asked_first_and_filled(shop, graph, serial):
    cache = MemoryCache()
    assert {one.origin for one in compile_kernels(graph.kernels, cache=cache)} == {"threads"}
    assert len(cache) == len(graph.kernels)
    assert {one.origin for one in compile_kernels(graph.kernels, cache=cache)} == {"cache"}
    assert shop.bits(shop.linked(graph, cache=cache)([X, X])) == serial


def test_what_processes_compiled_is_cached_as_well(graph):
    cache = MemoryCache()
    compile_kernels(graph.kernels, 2, how="processes", cache=cache)
    assert {one.origin for one in compile_kernels(graph.kernels, cache=cache)} == {"cache"}


def compiled(shop, stack, cache):
    """The kernels of its gradient that had to be compiled."""
    graph = shop.graph(stack.gradient, *stack.args)
    return [one.kernel for one in compile_kernels(graph.kernels, cache=cache) if one.origin != "cache"]


@pytest.fixture(scope="module")
def unedited(shop, stack):
    """A cache that holds the kernels of a model of eight layers."""
    cache = MemoryCache()
    assert 4 <= len(compiled(shop, stack, cache)) <= 6
    return cache


@pytest.mark.parametrize("layer", [0, 1, 4, 6, 7])
def test_editing_one_layer_compiles_only_that_layers_own_kernels(shop, unedited, stack_of, layer):
    cache = copy.deepcopy(unedited)
    edited = stack_of(8, {layer: jnp.sin})
    assert len(compiled(shop, edited, cache)) == 2  # forward and backward
    assert compiled(shop, edited, cache) == []


def test_the_key_is_the_same_the_same_and_another(graph):
    def key(kernel, options=()):
        return portable.key(kernel.jitted().lower(*kernel.arguments), dict(options), None)

    first, *others = graph.kernels
    assert key(first) == key(first)
    assert key(first) != key(first, {"xla_cpu_enable_fast_math": True}.items())
    assert all(key(first) != key(other) for other in others)


def test_a_damaged_executable_is_built_anew(shop, graph, serial):
    class Damaged(MemoryCache):
        def get(self, key):
            held = super().get(key)
            return None if held is None else held[: len(held) // 2]

    cache = Damaged()
    compile_kernels(graph.kernels, cache=cache)
    built = compile_kernels(graph.kernels, cache=cache)
    assert {one.origin for one in built} == {"threads"}
    assert all("could not be loaded" in one.note for one in built)
    assert shop.bits(shop.linked(graph, cache=cache)([X, X])) == serial


@pytest.mark.parametrize("how", ["threads", "processes"])
def test_a_kernel_that_does_not_compile_is_named_with_its_line(shop, how):
    def wrong(x):
        return jax.ffi.ffi_call("no_such_target", jax.ShapeDtypeStruct((4, 4), jnp.float32))(jnp.tanh(x @ x))

    graph = shop.graph(wrong, X, policy="ops")
    with pytest.raises(KernelFailed, match="no_such_target") as caught:
        compile_kernels(graph.kernels, how=how)
    assert caught.value.kernel == graph.kernels[0].name
    assert caught.value.file == __file__
    assert caught.value.line == wrong.__code__.co_firstlineno + 1


def test_a_callback_is_compiled_here_and_says_so_and_is_not_cached(shop):
    def calling(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((4, 4), jnp.float32), x) @ x

    graph = shop.graph(calling, X, policy="ops")
    cache = MemoryCache()
    built = compile_kernels(graph.kernels, how="processes", cache=cache)
    here = [one for one in built if one.origin == "threads"]
    assert len(here) == 1
    assert "in this process" in here[0].note
    assert len(cache) == len(built) - 1
    np.testing.assert_allclose(shop.linked(graph)([X])[0], np.sin(X) @ X, rtol=1e-5)


def fake(tmp_path, text):
    """A compiling process that does something else."""
    path = tmp_path / "child.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
        ("import sys; sys.stdin.buffer.read(100); sys.exit(7)", "ended with exit code 7"),
        ("raise SystemError('no backend')", "exit code 1: SystemError: no backend"),
        (
            "import sys; sys.stdin.buffer.read(8); print('hello there, this is no answer at all')",
            "its compiler",
        ),
    ],
)
def test_a_worker_that_dies_is_told_with_the_kernel(graph, tmp_path, monkeypatch, text, reason):
    monkeypatch.setattr(processes, "CHILD", fake(tmp_path, text))
    with pytest.raises(CompilerDied, match=reason) as caught:
        compile_kernels(graph.kernels, 2, how="processes")
    assert caught.value.kernel in {kernel.name for kernel in graph.kernels}
    assert caught.value.file == __file__


def test_no_process_is_left_behind(graph, tmp_path, monkeypatch):
    started = []
    begin = processes.subprocess.Popen

    def popen(*args, **kwargs):
        started.append(begin(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(processes.subprocess, "Popen", popen)
    monkeypatch.setattr(
        processes, "CHILD", fake(tmp_path, "import sys; sys.stdin.buffer.read(8); sys.exit(1)")
    )
    with pytest.raises(CompilerDied):
        compile_kernels(graph.kernels, 2, how="processes")
    assert started
    assert all(one.returncode is not None for one in started)


def test_nobody_waits_for_a_process_that_hangs_where_another_failed(graph, tmp_path, monkeypatch):
    text = f"""
import os, sys, time
try:
    os.close(os.open({str(tmp_path / "first")!r}, os.O_CREAT | os.O_EXCL))
except FileExistsError:
    sys.exit(3)
time.sleep(3600)
"""
    monkeypatch.setattr(processes, "CHILD", fake(tmp_path, text))
    with pytest.raises(CompilerDied):
        compile_kernels(graph.kernels, len(graph.kernels), how="processes")


def test_at_least_one_must_work(graph):
    with pytest.raises(ValueError, match="workers is 0"):
        compile_kernels(graph.kernels, 0)


def test_configuration_of_the_callers_thread_holds(shop):
    with jax.enable_x64(True):
        x = jnp.linspace(0, 1, 4, dtype=jnp.float64)
        graph = shop.graph(lambda x: jax.lax.cumsum(jnp.sin(x)), x)
        for how in ("threads", "processes"):
            [result] = shop.linked(graph, workers=2, how=how)([x])
            assert result.dtype == jnp.float64
            np.testing.assert_allclose(result, np.cumsum(np.sin(x)), rtol=1e-12)


def test_several_compilations_at_once(shop, graph, serial):
    found = []

    def work():
        found.append(shop.bits(shop.linked(graph, workers=2)([X, X])))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [serial] * 3
