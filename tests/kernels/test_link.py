"""Running linked kernels: buffers, donation, speed, and how they are called."""

from __future__ import annotations

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pcvd import jaxnames
from pcvd.kernels import library
from pcvd.kernels.compile import compile_kernels
from pcvd.kernels.link import Linked

X = jnp.linspace(0, 1, 16).reshape(4, 4)


def chain(length):
    """A chain of products: every result has the type of every other."""

    def run(x):
        for _ in range(length):
            x = jnp.tanh(x @ x)
        return x

    return run


def test_buffers_are_freed_at_their_last_use(shop):
    def model(x):
        return chain(20)(jnp.broadcast_to(x[0, 0], (512, 512)))

    graph = shop.graph(model, X, policy="ops")
    linked = shop.linked(graph)
    size = 512 * 512 * 4
    alive = []
    run = linked._direct[10].run

    def watching(arrays):
        alive.append(sum(array.nbytes == size for array in jax.live_arrays()))
        return run(arrays)

    linked._direct[10] = linked._direct[10]._replace(run=watching)
    gc.collect()
    linked([X])
    assert alive <= [2]
    assert graph.peak_bytes() <= 2 * size + 4


def test_what_is_needed_by_nobody_else_is_donated(shop):
    graph = shop.graph(chain(5), X, policy="ops")
    assert [graph.kernels[step.kernel].donated for step in graph.steps] == [
        (),
        (0,),
        (0,),
        (0,),
        (0,),
    ] or all(graph.kernels[step.kernel].donated == () for step in graph.steps)
    linked = shop.linked(graph)
    x = jnp.array(X)
    first = linked([x])
    assert shop.bits(linked([x])) == shop.bits(first)
    assert not x.is_deleted()


def test_arguments_that_are_given_away_are_used(shop):
    function = jax.jit(lambda x, y: (chain(3)(x), x + y), donate_argnums=0)
    linked = library.compile_kernels(function, X, X, policy="ops")
    x, y = jnp.array(X), jnp.array(X)
    got = linked(x, y)
    assert x.is_deleted()
    assert not y.is_deleted()
    assert shop.close(got, (chain(3)(X), X + X))


def test_the_same_array_may_be_several_arguments_and_results(shop):
    linked = library.compile_kernels(lambda x, y: (x, jnp.tanh(x @ y), y, x), X, X, policy="ops")
    first, second, third, fourth = linked(X, X)
    assert shop.close((first, second, third, fourth), (X, jnp.tanh(X @ X), X, X))


def test_results_that_are_constants_may_be_given_away(shop):
    held = jnp.arange(3.0)
    linked = library.compile_kernels(lambda x: (held, 1.5, x.sum()), X)
    give = jax.jit(lambda x: x + 1, donate_argnums=0)
    for _ in range(2):
        constant, scalar, _ = linked(X)
        give(constant)
        give(scalar)
    assert held.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "function",
    [
        lambda: (jnp.zeros(3), 1.0),
        dict,
        lambda: None,
    ],
)
def test_functions_without_arguments_or_results(shop, function):
    assert shop.close(library.compile_kernels(function)(), jax.jit(function)())


def test_effects_without_results_are_run():
    said = []
    linked = library.compile_kernels(
        lambda x: jax.debug.callback(lambda y: said.append(float(y)), x.sum()), X
    )
    assert linked(X) is None
    jax.effects_barrier()
    assert said == [pytest.approx(8.0)]


def test_random_keys_cross_and_come_back(shop):
    def model(key, x):
        for _ in range(3):
            key, one = jax.random.split(key)
            x = jnp.tanh(x @ x) + jax.random.normal(one, x.shape)
        return key, x

    args = jax.random.key(5), X
    linked = library.compile_kernels(model, *args, policy="ops")
    key, x = linked(*args)
    expected_key, expected_x = jax.jit(model)(*args)
    assert shop.bits(key) == shop.bits(expected_key)
    assert shop.close(x, expected_x)


def test_not_a_number_is_found_where_jax_is_told_to_look():
    linked = library.compile_kernels(lambda x: jnp.log(x) @ X, X, policy="ops")
    linked(-X)
    with (
        jax.debug_nans(True),
        pytest.raises(FloatingPointError, match=r"kernel_\w+ \(.*test_link.py:\d+\).*nan"),
    ):
        jax.block_until_ready(linked(-X - 1))


def test_calls_return_before_the_work_is_done(shop):
    def model(x):
        return chain(30)(jnp.broadcast_to(x[0, 0] * 1e-3, (700, 700)))

    linked = shop.linked(shop.graph(model, X, policy="ops"))
    jax.block_until_ready(linked([X]))
    assert not all(linked([X])[0].is_ready() for _ in range(20))


def test_what_is_plain_is_called_without_being_looked_at_again(shop):
    def model(key, x):
        return jax.random.normal(key, x.shape) @ jnp.tanh(x @ x)

    graph = shop.graph(model, jax.random.key(0), X, policy="ops")
    calls = [jaxnames.direct_call(one.compiled) for one in compile_kernels(graph.kernels)]
    takes_a_key = [
        any(jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended) for aval in kernel.in_avals)
        for kernel in graph.kernels
    ]
    assert [call is None for call in calls] == takes_a_key
    assert any(takes_a_key)
    assert not all(takes_a_key)


def test_executables_from_either_side_may_be_mixed(shop):
    graph = shop.graph(chain(3), X, policy="ops")
    threads = compile_kernels(graph.kernels)
    processes = compile_kernels(graph.kernels, how="processes")
    assert shop.bits(Linked(graph, [one.compiled for one in threads])([X])) == shop.bits(
        Linked(graph, [one.compiled for one in processes])([X])
    )


def test_numpy_arrays_are_taken_as_arguments(shop):
    linked = library.compile_kernels(chain(2), X)
    assert shop.close(linked(np.asarray(X)), linked(X))
