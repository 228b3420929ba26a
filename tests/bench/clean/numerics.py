"""Plain JAX: linear algebra, signals, sorting, differential equations."""

import jax
import jax.numpy as jnp
from jax.experimental.ode import odeint

import pcv


@pcv.target("f32[4,16,16,3]", "f32[3,3,3,8]")
def convolution(images, kernel):
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, (2, 2), "SAME", dimension_numbers=dimensions)


@pcv.target("f32[4,32]", "f32[8]")
def separable(signals, kernel):
    return jax.vmap(lambda signal: jnp.convolve(signal, kernel, mode="same"))(signals)


@pcv.target("f32[64,16]")
def ordering(x):
    return jnp.sort(x, axis=0), jnp.argsort(x[:, 0], stable=True), jax.lax.top_k(x, 4), jnp.median(x, axis=0)


@pcv.target("f32[8,64]")
def spectrum(x):
    frequencies = jnp.fft.rfft(x)
    return jnp.abs(frequencies), jnp.fft.irfft(frequencies * 0.5)


@pcv.target("f32[16,12]")
def orthogonal(x):
    q, r = jnp.linalg.qr(x)
    return q @ r, jnp.linalg.svd(x, compute_uv=False)


@pcv.target("f32[12,12]", "f32[12]")
def solved(x, b):
    positive = x @ x.T + 12 * jnp.eye(12)
    factor = jax.scipy.linalg.cho_factor(positive)
    return jax.scipy.linalg.cho_solve(factor, b), jnp.linalg.slogdet(positive)


@pcv.target("f32[2]")
def pendulum(start):
    def motion(state, _time):
        return jnp.stack([state[1], -jnp.sin(state[0]) - 0.1 * state[1]])

    return odeint(motion, start, jnp.linspace(0.0, 2.0, 8))


@pcv.target("f32[64,64]")
def heat(field):
    def step(field, _):
        padded = jnp.pad(field, 1, mode="edge")
        around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        return field + 0.1 * (around - 4 * field), None

    return jax.lax.scan(step, field, None, length=20)[0]


@pcv.target("f32[32,3]")
def clusters(points):
    def move(_, centers):
        distance = jnp.sum((points[:, None] - centers) ** 2, axis=-1)
        weights = jax.nn.one_hot(jnp.argmin(distance, axis=1), 4)
        return (weights.T @ points) / jnp.maximum(weights.sum(0)[:, None], 1)

    return jax.lax.fori_loop(0, 10, move, points[:4])


@pcv.target("i32[128]", "f32[128]")
def buckets(places, values):
    return jax.ops.segment_sum(values, places % 16, num_segments=16), jnp.bincount(places % 16, length=16)


@pcv.target("bf16[32,64]", "bf16[64,32]")
def mixed_precision(x, w):
    return jnp.matmul(x, w, preferred_element_type=jnp.float32), (x @ w).astype(jnp.float32)
