"""What goes wrong on the way to kernels: the reason is told with the kernel and its line, and the whole
program is there all the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import pytest

import pcv
from pcvd.kernels import CompilerDied, KernelFailed, processes
from pcvd.kernels.compile import MemoryCache

X = jnp.linspace(0, 1, 16).reshape(4, 4)

# A process that answers its first order with the bytes of no executable.
NONSENSE = """
import pickle, sys
head = b"pcv-kernel:"
data = pickle.dumps(b"no executable")
sys.stdin.buffer.read(len(head))
sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(8), "big"))
sys.stdout.buffer.write(head + len(data).to_bytes(8, "big") + data)
sys.stdout.buffer.flush()
sys.stdin.buffer.read()
"""
DEATH = "import os, signal, sys; sys.stdin.buffer.read(100); os.kill(os.getpid(), signal.SIGSEGV)"


def model(x):
    return jnp.tanh(x @ x) @ x


@pytest.mark.parametrize(
    ("child", "error", "reason"),
    [
        (NONSENSE, KernelFailed, "what was compiled can't be loaded"),
        (DEATH, CompilerDied, "its compiler was ended by SIGSEGV"),
    ],
)
def test_the_whole_program_runs_where_a_process_fails(shop, tmp_path, monkeypatch, child, error, reason):
    path = tmp_path / "child.py"
    path.write_text(child, encoding="utf-8")
    monkeypatch.setattr(processes, "CHILD", path)
    linked = pcv.compile_kernels(model, X, policy="ops", how="processes")
    assert linked.graph is None
    [note] = linked.report.notes
    line = model.__code__.co_firstlineno + 1
    assert note.startswith(f"compiled as one program: {__file__}:{line}: kernel_")
    assert reason in note
    assert shop.close(linked(X), model(X))
    with pytest.raises(error, match=reason) as caught:
        pcv.compile_kernels(model, X, policy="ops", how="processes", strict=True)
    assert (caught.value.file, caught.value.line) == (__file__, line)


def test_what_neither_way_compiles_raises_the_compilers_own_error():
    def wrong(x):
        return jax.ffi.ffi_call("no_such_target", jax.ShapeDtypeStruct((4, 4), jnp.float32))(x @ x)

    with pytest.raises(jax.errors.JaxRuntimeError, match="no_such_target"):
        pcv.compile_kernels(wrong, X, policy="ops")


def test_a_cache_that_fails_costs_time_and_nothing_else(shop):
    class Full(MemoryCache):
        def put(self, key, executable):
            raise OSError("no space left")

    linked = pcv.compile_kernels(model, X, policy="ops", cache=Full())
    assert shop.close(linked(X), model(X))
    assert all("not cached: OSError: no space left" in note for note in linked.report.notes)
    assert linked.report.notes


PLACED = textwrap.dedent("""
    import json
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    import pcv

    def base(x):
        for _ in range(3):
            x = jnp.tanh(x @ x)
        return x

    def constrained(x):
        return jnp.tanh(jax.lax.with_sharding_constraint(jnp.tanh(x @ x), spread) @ x) @ x

    def mapped(x):
        twice = jax.shard_map(lambda y: y * 2, mesh=mesh, in_specs=P("d"), out_specs=P("d"))
        return jnp.tanh(twice(jnp.tanh(x @ x)) @ x) @ x

    def inner(x):
        y = jax.jit(lambda x: jnp.tanh(x @ x), in_shardings=spread, out_shardings=spread)(x)
        return jnp.tanh(y @ x) @ x

    def put(x):
        return jnp.tanh(jax.device_put(jnp.tanh(x @ x), second) @ x) @ x

    first, second = jax.devices()
    x = jnp.linspace(0, 1, 16).reshape(4, 4)
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
    typed = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Explicit,))
    spread = NamedSharding(mesh, P("d"))
    cases = {
        "plain": (base, x),
        "committed": (base, jax.device_put(x, second)),
        "moved": (put, x),
        "constrained": (constrained, x),
        "mapped": (mapped, x),
        "inner": (inner, x),
        "jit in": (jax.jit(base, in_shardings=spread), x),
        "jit in, given so": (jax.jit(base, in_shardings=spread), jax.device_put(x, spread)),
        "jit out": (jax.jit(base, out_shardings=spread), x),
        "spread": (base, jax.device_put(x, spread)),
        "typed": (base, jax.device_put(x, NamedSharding(typed, P("d")))),
    }
    told = {}
    for name, (function, argument) in cases.items():
        expected = jax.jit(function)(argument)
        linked = pcv.compile_kernels(function, argument, policy="ops")
        got = linked(argument)
        told[name] = {
            "kernels": linked.report.kernels, "notes": " ".join(linked.report.notes),
            "close": bool(np.allclose(got, expected, rtol=1e-5)), "placed": got.sharding == expected.sharding,
        }
    print(json.dumps(told))
""")


@pytest.fixture(scope="module")
def placed():
    """What comes of functions that ask for devices, on a machine that has two."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PLACED],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_placed_programs_compute_what_they_should_where_they_should(placed):
    assert {name: (one["close"], one["placed"]) for name, one in placed.items()} == dict.fromkeys(
        placed, (True, True)
    )


def test_on_one_device_whatever_it_is_called_they_are_cut(placed):
    for name in ("plain", "committed", "moved"):
        assert (placed[name]["kernels"], placed[name]["notes"]) == (3, ""), name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("constrained", "laid out over a mesh"),
        ("mapped", "laid out over a mesh"),
        ("inner", "runs on 2 devices"),
        ("jit in", "jax.jit was told where"),
        ("jit in, given so", "spread over several devices"),
        ("jit out", "jax.jit was told where"),
        ("spread", "spread over several devices"),
        ("typed", "spread over several devices"),
    ],
)
def test_what_is_spread_over_devices_is_not_cut_and_says_why(placed, name, reason):
    assert placed[name]["kernels"] == 1
    assert reason in placed[name]["notes"]
