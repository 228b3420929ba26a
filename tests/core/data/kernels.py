"""Programs of every kind that XLA:CPU names kernels after; run as a script, it dumps each into a folder of
its own.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def while_loop(x):
    return lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, jnp.sin(c[1]) @ c[1].T), (0, x))[1]


def scan(x):
    return lax.scan(lambda c, y: (jnp.tanh(c * y), c.sum()), x, jnp.ones((6, 8)))


def fori(x):
    return lax.fori_loop(0, 7, lambda i, c: jnp.cos(c) + i, x)


def dots(x):
    return jax.nn.relu(x @ x.T) @ x


def reductions(x):
    return (
        x.sum(),
        x.max(axis=0),
        jnp.argmax(x, 1),
        lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 1), "SAME"),
    )


def sorts(x):
    return jnp.sort(x, axis=0), jnp.argsort(x[:, 0])


def normal(x):
    return x + jax.random.normal(jax.random.key(0), x.shape)


def callback(x):
    return jax.pure_callback(lambda a: np.asarray(a) * 2, jax.ShapeDtypeStruct(x.shape, x.dtype), x) + 1


def conditional(x):
    return lax.cond(x[0, 0] > 0, lambda y: jnp.sin(y) @ y, lambda y: y * 2 + y.T, x)


def convolution(x):
    kernel = jnp.ones((3, 3, 1, 4), np.float32)
    return lax.conv_general_dilated(
        x.reshape(1, 8, 8, 1), kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def factor(x):
    return jnp.linalg.qr(x)


def scatter(x):
    return x.at[jnp.array([1, 3, 3])].add(2.0)


PROGRAMS = (
    while_loop, scan, fori, dots, reductions, sorts, normal,
    callback, conditional, convolution, factor, scatter,
)  # fmt: skip

if __name__ == "__main__":
    for program in PROGRAMS:
        folder = Path(sys.argv[1]) / program.__name__
        x = np.linspace(0.1, 2, 64, dtype=np.float32).reshape(8, 8)
        options = {"xla_dump_to": str(folder), "xla_dump_hlo_pass_re": ".*"}
        jax.jit(program).lower(x).compile(compiler_options=options)
