"""Kinds of targets that are hard to cut or to call, built kernel by kernel: linked they do what they did."""

from __future__ import annotations

import pytest

from pcvd.core.model import TargetSpec

MODEL = """
    from functools import partial

    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.experimental import io_callback

    held = np.full((4, 4), 0.3, np.float32)
    calls = [0]

    def passes(x, y):
        return x, y, 3.0, x @ y, x

    @partial(jax.jit, donate_argnums=0)
    def donates(x, y):
        for _ in range(4):
            x = jnp.tanh(x @ y)
        return x

    def scalars():
        return jnp.ones((4, 4)), 2.0, np.float32(3), True

    def scaled(x, one, other, flag):
        return (jnp.where(flag, x @ x * one, x) @ x) * other, one

    def keyed(key, x):
        one, two = jax.random.split(key)
        return (x @ jax.random.normal(one, (4, 4))) @ jax.random.normal(two, (4, 4)), two

    def calls_back(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((4, 4), jnp.float32), x @ x) @ x

    def prints(x):
        jax.debug.print("sum {}", x.sum())
        return (x @ x) @ x

    def closes(x):
        return (x @ held) @ held

    def low(x):
        return (x @ x) @ x

    def powers():
        return jnp.full((4, 4), 0.1), 3

    @partial(jax.jit, static_argnums=1, compiler_options={"xla_cpu_enable_fast_math": True})
    def optioned(x, power):
        for _ in range(power):
            x = jnp.exp(x @ x)
        return x

    def counts(x):
        def more(x):
            calls[0] += 1
            return np.float32(calls[0])

        return io_callback(more, jax.ShapeDtypeStruct((), jnp.float32), x, ordered=True) + (x @ x) @ x
"""
SQUARE = "f32[4,4]"
KINDS = {
    "passes": (SQUARE, SQUARE),
    "donates": (SQUARE, SQUARE),
    "scaled": "partition_kinds.py:scalars",
    "keyed": ("key[]", SQUARE),
    "calls_back": (SQUARE,),
    "prints": (SQUARE,),
    "closes": (SQUARE,),
    "low": ("bf16[4,4]",),
    "optioned": "partition_kinds.py:powers",
    "counts": (SQUARE,),
}


@pytest.fixture(scope="module")
def judged(workshop):
    """The judgement on each of them, by its name."""
    workshop.write("partition_kinds.py", MODEL)
    specs = [TargetSpec(f"partition_kinds.py:{name}", args) for name, args in KINDS.items()]
    record = workshop.hold(*specs, schedules=("serial", "threads:2"), partition="ops").record
    return {one.target.partition(":")[2]: one for one in record.judgements}


@pytest.mark.parametrize("name", [name for name in KINDS if name != "counts"])
def test_it_is_cut_compared_linked_and_run(judged, name):
    one = judged[name]
    assert one.verdict in {"agree", "equivalent"}, one.reason
    assert one.kernels["verdict"] in {"agree", "equivalent"}, one.kernels["reason"]
    assert one.kernels["steps"] > 1
    assert one.kernels["linked"]["bitwise"] is True
    assert one.kernels["linked"]["against_whole"]["within_tolerance"] is True


def test_what_does_not_repeat_itself_in_one_piece_does_not_either_when_it_is_linked(judged):
    one = judged["counts"]
    assert (one.verdict, one.kernels["verdict"]) == ("unstable", "unstable")
    assert one.kernels["linked"]["bitwise"] is False
