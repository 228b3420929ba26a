"""Flax nnx: objects, split into what is static and what is state."""

import jax
import jax.numpy as jnp
from flax import nnx

import pcv


class MLP(nnx.Module):
    """Dense layers with batch norm between them."""

    def __init__(self, rngs):
        self.first = nnx.Linear(8, 32, rngs=rngs)
        self.norm = nnx.BatchNorm(32, rngs=rngs)
        self.second = nnx.Linear(32, 4, rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.relu(self.norm(self.first(x))))


class Attention(nnx.Module):
    """Self-attention with a residual connection."""

    def __init__(self, rngs):
        self.attention = nnx.MultiHeadAttention(num_heads=2, in_features=16, decode=False, rngs=rngs)
        self.norm = nnx.LayerNorm(16, rngs=rngs)

    def __call__(self, x):
        return x + self.attention(self.norm(x))


mlp, mlp_state = nnx.split(nnx.jit(lambda: MLP(nnx.Rngs(0)))())
attention, attention_state = nnx.split(nnx.jit(lambda: Attention(nnx.Rngs(1)))())


@pcv.target(args=(lambda: mlp_state, "f32[16,8]"))
def forward(state, x):
    model = nnx.merge(mlp, state)
    model.eval()
    return model(x)


@pcv.target(args=(lambda: mlp_state, "f32[16,8]", "f32[16,4]"))
def train_step(state, x, y):
    model = nnx.merge(mlp, state)

    def loss(model):
        return jnp.mean((model(x) - y) ** 2)

    value, gradients = nnx.value_and_grad(loss)(model)
    params = nnx.state(model, nnx.Param)
    return value, jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients)


@pcv.target(args=(lambda: attention_state, "f32[2,6,16]"))
def block(state, x):
    return nnx.merge(attention, state)(x)
