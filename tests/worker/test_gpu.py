"""The same on a GPU, where there is one that JAX can use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pcvd.core.model import TargetSpec

pytestmark = pytest.mark.gpu

X = ("f32[64,64]",)


@pytest.fixture(scope="module")
def shop(open_workshop):
    if not Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has no NVIDIA GPU")
    ask = "import jax; print(jax.devices('cuda')[0].device_kind)"
    found = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"JAX cannot use the GPU: {found.stderr.strip().splitlines()[-1:]}")
    with open_workshop(platform="cuda") as opened:
        opened.write(
            "kernels.py",
            """
            import jax, jax.numpy as jnp

            def product(x):
                return jnp.tanh(x @ x)

            def softmax(x):
                return jax.nn.softmax(x * 3)
            """,
        )
        yield opened


def test_serial_and_concurrent_builds_are_compared_down_to_the_machine_code(shop):
    specs = [TargetSpec(f"kernels.py:{name}", X) for name in ("product", "softmax")]
    outcome = shop.hold(*specs, schedules=("serial", "threads:2", "processes:2"))
    for judgement in outcome.record.judgements:
        assert judgement.verdict in {"agree", "equivalent", "diverged", "unstable"}, judgement.reason
        assert set(judgement.stages) >= {"stablehlo", "hlo", "object", "output"}
    for run in outcome.record.runs:
        for environment in run.environments:
            assert environment["platform"] in {"gpu", "cuda"}
            assert environment["devices"]
            assert environment["driver"]
            assert environment["variables"]["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_the_object_stage_is_ptx_or_cubin(shop):
    (build,) = shop.built(TargetSpec("kernels.py:softmax", X))
    parts = build.artifact("object").parts
    assert parts
    assert all(part.name.endswith((".ptx", ".cubin")) for part in parts)
