"""A transformer whose layers are a plain loop in Python, without marks; and the same with `jax.lax.scan`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

WIDTH, LENGTH, BATCH, HEADS = 256, 64, 4, 4


class Transformer:
    """The loss of `layers` equal layers, of which `edited` ones have another activation function."""

    def __init__(self, layers: int, edited: tuple[int, ...] = ()) -> None:
        self.layers, self.edited = layers, edited

    def arguments(self) -> tuple[Any, ...]:
        """Parameters, a list of one dict a layer, and a batch: f32[BATCH, LENGTH, WIDTH]."""
        keys = jax.random.split(jax.random.key(0), self.layers + 1)
        x = jax.random.normal(keys[0], (BATCH, LENGTH, WIDTH), "float32")
        return [self._layer(key) for key in keys[1:]], x

    def stacked(self) -> tuple[Any, ...]:
        """The same arguments, each parameter an array over all layers."""
        params, x = self.arguments()
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *params), x

    def loss(self, params: Any, x: Any) -> Any:
        """As people write it first."""
        for number, layer in enumerate(params):
            x = block(layer, x, jnp.tanh if number in self.edited else jax.nn.gelu)
        return (x**2).mean()

    def scanned(self, params: Any, x: Any) -> Any:
        """As people write it when compiling takes too long."""
        x, _ = jax.lax.scan(lambda x, layer: (block(layer, x, jax.nn.gelu), None), x, params)
        return (x**2).mean()

    def _layer(self, key: Any) -> dict[str, Any]:
        shapes = {
            "query": (WIDTH, WIDTH), "key": (WIDTH, WIDTH), "value": (WIDTH, WIDTH), "out": (WIDTH, WIDTH),
            "up": (WIDTH, 4 * WIDTH), "down": (4 * WIDTH, WIDTH),
        }  # fmt: skip
        keys = jax.random.split(key, len(shapes))
        drawn = {
            name: jax.random.normal(one, shape, "float32") / shape[0] ** 0.5
            for one, (name, shape) in zip(keys, shapes.items(), strict=True)
        }
        return drawn | {name: jnp.ones(WIDTH) for name in ("scale_1", "scale_2")}


def block(params: Any, x: Any, activation: Any) -> Any:
    """Attention and a perceptron, each behind a norm and beside a residual connection."""
    y = norm(x) * params["scale_1"]
    query, key, value = (
        (y @ params[name]).reshape(*y.shape[:-1], HEADS, -1) for name in ("query", "key", "value")
    )
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    mask = jnp.tril(jnp.ones((x.shape[-2], x.shape[-2]), bool))
    weights = jax.nn.softmax(jnp.where(mask, scores, -1e9))
    x = x + jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(x.shape) @ params["out"]
    y = norm(x) * params["scale_2"]
    return x + activation(y @ params["up"]) @ params["down"]


def norm(x: Any) -> Any:
    """Zero mean and unit variance along the last axis."""
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
