"""A model with one thing changed at a time; run as a script, it writes the texts of each variant into a
folder.
"""

import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@jax.jit
def helper(x):
    return x * 2.5 + np.arange(3, dtype=np.float32)


def model(x, *, flip=False, scale=1.0, dtype=np.float32, ends=7):
    weights = np.full(3, 0.5, np.float32)
    y = helper(x)
    y = y + helper(y * scale)
    offset = np.full(3, ends, np.float32)

    def body(_, v):
        v = v * 3 if flip else v + 3
        return lax.cond(v[0] > 0, lambda t: t * weights.astype(t.dtype), lambda t: t - 1, v)

    y = lax.fori_loop(0, 3, body, y.astype(dtype))
    return jnp.cumsum(y) + offset


VARIANTS = {
    "base": {},
    "flip": {"flip": True},
    "scale": {"scale": 2.0},
    "dtype": {"dtype": jnp.bfloat16},
    "offset": {"ends": 8},
}


def variant(name):
    def forward(x):
        return model(x, **VARIANTS[name])

    return forward


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name in VARIANTS:
        traced = jax.jit(variant(name)).trace(np.ones(3, np.float32))
        lowered = traced.lower()
        compiled = lowered.compile(compiler_options={"xla_dump_to": str(out / f"{name}.dumps")})
        (out / f"{name}.jaxpr").write_text(traced.jaxpr.pretty_print(source_info=True, use_color=False))
        (out / f"{name}.mlir").write_text(lowered.as_text(debug_info=True))
        hlo = compiled.as_text()
        (out / f"{name}.hlo").write_text(re.sub(r", metadata=\{[^}]*\}", "", hlo))
        optimized = next((out / f"{name}.dumps").glob("*after_optimizations.txt")).read_text()
        (out / f"{name}.debug").write_text(optimized)
