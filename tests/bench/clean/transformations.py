"""Transformations of JAX, one upon another."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

import pcv

mesh = jax.make_mesh((1,), ("rows",), axis_types=(AxisType.Auto,))


def energy(x):
    return jnp.sum(jnp.sin(x) ** 2 * jnp.exp(-x * x))


@pcv.target("f32[16,8]")
def gradients(xs):
    return jax.vmap(jax.value_and_grad(energy))(xs)


@pcv.target("f32[8]", "f32[8]")
def pushed_forward(x, direction):
    return jax.jvp(jax.grad(energy), (x,), (direction,))


@pcv.target("f32[8]")
def curvature(x):
    return jax.hessian(energy)(x)


@pcv.target("f32[8,8]", "f32[4,8]")
def rematerialized(w, x):
    @jax.checkpoint
    def layer(x):
        return jnp.tanh(x @ w)

    return jax.grad(lambda x: layer(layer(layer(x))).sum())(x)


@jax.custom_vjp
def clipped(x):
    return x


clipped.defvjp(lambda x: (x, None), lambda _, gradient: (jnp.clip(gradient, -0.1, 0.1),))


@pcv.target("f32[8]")
def own_gradient(x):
    return jax.grad(lambda x: energy(clipped(x)))(x)


@pcv.target("f32[8,4]")
def sharded(x):
    def part(rows):
        return rows / jax.lax.psum(rows.sum(), "rows")

    return jax.shard_map(part, mesh=mesh, in_specs=PartitionSpec("rows"), out_specs=PartitionSpec("rows"))(x)


@pcv.target("f32[10,4]", "f32[4,8]", "f32[8,8]")
def recurrent(xs, w, u):
    def step(hidden, x):
        hidden = jnp.tanh(x @ w + hidden @ u)
        return hidden, hidden

    return jax.grad(lambda w: jax.lax.scan(step, jnp.zeros(8), xs)[1].sum())(w)


@pcv.target("f32[16]", "f32[]")
def branches(x, threshold):
    chosen = jax.lax.cond(threshold > 0, jnp.sin, jnp.cos, x)
    return jnp.where(chosen > threshold, chosen, 0.0), jax.lax.associative_scan(jnp.maximum, chosen)


@pcv.target("f32[16,16]")
@functools.partial(jax.jit, donate_argnums=0)
def donated(x):
    return x * 2 + 1


@pcv.target("f32[]")
def square_root(x):
    def improve(guess):
        return 0.5 * (guess + jnp.abs(x) / guess)

    return jax.lax.while_loop(lambda y: jnp.abs(y * y - jnp.abs(x)) > 1e-3, improve, jnp.abs(x) + 1.0)
