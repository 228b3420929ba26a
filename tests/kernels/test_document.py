"""A cut in JSON: what it says, and that pictures can be made of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import pytest

from pcvctl import dot, parts, svg
from pcvctl.cut import Cut
from pcvd.kernels import cut_jaxpr, cut_traced, document

X = jnp.ones((4, 4))


def model(x, y):
    for _ in range(3):
        x = jnp.tanh(x @ y)
    return x


def test_it_tells_kernels_steps_and_who_feeds_whom():
    told = document(cut_jaxpr(jax.make_jaxpr(model)(X, X), "ops"), "ops")
    assert json.loads(json.dumps(told)) == told
    [kernel] = told["kernels"]
    assert kernel["uses"] == len(told["steps"]) == 3
    assert kernel["equations"] == 2
    assert (kernel["takes"], kernel["gives"]) == (["float32[4,4]"] * 2, ["float32[4,4]"])
    assert (kernel["file"], kernel["line"]) == (__file__, model.__code__.co_firstlineno + 2)
    assert told["edges"] == [{"from": one, "to": one + 1, "values": 1, "bytes": 64} for one in range(2)]
    assert [one["argument_bytes"] for one in told["steps"]] == [128, 64, 64]
    assert [one["result_bytes"] for one in told["steps"]] == [0, 0, 64]
    assert told["boundary_bytes"] == 128
    assert told["notes"] == []


def test_a_jaxpr_is_cut_like_what_it_was_traced_from(stack):
    traced = jax.jit(stack.gradient).trace(*stack.args)
    assert document(cut_jaxpr(traced.jaxpr), "auto") == document(cut_traced(traced), "auto")


def test_donated_arguments_are_told_by_position():
    graph = cut_jaxpr(jax.make_jaxpr(lambda x, y: (x @ y, x.sum()))(X, X), "whole", donated=[1])
    assert document(graph, "whole")["kernels"][0]["donated"] == [1]


def test_why_it_was_not_cut_is_told():
    def counts(x):
        reference = jax.new_ref(jnp.zeros(3))
        reference[...] += jnp.sin(x)
        return jnp.cos(reference[...])

    told = document(cut_jaxpr(jax.make_jaxpr(counts)(X[0, :3]), [1, 2, 3]), "places")
    assert len(told["steps"]) == 1
    assert "can't leave the program" in told["notes"][0]


@pytest.mark.parametrize("render", [dot.render, svg.render, lambda told: parts.render(told, 100)])
def test_it_can_be_drawn(stack, render):
    told = document(cut_traced(jax.jit(stack.gradient).trace(*stack.args)), "auto")
    assert all(name in render(told) for name in ("conftest.py", "17 kernels (auto)"))


def test_what_is_drawn_is_the_graph(stack):
    graph = cut_traced(jax.jit(stack.gradient).trace(*stack.args))
    cut = Cut.of(document(graph, "auto"))
    assert cut.steps == tuple(step.kernel for step in graph.steps)
    assert {(one.giver, one.taker): one.values for one in cut.feeds} == {
        edge: len(values) for edge, values in graph.edges().items()
    }


def test_it_is_the_same_in_every_process():
    script = textwrap.dedent("""
        import json, sys, jax, jax.numpy as jnp
        from pcvd.kernels import cut_jaxpr, document
        x = jnp.ones((4, 4))
        jaxpr = jax.make_jaxpr(jax.grad(lambda x: jnp.tanh(jnp.tanh(x @ x) @ x).sum()))(x)
        print(json.dumps(document(cut_jaxpr(jaxpr, "ops"), "ops")))
    """)

    def told(seed):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-W", "error", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    first = told("1")
    assert json.loads(first)["steps"]
    assert told("2") == first
