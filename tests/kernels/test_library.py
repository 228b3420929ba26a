"""`pcv.compile_kernels`, as users call it."""

from __future__ import annotations

import functools
import gc
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pcv
from pcvd.kernels import CutRefused, KernelFailed, NotTraceable, WrongArguments, cut_traced
from pcvd.kernels.compile import MemoryCache

X = jnp.linspace(0, 1, 16).reshape(4, 4)


def predict(params, x, *, scale=1.0):
    for layer in params["layers"]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return {"out": x * scale, "sum": x.sum()}


def params(layers=3):
    return {"layers": [{"w": X * number, "b": X[0]} for number in range(layers)]}


@pytest.mark.parametrize("policy", ["auto", "repeats", "calls", "ops", "whole"])
def test_the_linked_function_is_called_like_the_original(shop, policy):
    linked = pcv.compile_kernels(predict, params(), X, policy=policy)
    assert shop.close(linked(params(), X), predict(params(), X))
    assert shop.close(linked(params=params(), x=X), predict(params(), X))
    assert shop.close(linked(params(), x=np.asarray(X)), predict(params(), X))
    assert linked.report.policy == policy


def test_shapes_are_enough(shop):
    shapes = jax.eval_shape(lambda: (params(), X))
    assert shop.close(pcv.compile_kernels(predict, *shapes)(params(), X), predict(params(), X))


def test_it_reports_what_it_did(stack):
    linked = pcv.compile_kernels(stack.gradient, *stack.args, workers=2)
    report = linked.report
    assert report.kernels > report.distinct > 2
    assert report.saved_s > 0
    assert report.boundary_bytes > 0
    assert report.peak_bytes > 0
    assert sum(row.uses for row in report.rows) == report.kernels
    text = str(report)
    assert f"{report.kernels} kernels (auto), {report.distinct} distinct" in text
    assert "conftest.py:" in text


def test_gradients_of_layers_agree_with_the_whole(shop, stack_of):
    stack = stack_of(4)
    linked = pcv.compile_kernels(stack.gradient, *stack.args)
    assert shop.close(linked(*stack.args), jax.jit(stack.gradient)(*stack.args))


def test_a_jitted_function_keeps_its_options(shop):
    @functools.partial(
        jax.jit,
        static_argnums=1,
        static_argnames="flag",
        compiler_options={"xla_cpu_enable_fast_math": False},
    )
    def model(x, times, flag=True):
        for _ in range(times):
            x = jnp.tanh(x @ x)
        return x if flag else -x

    linked = pcv.compile_kernels(model, X, 3)
    assert shop.close(linked(X, 3), model(X, 3))
    assert shop.close(linked(X, times=3, flag=True), model(X, 3))
    with pytest.raises(WrongArguments, match="static argument 1 is 4, compiled for 3"):
        linked(X, 4)
    with pytest.raises(WrongArguments, match="static argument 2 is False, compiled for True"):
        linked(X, 3, flag=False)
    with pytest.raises(WrongArguments, match="too few"):
        linked(X)


def test_an_argument_it_was_not_compiled_with_is_refused():
    linked = pcv.compile_kernels(predict, params(), X)
    with pytest.raises(WrongArguments, match="compiled with the defaults of scale"):
        linked(params(), X, scale=2.0)


def test_leaves_that_are_no_arrays_are_closed_over(shop):
    def model(module, x):
        return module["activation"](x @ module["w"])

    module = {"activation": jnp.tanh, "w": X}
    linked = pcv.compile_kernels(model, module, X)
    assert shop.close(linked(module, X), model(module, X))
    with pytest.raises(WrongArguments, match="compiled for"):
        linked(module | {"activation": jnp.sin}, X)


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ((X[:2],), r"compiled for float32\[4,4\], not float32\[2,4\]"),
        ((X.astype(jnp.int32),), r"not int32\[4,4\]"),
        ((), "structure"),
        ((X, X), "structure"),
        (([X],), "structure"),
    ],
)
def test_wrong_arguments_are_refused_with_both_types(args, reason):
    linked = pcv.compile_kernels(jnp.tanh, X)
    with pytest.raises(WrongArguments, match=reason):
        linked(*args)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, lambda f: jax.grad(lambda x: f(x).sum())])
def test_it_says_that_it_cannot_be_traced(transform):
    linked = pcv.compile_kernels(jnp.tanh, X)
    with pytest.raises(NotTraceable, match=r"can't be traced.*transform the function first"):
        transform(linked)(X)


def test_transformed_first_it_works(shop):
    def model(x):
        return jnp.tanh(x @ x).sum()

    batch = jnp.stack([X, X + 1])
    transformed = jax.vmap(jax.grad(model))
    assert shop.close(pcv.compile_kernels(transformed, batch)(batch), jax.jit(transformed)(batch))


def test_what_cannot_be_built_as_kernels_is_built_as_one_and_says_why(shop, monkeypatch):
    from pcvd.kernels import library

    def fails(*_, **__):
        raise KernelFailed("kernel_0", "does not compile: for the test", file="model.py", line=3)

    monkeypatch.setattr(library, "compile_all", fails)
    linked = pcv.compile_kernels(predict, params(), X)
    assert shop.close(linked(params(), X), predict(params(), X))
    assert linked.graph is None
    assert linked.report.notes == (
        "compiled as one program: model.py:3: kernel_0: does not compile: for the test",
    )
    with pytest.raises(KernelFailed):
        pcv.compile_kernels(predict, params(), X, strict=True)


def test_a_mutable_argument_is_not_cut(shop):
    reference = jax.new_ref(jnp.zeros(3))

    def model(x):
        reference[...] += jax.lax.cumsum(jnp.sin(x))
        return reference[...]

    linked = pcv.compile_kernels(model, jnp.ones(3), policy="ops")
    assert linked.report.kernels == 1
    first = linked(jnp.ones(3))
    assert shop.close(linked(jnp.ones(3)), first * 2)


def test_an_unknown_policy_is_no_reason_to_build_as_one():
    with pytest.raises(CutRefused, match="no policy"):
        pcv.compile_kernels(predict, params(), X, policy="layers")


def test_an_error_of_the_function_is_its_own():
    with pytest.raises(TypeError, match="dot_general"):
        pcv.compile_kernels(lambda x: x @ X[:3], X)


def test_a_cache_makes_the_second_time_quick():
    cache = MemoryCache()
    pcv.compile_kernels(predict, params(), X, policy="ops", cache=cache)
    again = pcv.compile_kernels(predict, params(), X, policy="ops", cache=cache)
    assert {row.origin for row in again.report.rows} == {"cache"}


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled):
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        cut_traced(jax.jit(jnp.tanh).trace(X))
        with pytest.raises(CutRefused):
            cut_traced(jax.jit(jnp.tanh).trace(X), "layers")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()


def test_importing_pcv_imports_neither_jax_nor_the_daemon():
    script = (
        "import pcv, sys; print(any(name.split('.')[0] in ('jax', 'numpy', 'pcvd') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
