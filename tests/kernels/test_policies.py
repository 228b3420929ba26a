"""Where each policy cuts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import pcv
from pcv_config import settings
from pcvd.kernels.errors import CutRefused
from pcvd.kernels.policies import POLICIES, cut


def uses(graph):
    """How often each kernel is used, the most used first."""
    counts = [0] * len(graph.kernels)
    for step in graph.steps:
        counts[step.kernel] += 1
    return sorted(counts, reverse=True)


def names(program, places):
    """The primitives before which it is cut."""
    return [program.equations[place].origin.primitive.name for place in places]


def test_settings_know_the_same_policies():
    assert sorted(settings.POLICIES) == sorted(POLICIES)


def test_whole_is_one_kernel(shop, stack):
    graph = shop.graph(stack.gradient, *stack.args, policy="whole")
    assert uses(graph) == [1]


@pytest.mark.parametrize("layers", [6, 12])
def test_a_loop_in_python_is_cut_at_its_layers_forward_and_backward(shop, stack_of, layers):
    stack = stack_of(layers)
    for policy in ("repeats", "auto"):
        graph = shop.graph(stack.gradient, *stack.args, policy=policy)
        forward, backward, *others = uses(graph)
        assert forward >= layers - 3
        assert backward >= layers - 3
        assert len(others) <= 5
    assert len(shop.graph(stack_of(2 * layers).gradient, *stack_of(2 * layers).args).kernels) == len(
        graph.kernels
    )


def test_layers_are_cut_where_little_crosses(shop, stack_of):
    graph = shop.graph(stack_of(12).loss, *stack_of(12).args)
    activation = 4 * 16 * 4
    crossing = [
        sum(map(graph.bytes_of, values))
        for (start, stop), values in graph.edges().items()
        if stop == start + 1
    ]
    assert sorted(crossing)[len(crossing) // 2] == activation


def test_turns_that_are_too_small_are_taken_several_at_a_time(shop):
    def steps(x):
        for _ in range(100):
            x = x + 0.1 * jnp.sin(x)
        return x

    graph = shop.graph(steps, jnp.ones(4), policy="repeats")
    assert 4 <= len(graph.steps) <= 14
    assert len(graph.kernels) <= 3


def test_calls_are_cut_at_calls_of_some_size(shop):
    @jax.jit
    def large(x):
        for _ in range(20):
            x = jnp.sin(x) + jnp.cos(x)
        return x

    @jax.jit
    def small(x):
        return x * 2

    def model(x):
        return small(large(small(x) @ x) @ large(x))

    program = shop.program(model, jnp.ones((4, 4)))
    places = cut(program, "calls").places
    assert len(places) in {3, 4}
    sizes = [len(segment) for segment in cut(program, "calls").segments(len(program.equations))]
    assert sizes.count(60) == 2


def test_remat_is_a_call_in_the_backward_pass(shop):
    @jax.checkpoint
    def block(x, weights):
        for _ in range(8):
            x = jnp.tanh(x @ weights)
        return x

    def loss(weights, x):
        return block(block(x, weights), weights).sum()

    program = shop.program(jax.grad(loss), jnp.ones((4, 4)), jnp.ones((2, 4)))
    cuts = cut(program, "calls")
    assert names(program, cuts.places).count("remat2") + names(program, cuts.places).count("checkpoint") >= 1


def test_ops_begin_with_a_product_and_take_along_what_follows(shop):
    def model(x, weights):
        return jnp.sin(jnp.tanh(x @ weights) @ weights + 1) @ weights

    program = shop.program(model, jnp.ones((4, 4)), jnp.ones((4, 4)))
    places = cut(program, "ops").places
    assert set(names(program, places)) == {"dot_general"}
    graph = shop.graph(model, jnp.ones((4, 4)), jnp.ones((4, 4)), policy="ops")
    assert len(graph.steps) == 3


def test_much_without_repeats_is_divided_by_size(shop):
    operations = [jnp.sin, jnp.cos, jnp.tanh, jnp.exp, jnp.abs, jnp.sqrt, jnp.square]

    def model(x):
        state = 12345
        for _ in range(1500):
            state = (1103515245 * state + 12345) % 2**31
            x = operations[(state >> 16) % len(operations)](x)
        return x

    graph = shop.graph(model, jnp.ones(4))
    assert 2 <= len(graph.steps) <= 8


def test_places_may_be_given(shop):
    def model(x):
        return jax.lax.cumsum(jax.lax.cumprod(jax.lax.cummax(x)))

    assert [step.equations for step in shop.graph(model, jnp.ones(3), policy=[1, 2, 0, 3]).steps] == [1, 1, 1]
    with pytest.raises(CutRefused, match="between 0 and 3"):
        shop.graph(model, jnp.ones(3), policy=[4])


def test_an_unknown_policy_is_refused_with_those_there_are(shop):
    with pytest.raises(CutRefused, match=r'no policy "layers".*auto, repeats, calls, ops, whole'):
        shop.graph(jnp.sin, 1.0, policy="layers")


def test_marked_kernels_are_boundaries_forward_and_backward(shop):
    @pcv.kernel
    def block(weights, x):
        return jnp.tanh(x @ weights)

    def loss(weights, x):
        for one in weights:
            x = block(one, x) + 1
        return x.sum()

    weights = [jnp.ones((4, 4))] * 3
    forward = shop.graph(loss, weights, jnp.ones((2, 4)), policy="calls")
    assert [step.equations for step in forward.steps if forward.kernels[step.kernel].function == "block"] == [
        2,
        2,
        2,
    ]
    backward = shop.graph(jax.grad(loss), weights, jnp.ones((2, 4)), policy="repeats")
    assert sum(backward.kernels[step.kernel].function == "block" for step in backward.steps) == 6
    assert len(shop.graph(loss, weights, jnp.ones((2, 4)), policy="whole").steps) == 1


def test_a_cut_within_the_life_of_a_mutable_reference_is_taken_back(shop):
    def model(x):
        y = jnp.sin(x)
        reference = jax.new_ref(y)
        reference[...] = jnp.cos(reference[...])
        return jnp.tan(reference[...]) * 2

    program = shop.program(model, jnp.ones(3))
    every = cut(program, range(len(program.equations) + 1))
    assert len(every.places) < len(program.equations) - 1
    assert "can't leave the program" in every.notes[0]
    graph = shop.graph(model, jnp.ones(3), policy=range(len(program.equations) + 1))
    assert shop.close(shop.linked(graph)([jnp.ones(3)]), [model(jnp.ones(3))])
