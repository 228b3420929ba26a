"""Example arguments: made before any build, on one thread, in the cohort's order, from the project's seed.

A shape string (`f32[32,128]`) or a `jax.ShapeDtypeStruct` is filled with values that depend only on the seed,
the target's name and the place in the arguments, so that every process makes the same ones and adding a
target changes no other's.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import inspect
import re
import zlib
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pcvd.core.model import Failure, TargetSpec
from pcvd.worker.blame import Rejected
from pcvd.worker.discover import Entry, value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcvd.worker.modules import Modules

_SHAPE = re.compile(r"^([a-z][a-z0-9_]*)\[((?:\d+(?:,\s*\d+)*)?)\]$")
_SHORT = {
    "pred": "bool",
    "bf": "bfloat",
    "f": "float",
    "s": "int",
    "i": "int",
    "u": "uint",
    "c": "complex",
}
_DTYPES = (
    *("f32", "f16", "bf16", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "pred"),
    *("c64", "c128", "i4", "u4", "f8_e4m3fn", "f8_e5m2", "key"),
)
"""What a message names; other names that NumPy and JAX know (`float32`) are as good."""
_INTEGER_RANGE = 8  # small and never negative: an integer argument is mostly an index, a label or a count


def make(entry: Entry, modules: Modules, seed: int) -> tuple[Any, ...]:
    """All arguments of a target, as pytrees of values. Raises Rejected, or whatever the project's own
    functions raise.
    """
    declared = entry.args
    if _makes(declared) or (isinstance(declared, str) and not _SHAPE.match(declared)):
        hint = "return one for each, in a tuple"
        made = _value(declared, entry, modules, seed)
        if not isinstance(made, tuple | list):
            raise Rejected(
                Failure(
                    "arguments",
                    f"the arguments of {entry.spec.entry} must come as a tuple, not as {type(made).__name__}",
                    entry.spec.file,
                    entry.spec.line,
                    hint="return (x,) for a single argument",
                )
            )
    else:
        hint = "declare one for each: a shape (f32[32,128]) or a function that makes it"
        items = (declared,) if isinstance(declared, str) else declared
        made = [_value(item, entry, modules, seed) for item in items]
    _check_count(entry, made, hint)
    return tuple(_filled(value, f"{entry.spec.entry}/{place}", seed) for place, value in enumerate(made))


def _check_count(entry: Entry, made: Sequence[Any], hint: str) -> None:
    """Refuse arguments that the function can't be called with. JAX would too, but without a line of the
    project's.
    """
    try:
        signature = inspect.signature(entry.function)
    except (TypeError, ValueError):  # a built-in one may not tell
        return
    try:
        signature.bind(*made)
    except TypeError as error:
        takes = f"{entry.spec.function}({', '.join(signature.parameters)})"
        given = f"{len(made)} example argument{'s' * (len(made) != 1)}"
        raise Rejected(
            Failure(
                "arguments",
                f"{takes} can't be called with {given}: {error}",
                entry.spec.file or entry.spec.path,
                entry.spec.line,
                hint=hint,
            )
        ) from None


def fingerprint(args: tuple[Any, ...]) -> str:
    """SHA-256 over the arguments' values and pytree: builds whose arguments differ can't be compared."""
    seen = hashlib.sha256()
    for path, given in jax.tree_util.tree_flatten_with_path(args)[0]:
        seen.update(f"\0{jax.tree_util.keystr(path)}\0".encode())
        leaf = given
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if isinstance(leaf, jax.Array | np.ndarray | np.generic):
            value = np.asarray(leaf)
            seen.update(f"{value.dtype}{value.shape}".encode())
            seen.update(value.tobytes())
        elif isinstance(leaf, bool | int | float | complex | str | bytes):
            seen.update(repr(leaf).encode())
    return seen.hexdigest()


def _value(item: Any, entry: Entry, modules: Modules, seed: int) -> Any:
    if isinstance(item, str):
        if _SHAPE.match(item):
            return _structure(item, entry)
        if ":" not in item:
            raise _bad(item, entry)
        item = value_of(TargetSpec(item, None, entry.spec.file, entry.spec.line), modules)
    return _called(item, entry, seed) if _makes(item) else item


def _makes(item: Any) -> bool:
    # Not just callable: an Equinox module can be called, and is itself an argument.
    return inspect.isroutine(item) or isinstance(item, functools.partial | jax.stages.Wrapped)


def _called(function: Any, entry: Entry, seed: int) -> Any:
    """`function()`, or with the seed or a key where it asks for one."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return function()
    needed = [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in {one.VAR_POSITIONAL, one.VAR_KEYWORD}
    ]
    if not needed:
        return function()
    if len(needed) == 1 and needed[0] == "seed":
        return function(seed)
    if len(needed) == 1 and needed[0] in {"key", "rng", "rng_key"}:
        return function(jax.random.key(seed))
    code = getattr(inspect.unwrap(function), "__code__", None)
    raise Rejected(
        Failure(
            "arguments",
            f"{getattr(function, '__name__', function)} makes arguments but itself needs {', '.join(needed)}",
            entry.spec.path if code else entry.spec.file,
            code.co_firstlineno if code else entry.spec.line,
            hint="it is called without arguments, or with one named `seed` or `key`",
        )
    )


def _structure(text: str, entry: Entry) -> jax.ShapeDtypeStruct:
    matched = _SHAPE.match(text)
    if matched is None:
        raise _bad(text, entry)
    name, dims = matched.groups()
    shape = tuple(int(size) for size in dims.split(",")) if dims else ()
    if name == "key":
        return jax.ShapeDtypeStruct(shape, jax.random.key(0).dtype)
    prefix = re.match(r"[a-z]+", name)
    short = prefix.group() if prefix else ""
    try:
        dtype = jnp.dtype(_SHORT.get(short, short) + name[len(short) :])
    except TypeError:
        raise _no_dtype(name, text, entry) from None
    if not _is_for_jax(dtype):
        raise _no_dtype(name, text, entry)
    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise Rejected(
            Failure(
                "arguments",
                f'"{text}" has 64 bits, which JAX has switched off',
                entry.spec.file,
                entry.spec.line,
                hint='switch them on in the model (jax.config.update("jax_enable_x64", True)) or ask for 32',
            )
        )
    return jax.ShapeDtypeStruct(shape, dtype)


def _is_for_jax(dtype: np.dtype[Any]) -> bool:
    """Whether JAX has arrays of `dtype`: NumPy also has dates (`m8`), texts and floats of 128 bits."""
    if dtype.kind in "mM" or not any(jnp.issubdtype(dtype, kind) for kind in (np.number, np.bool_)):
        return False
    return dtype.itemsize <= (16 if jnp.issubdtype(dtype, np.complexfloating) else 8)


def _no_dtype(name: str, text: str, entry: Entry) -> Rejected:
    near = difflib.get_close_matches(name, _DTYPES, 1)
    meant = f'did you mean "{near[0]}{text[len(name) :]}"? ' if near else ""
    return Rejected(
        Failure(
            "arguments",
            f'"{text}": there is no dtype "{name}"',
            entry.spec.file,
            entry.spec.line,
            hint=f'{meant}known: {", ".join(_DTYPES)}; as in "f32[32,128]"',
        )
    )


def _bad(text: str, entry: Entry) -> Rejected:
    return Rejected(
        Failure(
            "arguments",
            f'"{text}" is neither a shape (f32[32,128]) nor an entry (models/mlp.py:init_params)',
            entry.spec.file,
            entry.spec.line,
        )
    )


def _filled(value: Any, place: str, seed: int) -> Any:
    """`value` with every ShapeDtypeStruct in it replaced by seeded values."""
    leaves, tree = jax.tree_util.tree_flatten_with_path(value)
    return tree.unflatten(
        [
            _values(leaf, f"{place}{jax.tree_util.keystr(path)}", seed)
            if isinstance(leaf, jax.ShapeDtypeStruct)
            else leaf
            for path, leaf in leaves
        ]
    )


def _values(struct: jax.ShapeDtypeStruct, place: str, seed: int) -> jax.Array:
    if jax.dtypes.issubdtype(struct.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(seed), struct.shape) if struct.shape else jax.random.key(seed)
    random = np.random.Generator(
        np.random.PCG64(np.random.SeedSequence([seed % 2**63, zlib.crc32(place.encode())]))
    )
    if jnp.issubdtype(struct.dtype, jnp.bool_):
        drawn = random.integers(0, 2, struct.shape)
    elif jnp.issubdtype(struct.dtype, jnp.integer):
        drawn = random.integers(0, _INTEGER_RANGE, struct.shape)
    elif jnp.issubdtype(struct.dtype, jnp.complexfloating):
        drawn = random.standard_normal(struct.shape) + 1j * random.standard_normal(struct.shape)
    else:
        drawn = random.standard_normal(struct.shape)
    return jnp.asarray(np.asarray(drawn).astype(struct.dtype))
