"""What makes another program of it shows in real artifacts, and what does not is gone from them.

Each pair differs in one thing, and the functions have the same name: what is left to differ is that thing.
"""

from __future__ import annotations

import pytest

from pcvd.core.builds import STAGES
from pcvd.core.model import TargetSpec

MODEL = """
    import functools
    import jax, jax.numpy as jnp, numpy as np
    from jax.experimental.layout import Format, Layout
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P, SingleDeviceSharding

    TABLE = np.arange(64, dtype=np.float32).reshape(8, 8)
    OTHER = TABLE.copy()
    OTHER[7, 7] = 62.5
    TEXT = np.frombuffer(b"<f at 0x7f0000000001>" * 4, np.uint8)
    OTHER_TEXT = np.frombuffer(b"<f at 0x7f0000000002>" * 4, np.uint8)

    def adding(constant):
        return lambda x: x + constant

    scalar, other_scalar = adding(1.0), adding(np.nextafter(np.float32(1), np.float32(2)))
    table, other_table = adding(TABLE), adding(OTHER)
    def looking_up(data):
        return lambda x: x[0, 0] + jnp.asarray(data)

    text, other_text = looking_up(TEXT), looking_up(OTHER_TEXT)

    def in_layout(order):
        device = jax.devices()[0]
        return jax.jit(lambda x: x * 2, out_shardings=Format(Layout(order), SingleDeviceSharding(device)))

    rows, columns = in_layout((0, 1)), in_layout((1, 0))

    def giving_away(*places):
        return jax.jit(lambda x, y: x + y, donate_argnums=places)

    none_given, first_given, second_given = giving_away(), giving_away(0), giving_away(1)

    def multiplying(precision):
        return lambda x: jax.lax.dot(x, x, precision=precision)

    coarse, fine = multiplying(jax.lax.Precision.DEFAULT), multiplying(jax.lax.Precision.HIGHEST)

    def over_devices(spec):
        mesh = Mesh(np.array(jax.devices()), ("d",))
        return jax.jit(lambda x: x @ x, in_shardings=NamedSharding(mesh, spec))

    by_rows, by_columns, whole = over_devices(P("d")), over_devices(P(None, "d")), over_devices(P())

    def compiled_with(**options):
        return jax.jit(lambda x: jnp.exp(x).sum(), compiler_options=options)

    strict, fast = compiled_with(xla_cpu_enable_fast_math=False), compiled_with(xla_cpu_enable_fast_math=True)

    def converting(dtype):
        return lambda x: x.astype(dtype).astype("float32")

    half, brain = converting("float16"), converting("bfloat16")

    def scoped(scope):
        def f(x):
            with jax.named_scope(scope):
                return jnp.tanh(x @ x)
        return f

    here, there = scoped("attention"), scoped("metadata={op_name=x}")

    def further_down(x):
        return jnp.tanh(x @ x)

    for one in list(globals().values()):
        if callable(one) and getattr(one, "__module__", "") == __name__:
            getattr(one, "__wrapped__", one).__name__ = "f"
"""
X = ("f32[8,8]",)

RELEVANT = {
    "scalar constant": ("scalar", "other_scalar", ("jaxpr", "stablehlo", "hlo", "executable")),
    "array constant": ("table", "other_table", ("jaxpr", "stablehlo", "hlo", "executable")),
    "constant that looks like text": ("text", "other_text", ("jaxpr", "stablehlo", "hlo", "executable")),
    "layout": ("rows", "columns", ("stablehlo", "hlo", "executable")),
    "donation": ("none_given", "first_given", ("jaxpr", "stablehlo", "hlo", "executable")),
    "aliasing": ("first_given", "second_given", ("jaxpr", "stablehlo", "hlo", "executable")),
    "precision": ("coarse", "fine", ("jaxpr", "stablehlo", "hlo", "executable")),
    "sharding": ("by_rows", "by_columns", ("stablehlo", "hlo", "executable")),
    "sharding or none": ("by_rows", "whole", ("stablehlo", "hlo", "executable")),
    "compiler option": ("strict", "fast", ("executable",)),
    "type between": ("half", "brain", ("jaxpr", "stablehlo", "hlo", "executable")),
}
"""A pair, and the stages that must tell them apart."""

IRRELEVANT = {"scope": ("here", "there"), "line": ("here", "further_down")}
TAKES_TWO = {"none_given", "first_given", "second_given"}


@pytest.fixture(scope="module")
def devices(open_workshop):
    """A pool with two devices."""
    with open_workshop(env={"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}) as shop:
        yield shop


@pytest.fixture(scope="module")
def builds(devices):
    """The builds of all functions of the pairs: name → build."""
    devices.write("pairs.py", MODEL)
    devices.write("far/away/pairs.py", MODEL)
    pairs = [pair[:2] for pair in (*RELEVANT.values(), *IRRELEVANT.values())]
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    specs = [TargetSpec(f"pairs.py:{name}", X * 2 if name in TAKES_TWO else X) for name in names]
    return dict(zip(names, devices.built(*specs), strict=True))


def digests(build):
    return {stage: build.artifact(stage).canonical for stage in STAGES if stage != "output"}


@pytest.mark.parametrize("what", RELEVANT)
def test_what_makes_another_program_shows(builds, what):
    left, right, stages = RELEVANT[what]
    one, other = digests(builds[left]), digests(builds[right])
    assert [stage for stage in stages if one[stage] == other[stage]] == []


@pytest.mark.parametrize("what", IRRELEVANT)
def test_where_a_program_comes_from_does_not_show(builds, what):
    left, right = (builds[name] for name in IRRELEVANT[what])
    assert digests(left) == digests(right)
    assert left.artifact("executable").raw != right.artifact("executable").raw
    assert left.artifact("locations").canonical != right.artifact("locations").canonical


def test_another_process_thread_order_and_folder_do_not_show(devices, builds):
    specs = [TargetSpec(f"far/away/pairs.py:{name}", X) for name in ("fine", "table", "here")]
    for elsewhere in devices.built(*specs, schedule="threads:2"):
        here = builds[elsewhere.target.rpartition(":")[2]]
        assert digests(elsewhere) == digests(here), elsewhere.target
        assert elsewhere.artifact("executable").raw != here.artifact("executable").raw
        assert {"module-id", "dump-folder", "dump-option"} <= {
            *elsewhere.artifact("executable").parts[0].rules
        }
