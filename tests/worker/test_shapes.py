"""Shape strings and the values they are filled with; run right here, where JAX may be used as well."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pcvd.core.model import TargetSpec
from pcvd.worker import inputs
from pcvd.worker.blame import Rejected
from pcvd.worker.discover import Entry


def made(*args, seed=0, entry="m.py:f"):
    declared = args[0] if len(args) == 1 and callable(args[0]) else args
    spec = TargetSpec(entry, None, "pcv.toml", 3)
    return inputs.make(Entry(spec, lambda *given: given, declared, types.ModuleType("m")), None, seed)


@pytest.mark.parametrize(
    ("text", "dtype", "shape"),
    [
        ("f32[32,128]", "float32", (32, 128)),
        ("f32[2, 3]", "float32", (2, 3)),
        ("f32[]", "float32", ()),
        ("f32[0]", "float32", (0,)),
        ("f16[1]", "float16", (1,)),
        ("bf16[4]", "bfloat16", (4,)),
        ("bfloat16[4]", "bfloat16", (4,)),
        ("float32[2]", "float32", (2,)),
        ("s8[2]", "int8", (2,)),
        ("i32[2]", "int32", (2,)),
        ("u16[2]", "uint16", (2,)),
        ("int32[2]", "int32", (2,)),
        ("pred[3]", "bool", (3,)),
        ("bool[3]", "bool", (3,)),
        ("c64[2]", "complex64", (2,)),
        ("f8_e4m3fn[2]", "float8_e4m3fn", (2,)),
    ],
)
def test_shape_strings(text, dtype, shape):
    (value,) = made(text)
    assert (value.dtype.name, value.shape) == (dtype, shape)


@pytest.mark.parametrize("text", ["key[]", "key[3]"])
def test_keys(text):
    (key,) = made(text)
    assert jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    assert key.shape == (() if text == "key[]" else (3,))


@pytest.mark.parametrize(
    "text", ["f32", "f32[4", "f33[4]", "f32[-1]", "F32[4]", "tensor[4]", "[4]", "", "f32[4,]"]
)
def test_what_is_no_shape(text):
    with pytest.raises(Rejected) as caught:
        made(text)
    failure = caught.value.failure
    assert failure.kind == "arguments"
    assert (failure.file, failure.line) == ("pcv.toml", 3)
    assert f'"{text}"' in failure.message


@pytest.mark.parametrize("text", ["f64[4]", "s64[4]", "u64[4]", "c128[4]"])
def test_wide_types_ask_for_x64(text):
    with pytest.raises(Rejected, match="64 bits"):
        made(text)


def test_values_depend_on_seed_target_and_place_only():
    first, second = made("f32[8]", "f32[8]")
    assert not np.array_equal(first, second)
    assert np.array_equal(first, made("f32[8]")[0])
    assert not np.array_equal(first, made("f32[8]", seed=1)[0])
    assert not np.array_equal(first, made("f32[8]", entry="m.py:g")[0])
    assert np.array_equal(made("f32[4]", seed=2**32 - 1)[0], made("f32[4]", seed=2**32 - 1)[0])


def test_values_are_spread():
    (floats,) = made("f32[1000]")
    assert abs(float(floats.mean())) < 0.2
    assert 0.8 < float(floats.std()) < 1.2
    (integers,) = made("s32[1000]")
    assert integers.min() >= 0  # mostly an index, a label or a count
    assert len(np.unique(integers)) > 2
    (flags,) = made("pred[1000]")
    assert 0 < int(flags.sum()) < 1000
    (complexes,) = made("c64[100]")
    assert np.abs(np.imag(complexes)).max() > 0


def test_structures_are_filled_wherever_they_stand():
    tree = {"a": jax.ShapeDtypeStruct((2,), jnp.float32), "b": [jax.ShapeDtypeStruct((), jnp.int32), 7]}
    (value,) = made(lambda: (tree,))
    assert value["a"].shape == (2,)
    assert value["b"][0].dtype == jnp.int32
    assert value["b"][1] == 7


def test_functions_get_the_seed_or_a_key_where_they_ask():
    assert made(lambda: (1, 2)) == (1, 2)
    assert made(lambda seed: (seed,), seed=5) == (5,)
    (bits,) = made(lambda key: (jax.random.bits(key),), seed=5)
    assert bits == jax.random.bits(jax.random.key(5))
    assert made(lambda scale=2: [scale]) == (2,)


@pytest.mark.parametrize("result", [3, {"x": 1}, "text", None, np.ones(3)])
def test_all_arguments_come_as_a_tuple(result):
    with pytest.raises(Rejected, match="tuple") as caught:
        made(lambda: result)
    assert "return (x,)" in caught.value.failure.hint


def test_a_function_that_needs_something_else_is_shown_where_it_stands():
    def args(batch, size):
        return ()

    with pytest.raises(Rejected, match="needs batch, size") as caught:
        made(args)
    assert caught.value.failure.line == args.__code__.co_firstlineno


def test_fingerprints_tell_values_types_and_places_apart():
    values = [
        (np.float32(1.0),), (np.float64(1.0),), (np.array([1.0], np.float32),), (1.0,), (1,), (True,),
        ({"a": np.float32(1.0)},), ({"b": np.float32(1.0)},), (np.float32(1.0), np.float32(1.0)),
        (), ("1.0",), (np.zeros((2, 3), np.float32),), (np.zeros((3, 2), np.float32),),
        (np.float32(-0.0),), (np.float32(0.0),),
        (jax.random.key(0),), (jax.random.key(1),),
    ]  # fmt: skip
    assert len({inputs.fingerprint(value) for value in values}) == len(values)
    assert inputs.fingerprint((jnp.arange(3),)) == inputs.fingerprint((jnp.arange(3),))
