"""`pcv.kernel`: a boundary that changes nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pcv
from pcv.boundary import MARK
from pcvd.kernels import primitives

X = jnp.linspace(-1, 1, 6).reshape(2, 3)


def plain(x, weights, *, times=2, activation=jnp.tanh, name="block"):
    for _ in range(times):
        x = activation(x * weights)
    return {"x": x, "name": name, "count": times, "nothing": None, "host": np.arange(times)}


marked = pcv.kernel(plain)


def value(function):
    return lambda x, weights: function(x, weights)["x"].sum()


TRANSFORMS = {
    "nothing": lambda f: value(f),
    "jit": lambda f: jax.jit(value(f)),
    "grad": lambda f: jax.grad(value(f), argnums=(0, 1)),
    "jit of grad": lambda f: jax.jit(jax.grad(value(f), argnums=(0, 1))),
    "grad of jit": lambda f: jax.grad(jax.jit(value(f))),
    "vmap": lambda f: jax.vmap(value(f)),
    "vmap of grad": lambda f: jax.jit(jax.vmap(jax.grad(value(f)))),
    "jvp": lambda f: lambda x, w: jax.jvp(value(f), (x, w), (x, w)),
    "hessian": lambda f: jax.hessian(value(f)),
    "remat": lambda f: jax.grad(jax.checkpoint(value(f))),
    "scan": lambda f: lambda x, w: jax.lax.scan(lambda c, row: (c + f(row, c)["x"], None), w[0], x)[0],
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_it_computes_what_the_function_computes(shop, name):
    transform = TRANSFORMS[name]
    assert shop.close(transform(marked)(X, X + 1), transform(plain)(X, X + 1), rtol=1e-6)


def test_what_is_no_array_stays_what_it_is():
    found = {}

    @jax.jit
    def model(x):
        found.update(marked(x, 2.0, times=3, activation=jnp.sin, name="layer"))
        return found.pop("x")

    model(X)
    assert found.pop("host").tolist() == [0, 1, 2]
    assert found == {"name": "layer", "count": 3, "nothing": None}


def test_outside_of_a_trace_the_function_itself_is_called():
    @pcv.kernel
    def branching(x):
        return "positive" if x > 0 else "negative"

    assert branching(jnp.float32(1)) == "positive"
    assert branching.__name__ == "branching"


def test_tracers_may_be_closed_over(shop):
    def model(x):
        @pcv.kernel
        def inner(y):
            return x * y

        return inner(jnp.sin(x)).sum()

    assert shop.close(jax.grad(model)(X), jax.grad(lambda x: (x * jnp.sin(x)).sum())(X))


def test_errors_are_the_functions_own():
    with pytest.raises(ZeroDivisionError):
        jax.jit(pcv.kernel(lambda x: x / (1 // 0)))(X)


def test_both_sides_know_the_same_mark():
    assert MARK == primitives.MARK


@pytest.mark.parametrize("transform", ["jit", "jit of grad", "vmap of grad"])
def test_the_mark_is_found_again(shop, transform):
    program = shop.program(TRANSFORMS[transform](marked), X, X + 1)
    assert any(span.marked and span.name == f"{MARK}plain" for span in program.spans)
