"""Example arguments that do not fit: what is wrong, where it is declared, what to write."""

from __future__ import annotations

import textwrap

import pytest

from pcvd.core.model import TargetSpec

MODEL = """
    import functools
    import jax
    import jax.numpy as jnp
    import pcv

    def layer(x, weights, bias=0.0):
        return x @ weights + bias

    def pair():
        return 1.0, 2.0, 3.0, 4.0

    @functools.partial(jax.jit, static_argnums=1)
    def power(x, exponent):
        return x ** exponent

    def keyword(x, *, scale):
        return x * scale

    def many(*xs):
        return sum(xs)

    first = functools.partial(layer, 1.0)

    @pcv.target("f32[4]", lambda: jnp.ones(4))
    def made(x, y):
        return x + y

    def ones(seed):
        return jnp.full(4, seed, jnp.float32)

    @pcv.target(args=(ones, "f32[4]"))
    def seeded(x, y):
        return x + y

    @pcv.target("f32[4]", ones)
    def also_seeded(x, y):
        return x + y
"""


@pytest.fixture(scope="module")
def shop(workshop):
    workshop.write("fits.py", MODEL)
    return workshop


@pytest.mark.parametrize(
    ("function", "args", "said"),
    [
        ("layer", 1, "layer(x, weights, bias) can't be called with 1 example argument: missing a required"),
        ("layer", 4, "layer(x, weights, bias) can't be called with 4 example arguments: too many positional"),
        ("layer", 0, "can't be called with 0 example arguments"),
        ("power", 1, "power(x, exponent) can't be called with 1 example argument"),
        ("keyword", 1, "keyword(x, scale) can't be called with 1 example argument: missing a required"),
        ("first", 3, "first(weights, bias) can't be called with 3 example arguments"),
    ],
)
def test_as_many_arguments_as_the_function_takes(shop, function, args, said):
    failure = shop.failure(TargetSpec(f"fits.py:{function}", ("f32[]",) * args, "pcv.toml", 7))
    assert (failure.kind, failure.file, failure.line) == ("arguments", "pcv.toml", 7)
    assert said in failure.message
    assert "a shape" in failure.hint


def test_a_function_that_returns_too_many(shop):
    failure = shop.failure(TargetSpec("fits.py:layer", "fits.py:pair", "fits.py", 12))
    assert failure.sentence().startswith("fits.py:12: layer(x, weights, bias) can't be called with 4 example")
    assert failure.hint == "return one for each, in a tuple"


def test_defaults_and_any_number_of_arguments_fit(shop):
    shop.built(
        TargetSpec("fits.py:layer", ("f32[2,3]", "f32[3]")),
        TargetSpec("fits.py:many", ("f32[2]",) * 3),
        TargetSpec("fits.py:made"),
        TargetSpec("fits.py:seeded"),
        TargetSpec("fits.py:also_seeded"),
    )


@pytest.mark.parametrize(
    ("shape", "name", "meant"),
    [
        ("f33[4]", "f33", 'did you mean "f32[4]"?'),
        ("fp32[2,3]", "fp32", 'did you mean "f32[2,3]"?'),
        ("bf8[1]", "bf8", "known: f32, "),
        ("object[1]", "object", "known: f32, "),
        ("m8[1]", "m8", "known: f32, "),
        ("f128[]", "f128", "known: f32, "),
        ("qwerty[]", "qwerty", 'known: f32, f16, bf16, f64, i8, '),
    ],
)  # fmt: skip
def test_a_dtype_that_does_not_exist_is_named_with_those_that_do(shop, shape, name, meant):
    failure = shop.failure(TargetSpec("fits.py:many", (shape,), "pcv.toml", 9))
    assert failure.sentence() == f'pcv.toml:9: "{shape}": there is no dtype "{name}"'
    assert meant in failure.hint
    assert failure.hint.endswith('as in "f32[32,128]"')


def test_every_dtype_that_the_message_names_can_be_had(open_workshop):
    shapes = ["f16", "bf16", "f64", "c64", "c128", "pred", "f8_e4m3fn", "f8_e5m2"]
    shapes += ["i4", "i8", "i16", "i64", "u4", "u8", "u16", "u32", "u64"]
    with open_workshop(env={"JAX_ENABLE_X64": "1"}) as shop:
        for name in ("first", "second"):
            shop.write(f"{name}.py", textwrap.dedent("def model(*xs):\n    return xs\n"))
        (build,) = shop.built(TargetSpec("first.py:model", tuple(f"{name}[2]" for name in shapes)))
        labels = [part.label for part in build.artifact("output").parts]
        assert len(labels) == len(shapes)
        assert len(set(labels)) == len(shapes)
        failure = shop.failure(TargetSpec("second.py:model", ("f33[2]",)))
        known = failure.hint.partition("known: ")[2].partition(";")[0].split(", ")
        assert set(known) == {*shapes, "f32", "i32", "key"}
