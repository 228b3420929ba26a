"""Targets built kernel by kernel as well, in real workers: what agrees, what differs, what goes wrong."""

from __future__ import annotations

import pytest

from pcvd.core.builds import LINKED
from pcvd.core.model import TargetSpec

MODEL = """
    import os
    import threading
    import time
    from functools import partial

    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.extend.core import Primitive
    from jax.interpreters import mlir

    def layers(x, y):
        for _ in range(6):
            x = jnp.tanh(x @ y)
        return {"last": x, "sum": x.sum()}

    def of(name, factor):
        def rule(ctx, x):
            of_kernel = "kernel_" in str(ctx.module_context.module.operation.attributes["sym_name"])
            times = factor() if of_kernel else 2.0
            return mlir.lower_fun(lambda x: x * times, multiple_results=False)(ctx, x)

        primitive = Primitive(name)
        primitive.def_abstract_eval(lambda x: x)
        mlir.register_lowering(primitive, rule)
        return lambda x, y: primitive.bind(x @ y) @ y

    def fails():
        raise ValueError("no such factor")

    on_thread = of("on_thread", lambda: 2.0 + (threading.current_thread() is not threading.main_thread()))
    by_process = of("by_process", lambda: float(os.environ["PYTHONHASHSEED"]))
    broken = of("broken", fails)
    slow = of("slow", lambda: time.sleep(600) or 1.0)
    deadly = of("deadly", lambda: os._exit(3))

    @partial(jax.jit, in_shardings=jax.sharding.SingleDeviceSharding(jax.devices()[0]))
    def placed(x, y):
        return x @ y

    @partial(jax.jit, donate_argnums=0, static_argnames="times")
    def mixed(x, key, scale, times, module):
        activation, weights = module
        noise = jax.random.normal(key, x.shape)
        for _ in range(times):
            x = jnp.sin(x @ weights) * scale + noise
        return x, key

    def mixed_args():
        return jnp.ones((4, 4)), jax.random.key(0), 0.5, 3, (None, np.ones((4, 4), np.float32))

    def uncut(x, y):
        return x + y
"""


@pytest.fixture(scope="module")
def held(workshop):
    """The judgement of one round over a function of the model, and its runs."""
    workshop.write("partition.py", MODEL)

    def hold(
        name, policy="ops", schedules=("serial", "threads:2"), args=("f32[4,4]", "f32[4,4]"), **settings
    ):
        spec = TargetSpec(f"partition.py:{name}", args)
        record = workshop.hold(spec, schedules=schedules, partition=policy, **settings).record
        (judgement,) = record.judgements
        return judgement, record.runs

    return hold


def names(run):
    return sorted(build.kernel.name for build in run.kernels if build.copy == 0)


def test_kernels_are_built_under_every_schedule_once_a_build_and_agree(held):
    judgement, runs = held("layers", schedules=("serial", "threads:2", "processes:2"))
    assert judgement.verdict == "agree", judgement.reason
    told = judgement.kernels
    assert (told["policy"], told["verdict"], told["reason"]) == ("ops", "agree", None)
    assert (told["kernels"], told["steps"]) == (2, 6)
    assert told["linked"]["bitwise"] is True
    assert told["linked"]["against_whole"]["within_tolerance"] is True
    assert told["schedules"]["serial"] == {"builds": 2, "peak_in_flight": 1}
    assert told["schedules"]["threads:2"] == {"builds": 4, "peak_in_flight": 2}
    assert told["schedules"]["processes:2"]["peak_in_flight"] >= 2
    assert len({tuple(names(run)) for run in runs}) == 1
    for run in runs:
        assert {build.kernel.file for build in run.kernels} == {"partition.py", None}
        for build in run.kernels:
            stages = {artifact.stage for artifact in build.artifacts if artifact.canonical}
            wanted = {"output"} if build.kernel.name == LINKED else {"stablehlo", "hlo", "object"}
            assert wanted <= stages


def test_without_a_policy_there_are_no_kernels(held):
    judgement, runs = held("layers", policy="whole")
    assert judgement.kernels is None
    assert [run.kernels for run in runs] == [(), ()]


def test_a_kernel_that_depends_on_its_thread_diverges_though_the_whole_agrees(held):
    judgement, runs = held("on_thread")
    assert (judgement.verdict, judgement.first_stage) == ("diverged", "stablehlo")
    assert [run.schedule for run in runs] == ["serial", "threads:2", "control"]
    assert judgement.output["bitwise"] is True
    assert judgement.cause["kind"] == "kernel"
    assert (judgement.cause["file"], judgement.cause["line"]) == ("partition.py", 27)
    told = judgement.kernels
    assert told["verdict"] == "diverged"
    first, linked = told["differing"]
    assert first["stages"][:2] == ["stablehlo", "hlo"]
    assert list(first["runs"]) == ["threads:2"]
    assert (linked["name"], linked["stages"]) == (LINKED, ["output"])
    assert told["linked"]["bitwise"] is False


def test_a_kernel_that_a_second_serial_build_does_not_reproduce_is_unstable(held):
    judgement, _ = held("by_process")
    assert judgement.verdict == "unstable"
    assert set(judgement.kernels["differing"][0]["runs"]) == {"threads:2", "control"}


@pytest.mark.parametrize("name", ["broken", "deadly"])
@pytest.mark.parametrize("schedules", [("serial", "threads:2"), ("serial", "processes:2")])
def test_a_kernel_that_fails_leaves_the_whole_its_verdict(held, name, schedules):
    judgement, _ = held(name, schedules=schedules)
    assert judgement.verdict == "agree", judgement.reason
    told = judgement.kernels
    assert told["verdict"] == "inconclusive"
    assert told["linked"] is None
    assert "partition.py:27: kernel_" in told["reason"]
    assert told["failure"]["kind"] == ("crash" if name == "deadly" else "lower")


def test_a_kernel_that_runs_past_the_deadline_leaves_the_whole_its_verdict(open_workshop):
    with open_workshop(timeout_s=10.0) as shop:
        shop.write("partition.py", MODEL)
        spec = TargetSpec("partition.py:slow", ("f32[4,4]", "f32[4,4]"))
        record = shop.hold(spec, schedules=("serial", "threads:2"), partition="ops").record
    (judgement,) = record.judgements
    assert judgement.verdict == "agree", judgement.reason
    assert judgement.kernels["failure"]["kind"] == "deadline"
    assert "partition.py:27: kernel_" in judgement.kernels["reason"]


def test_a_cut_that_is_refused_leaves_the_whole_its_verdict(held):
    judgement, _ = held("placed")
    assert judgement.verdict == "agree", judgement.reason
    assert judgement.kernels["verdict"] == "inconclusive"
    assert "can't be cut" in judgement.kernels["reason"]
    assert judgement.kernels["failure"]["file"] == "partition.py"


def test_keys_scalars_static_and_donated_arguments_reach_the_linked_program(held):
    judgement, _ = held("mixed", args="partition.py:mixed_args")
    assert judgement.verdict in {"agree", "equivalent"}, judgement.reason
    assert judgement.kernels["verdict"] in {"agree", "equivalent"}, judgement.kernels["reason"]
    assert judgement.kernels["steps"] >= 3
    assert judgement.kernels["linked"]["against_whole"]["within_tolerance"] is True


def test_a_single_kernel_is_built_beside_its_copy(held):
    judgement, _ = held("uncut")
    assert judgement.verdict == "agree", judgement.reason
    assert (judgement.kernels["kernels"], judgement.kernels["verdict"]) == (1, "agree")
