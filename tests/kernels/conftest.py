"""What tests of kernels share: programs cut without more ado, and what they compute without a compiler."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pcvd.kernels.compile import compile_kernels
from pcvd.kernels.extract import extract
from pcvd.kernels.link import Linked
from pcvd.kernels.policies import cut
from pcvd.kernels.program import flatten


class Shop:
    """Cuts functions and runs what comes of it."""

    def program(self, function, *args):
        """The flattened program of a function."""
        return flatten(jax.jit(function).trace(*args).jaxpr)

    def graph(self, function, *args, policy="auto"):
        """The kernels of a function, cut by a policy or at places."""
        program = self.program(function, *args)
        return extract(program, cut(program, policy))

    def linked(self, graph, **how):
        """Its kernels compiled and linked: from flat arrays to flat arrays."""
        return Linked(graph, [one.compiled for one in compile_kernels(graph.kernels, **how)])

    def interpreted(self, graph, arguments):
        """What a graph computes, operation by operation: no compiler comes between, so bits must be equal."""
        values = dict(zip(graph.inputs, arguments, strict=True)) | dict(graph.constants)
        for step in graph.steps:
            jaxpr = graph.kernels[step.kernel].jaxpr
            results = jax.core.eval_jaxpr(jaxpr.jaxpr, (), *(values[value] for value in step.reads))
            values.update(zip(step.writes, results, strict=True))
        return self.bits([values[value] for value in graph.outputs])

    def bits(self, tree):
        """Arrays as types and bytes, random keys as their words."""
        return [self._bits(jnp.asarray(leaf)) for leaf in jax.tree.leaves(tree)]

    def _bits(self, value):
        if jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended):
            value = jax.random.key_data(value)
        held = np.asarray(value)
        return str(held.dtype), held.shape, held.tobytes()

    def close(self, one, other, rtol=1e-5):
        """Whether two trees are equal but for rounding, relative to the largest entry of each array."""
        assert jax.tree.structure(one) == jax.tree.structure(other)
        for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            assert (left.dtype, left.shape) == (right.dtype, right.shape)
            if jax.dtypes.issubdtype(left.dtype, jax.dtypes.extended):
                assert self._bits(left) == self._bits(right)
                continue
            scale = float(np.max(np.abs(np.asarray(right, np.float64)), initial=0.0))
            np.testing.assert_allclose(left, right, rtol=rtol, atol=rtol * scale)
        return True


@pytest.fixture(scope="session")
def shop():
    """A shop."""
    return Shop()


class Stack:
    """A small unrolled model: a plain loop over layers."""

    def __init__(self, layers, activations=None):
        keys = jax.random.split(jax.random.key(0), layers + 1)
        self.weights = [jax.random.normal(key, (16, 16)) / 4 for key in keys[1:]]
        self.x = jax.random.normal(keys[0], (4, 16))
        self.args = self.weights, self.x
        self.activations = activations or {}

    def loss(self, weights, x):
        for number, one in enumerate(weights):
            inner = self.activations.get(number, jnp.tanh)(x @ one)
            x = x + jax.nn.softmax(inner @ one.T) * (1 + jnp.sin(inner)).mean()
            x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return (x**2 * jnp.arange(16)).mean()

    @property
    def gradient(self):
        return jax.grad(self.loss)


@pytest.fixture(scope="session")
def stack():
    """Eight layers."""
    return Stack(8)


@pytest.fixture(scope="session")
def stack_of():
    """Layers as wanted."""
    return Stack
