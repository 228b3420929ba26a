"""Which kernels are one: the same, the same but for what means nothing, and different ones."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

X = jnp.ones((4, 4))


def digests(shop, function, *args):
    """What the kernels of a function are told by, each equation a kernel of its own."""
    program = shop.program(function, *args)
    graph = shop.graph(function, *args, policy=range(len(program.equations) + 1))
    return [graph.kernels[step.kernel].digest for step in graph.steps]


def one(shop, function, *args):
    """The digest of a function that is one kernel."""
    graph = shop.graph(function, *args, policy="whole")
    assert len(graph.steps) == 1
    return graph.kernels[0].digest


def scanned(held):
    return lambda x: jax.lax.scan(lambda carry, row: (carry + row * held, None), jnp.zeros(4), x)[0]


def called(function):
    """A new function object around another one."""
    return lambda x: jax.jit(lambda y: function(y))(x)


TRIPLES = {
    # name: a function, one that is equal but for what means nothing, one that is not
    "primitives": (jnp.sin, lambda renamed: jnp.sin(renamed), jnp.cos),
    "parameters": (lambda x: x.sum(0), lambda x: jnp.sum(x, axis=(0,)), lambda x: x.sum(1)),
    "order of operands": (lambda x: x - jnp.sin(x), lambda y: y - jnp.sin(y), lambda x: jnp.sin(x) - x),
    "which operand": (
        lambda x: jnp.sin(x) * jnp.sin(x),
        lambda y: jnp.sin(y) ** 2 * 1,
        lambda x: jnp.sin(x) * x,
    ),
    "scalars": (lambda x: x * 2.0, lambda x: x * np.float32(2), lambda x: x * 3.0),
    "kinds of scalars": (
        lambda x: x.astype(int) + 1,
        lambda x: x.astype(int) + 1,
        lambda x: x.astype(int) + 2,
    ),
    "nested calls": (called(jnp.sin), called(lambda x: jnp.sin(x)), called(jnp.cos)),
    "loops": (scanned(2.0), scanned(np.float32(2)), scanned(3.0)),
    "branches": (
        lambda x: jax.lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
        lambda x: jax.lax.cond(x[0, 0] > 0, lambda y: jnp.sin(y), lambda y: jnp.cos(y), x),
        lambda x: jax.lax.cond(x[0, 0] > 0, jnp.cos, jnp.sin, x),
    ),
    "custom derivatives": (jax.nn.relu, jax.jit(jax.nn.relu), jax.nn.silu),
    "remat": (
        jax.grad(lambda x: jax.checkpoint(jnp.sin)(x).sum()),
        jax.grad(lambda x: jax.checkpoint(lambda y: jnp.sin(y))(x).sum()),
        jax.grad(lambda x: jax.checkpoint(jnp.cos)(x).sum()),
    ),
    "results": (lambda x: (jnp.sin(x), x + 1), lambda y: (jnp.sin(y), y + 1), lambda x: (x + 1, jnp.sin(x))),
}


@pytest.mark.parametrize("name", TRIPLES)
def test_same_irrelevant_relevant(shop, name):
    function, irrelevant, relevant = TRIPLES[name]
    digest = one(shop, function, X)
    assert one(shop, function, X) == digest
    if name != "which operand":  # there the second is equal in what it computes, not in how
        assert one(shop, irrelevant, X) == digest
    assert one(shop, relevant, X) != digest


@pytest.mark.parametrize(
    "other",
    [jnp.ones((4, 5)), jnp.ones((4, 4), jnp.bfloat16), jnp.ones((4, 4), jnp.int32), jnp.ones((2, 4, 4))],
)
def test_types_tell_kernels_apart(shop, other):
    assert one(shop, jnp.abs, X) == one(shop, jnp.abs, X + 1)
    assert one(shop, jnp.abs, X) != one(shop, jnp.abs, other)


def test_a_weak_type_is_a_type_of_its_own(shop):
    assert one(shop, lambda x: x + x, 2.0) != one(shop, lambda x: x + x, jnp.float32(2))


def test_weights_that_differ_in_value_do_not_make_kernels_distinct(shop):
    layers = [np.full((4, 4), number, np.float32) for number in range(5)]

    def model(x):
        for weights in layers:
            x = jnp.tanh(x @ weights)
        return x

    graph = shop.graph(model, X, policy="ops")
    assert (len(graph.steps), len(graph.kernels)) == (5, 1)
    assert shop.interpreted(graph, [X]) == shop.bits(model(X))


def test_a_scalar_in_which_many_layers_differ_becomes_an_argument(shop):
    def model(count, x):
        for number in range(count):
            x = jnp.tanh(x @ x) * (0.5 + number)
        return x

    def graph(count):
        return shop.graph(lambda x: model(count, x), X, policy="ops")

    assert len(graph(2).kernels) == 2
    assert len(graph(6).kernels) == 1
    assert shop.interpreted(graph(6), [X]) == shop.bits(model(6, X))


def test_layers_numbers_folded_into_a_key_do_not_make_kernels_distinct(shop):
    def model(x, key):
        for number in range(6):
            x = jnp.tanh(x @ x) + jax.random.normal(jax.random.fold_in(key, number), (4, 4))
        return x

    graph = shop.graph(model, X, jax.random.key(0), policy="ops")
    assert (len(graph.steps), len(graph.kernels)) == (6, 1)
    assert shop.interpreted(graph, [X, jax.random.key(0)]) == shop.bits(model(X, jax.random.key(0)))


def test_not_a_number_is_equal_to_itself(shop):
    assert one(shop, lambda x: x + float("nan"), X) == one(shop, lambda x: x + float("nan"), X)


def test_true_one_and_one_point_nought_are_three(shop):
    def kinds(value):
        return shop.program(lambda x: x + value, X).signatures._code(value)

    assert len({kinds(True), kinds(1), kinds(1.0)}) == 3


def test_callbacks_are_one_only_if_they_are_the_same(shop):
    def calling(function):
        return lambda x: jax.pure_callback(function, jax.ShapeDtypeStruct((4, 4), jnp.float32), x)

    def model(first, second):
        return lambda x: calling(second)(jnp.sin(calling(first)(x)))

    def kernels(first, second):
        return len(shop.graph(model(first, second), X, policy=[1, 2]).kernels)

    assert kernels(np.sin, np.cos) == 3
    # JAX wraps a callback anew at each call, so that even the same one may count as two, never two as one.
    assert kernels(np.sin, np.sin) in {2, 3}


def test_where_it_stands_and_what_it_is_called_means_nothing(shop):
    def first(x):
        return jnp.sin(x)

    def second(y):

        return jnp.sin(y)

    assert one(shop, first, X) == one(shop, second, X)
    inner, outer = digests(shop, lambda x: jax.lax.cumsum(jax.lax.cumsum(x)), X)
    assert inner == outer


SCRIPT = """
import jax, jax.numpy as jnp
from pcvd.kernels import cut_traced
def model(x, key):
    x = jax.lax.scan(lambda c, row: (jnp.tanh(c + row) * 0.1, None), jnp.zeros(4), x)[0]
    x = jax.nn.relu(x) + jax.random.normal(key, (4,))
    return jax.grad(lambda x: jax.checkpoint(jnp.sin)(x).sum())(x) @ x
traced = jax.jit(model).trace(jnp.ones((4, 4)), jax.random.key(0))
print([kernel.digest for kernel in cut_traced(traced, "ops").kernels])
"""


def test_digests_are_the_same_in_every_process():
    def run(seed):
        environment = os.environ | {
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert run("1") == run("2") != ""
