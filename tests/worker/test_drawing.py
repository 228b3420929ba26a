"""How a worker draws the cut of a target: from its declaration to plain values, or to what is in the way."""

from __future__ import annotations

import pytest

from pcvd.core.errors import TargetError, UsageError
from pcvd.core.model import TargetSpec

MODEL = """
    import jax
    import jax.numpy as jnp
    from functools import partial

    def layers(x, y):
        for _ in range(3):
            x = jnp.tanh(x @ y)
        return x

    def broken(x):
        raise ValueError("no such layer")

    @partial(jax.jit, in_shardings=jax.sharding.SingleDeviceSharding(jax.devices()[0]))
    def placed(x):
        return x @ x
"""
ARGS = ("f32[4,4]", "f32[4,4]")


@pytest.fixture(scope="module")
def drawn(workshop):
    workshop.write("drawing.py", MODEL)

    def draw(name, policy="ops", args=("f32[4,4]",)):
        return workshop.call(workshop.pool.cut(TargetSpec(f"drawing.py:{name}", args), policy))

    return draw


def test_kernels_steps_and_their_places_below_the_root(drawn):
    told = drawn("layers", args=ARGS)
    assert told["policy"] == "ops"
    assert [(one["file"], one["line"], one["uses"]) for one in told["kernels"]] == [("drawing.py", 8, 3)]
    assert {one["file"] for one in told["steps"]} == {"drawing.py"}


def test_a_policy_that_is_none(drawn):
    with pytest.raises(UsageError, match="no policy") as found:
        drawn("layers", "opps", ARGS)
    assert "ops" in found.value.hint


@pytest.mark.parametrize(
    ("name", "says", "file", "line"),
    [
        ("broken", "no such layer", "drawing.py", 12),
        ("placed", "can't be cut: .*where or how", "drawing.py", None),
        ("lost", "no 'lost'", "drawing.py", None),
    ],
)
def test_what_is_in_the_way_is_told_with_its_place(drawn, name, says, file, line):
    with pytest.raises(TargetError, match=says) as found:
        drawn(name)
    assert (found.value.file, found.value.line) == (file, line)
