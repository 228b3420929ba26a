"""Random programs, cut at random places, compute what they computed uncut."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jax.experimental import io_callback

from pcvd.kernels.extract import extract
from pcvd.kernels.policies import POLICIES, cut
from pcvd.kernels.program import flatten

SHAPE = (3, 4)
HELD = np.linspace(-1, 1, 12, dtype=np.float32).reshape(SHAPE)  # a constant that is closed over


@jax.jit
def nested(x, y):
    return jnp.where(x > y, jax.nn.relu(x), y), jnp.sin(y)


@jax.custom_vjp
def clipped(x):
    return jnp.clip(x, -1, 1)


clipped.defvjp(lambda x: (jnp.clip(x, -1, 1), x), lambda x, g: (g * (x > 0),))


def looped(x, y):
    return jax.lax.scan(lambda carry, row: (jnp.tanh(carry + row), carry.sum()), y[0], x)[0]


def branched(x, y):
    return jax.lax.cond(x.sum() > 0, lambda x, y: x * y, lambda x, y: x - y, x, y)


def repeated(x):
    return jax.lax.fori_loop(0, 3, lambda turn, x: x * 0.5 + turn, x)


# Each takes two arrays and returns one or several.
STEPS = [
    lambda x, y: x + y,
    lambda x, y: x * y - 0.5,
    lambda x, y: jnp.tanh(x) @ (y.T @ x),
    lambda x, y: x / (1 + jnp.abs(y)),
    lambda x, y: nested(x, y),
    lambda x, y: clipped(x + y),
    lambda x, y: jnp.broadcast_to(looped(x, y), SHAPE),
    branched,
    lambda x, y: repeated(x),
    lambda x, y: jax.checkpoint(lambda x: jnp.sin(jnp.cos(x)))(x),
    lambda x, y: jax.grad(lambda x: jax.checkpoint(lambda x: jnp.sin(x) * y)(x).sum())(x),
    lambda x, y: jax.grad(lambda x: (clipped(x) * nested(x, y)[0]).sum())(x),
    lambda x, y: jax.random.normal(jax.random.fold_in(jax.random.key(3), 7), SHAPE) + x,
    lambda x, y: jnp.split(x, 2, axis=1)[0] @ jnp.ones((2, 4)),
    lambda x, y: jax.nn.softmax(x) + jnp.sort(y, axis=0),
    lambda x, y: x + HELD,
    lambda x, y: (x.astype(jnp.int32) // 2).astype(x.dtype),
    lambda x, y: jnp.zeros_like(x),
    lambda x, y: jnp.cumsum(x, axis=0) - y.mean(),
    lambda x, y: jax.lax.stop_gradient(x).at[0].set(y[1]),
]


def program(steps, results):
    """A function that applies steps to values made so far, returns some of them and other things."""

    def run(x, y, key):
        values = [x, y]
        for step, one, other in steps:
            made = STEPS[step](values[one % len(values)], values[other % len(values)])
            values += made if isinstance(made, tuple) else [made]
        fixed = {"scalar": 2.5, "held": HELD, "key": jax.random.split(key)[0], "argument": x}
        return [values[place % len(values)] for place in results], fixed

    return run


PROGRAMS = st.builds(
    program,
    st.lists(st.tuples(st.integers(0, len(STEPS) - 1), st.integers(0, 9), st.integers(0, 9)), max_size=7),
    st.lists(st.integers(0, 12), max_size=4),
)
PLACES = st.lists(st.integers(0, 400), max_size=8)
# Shrinking would compile for minutes.
UNHURRIED = functools.partial(
    settings, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)


def arguments():
    return (
        jnp.asarray(np.random.default_rng(0).normal(size=SHAPE), jnp.float32),
        jnp.asarray(np.random.default_rng(1).normal(size=SHAPE), jnp.float32),
        jax.random.key(1),
    )


def cut_at(function, places):
    traced = jax.jit(function).trace(*arguments())
    flat = flatten(traced.jaxpr)
    return traced, extract(flat, cut(flat, [place % (len(flat.equations) + 1) for place in places]))


@UNHURRIED(max_examples=80)
@given(PROGRAMS, PLACES)
def test_operation_by_operation_the_bits_are_equal(shop, function, places):
    traced, graph = cut_at(function, places)
    jaxpr = traced.jaxpr
    whole = jax.core.eval_jaxpr(jaxpr.jaxpr, jaxpr.consts, *arguments())
    assert shop.bits(whole) == shop.interpreted(graph, arguments())


@UNHURRIED(max_examples=15)
@given(PROGRAMS, PLACES)
def test_compiled_they_are_equal_but_for_rounding(shop, function, places):
    traced, graph = cut_at(function, places)
    linked = shop.linked(graph)
    whole = jax.tree.leaves(traced.lower().compile()(*arguments()))
    for _ in range(2):  # nothing of the first run may be left for the second
        for one, other in zip(linked(arguments()), whole, strict=True):
            assert jax.typeof(one) == jax.typeof(other)
            assert shop.close(one, other)


@UNHURRIED(max_examples=40)
@given(PROGRAMS, st.sampled_from(sorted(POLICIES)))
def test_every_policy_is_sound(shop, function, policy):
    traced = jax.jit(function).trace(*arguments())
    flat = flatten(traced.jaxpr)
    graph = extract(flat, cut(flat, policy))
    whole = jax.core.eval_jaxpr(traced.jaxpr.jaxpr, traced.jaxpr.consts, *arguments())
    assert shop.bits(whole) == shop.interpreted(graph, arguments())


@UNHURRIED(max_examples=25)
@given(PROGRAMS, PLACES)
def test_a_graph_is_well_formed(function, places):
    _, graph = cut_at(function, places)
    known = {*graph.inputs, *(value for value, _ in graph.constants)}
    freed = set()
    for step, ends in zip(graph.steps, graph.last_uses(), strict=True):
        kernel = graph.kernels[step.kernel]
        assert known.issuperset(step.reads)
        assert freed.isdisjoint(step.reads)
        assert known.isdisjoint(step.writes)
        assert len(set(step.reads)) == len(step.reads)
        assert [graph.avals[value] for value in step.reads] == list(kernel.in_avals)
        assert [graph.avals[value] for value in step.writes] == list(kernel.out_avals)
        assert {step.reads[place] for place in kernel.donated} <= set(ends)
        known.update(step.writes)
        freed.update(ends)
    assert known.issuperset(graph.outputs)
    assert freed.isdisjoint(graph.outputs)
    assert freed.isdisjoint(graph.inputs)
    assert len({kernel.digest for kernel in graph.kernels}) == len(graph.kernels)


def test_ordered_effects_stay_in_order_wherever_it_is_cut(shop):
    said = []

    def note(number):
        said.append(int(number))
        return np.float32(number)

    def talking(x):
        for number in range(5):
            x = x + io_callback(note, jax.ShapeDtypeStruct((), jnp.float32), number, ordered=True)
            x = jnp.sin(x)
        return x

    flat = flatten(jax.jit(talking).trace(jnp.float32(1)).jaxpr)
    for places in ([], [1], [3, 4], list(range(len(flat.equations)))):
        graph = extract(flat, cut(flat, places))
        linked = shop.linked(graph)
        said.clear()
        linked([jnp.float32(1)])
        jax.effects_barrier()
        assert said == list(range(5)), places
