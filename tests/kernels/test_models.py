"""Models of the libraries that people use, forward and gradient: cut, compiled serially and concurrently, and
linked, they compute the same bits; and what the whole program computes, but for rounding.
"""

from __future__ import annotations

import runpy
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pcv_config import demonstration
from pcvd.kernels import cut_traced

KEY = jax.random.key(0)


def drawn(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape), jnp.float32)


def drawn_like(tree):
    """Shapes filled with numbers: as many small ones as a layer has, so that activations stay near one."""
    random = np.random.default_rng(0)

    def fill(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return jnp.zeros(leaf.shape, leaf.dtype)
        values = random.normal(size=leaf.shape)
        if values.ndim < 2:  # scales, biases and variances, which are positive
            return jnp.asarray(np.abs(values) / 2, leaf.dtype)
        return jnp.asarray(values / np.prod(values.shape[:-1]) ** 0.5, leaf.dtype)

    return jax.tree.map(fill, tree)


def demo_network():
    path = resources.files("pcv_config") / "demo" / demonstration.MODEL
    found = runpy.run_path(str(path))
    return found["forward"], (found["init_params"](), drawn(32, 128))


def equinox(make, x, batched=True):
    """An Equinox module, split into its arrays and the rest."""
    eqx = pytest.importorskip("equinox")
    arrays, rest = eqx.partition(make(eqx), eqx.is_array)

    def forward(arrays, x):
        model = eqx.combine(arrays, rest)
        return (jax.vmap(model) if batched else model)(x)

    return forward, (arrays, x)


def equinox_perceptron():
    return equinox(lambda eqx: eqx.nn.MLP(8, 4, 32, 8, key=KEY), drawn(16, 8))


def equinox_convolutions():
    def make(eqx):
        nn = eqx.nn
        keys = iter(jax.random.split(KEY, 5))
        blocks = [
            part
            for _ in range(3)
            for part in (
                nn.Conv2d(4, 4, 3, padding=1, key=next(keys)),
                nn.GroupNorm(2, 4),
                nn.Lambda(jax.nn.silu),
            )
        ]
        first = nn.Conv2d(1, 4, 3, padding=1, key=next(keys))
        return nn.Sequential(
            [first, *blocks, nn.AvgPool2d(2, 2), nn.Lambda(jnp.ravel), nn.Linear(64, 3, key=next(keys))]
        )

    return equinox(make, drawn(2, 1, 8, 8))


def equinox_transformer():
    def make(eqx):
        class Block(eqx.Module):
            norm: eqx.nn.LayerNorm
            attention: eqx.nn.MultiheadAttention
            mlp: eqx.nn.MLP

            def __init__(self, key):
                one, other = jax.random.split(key)
                self.norm = eqx.nn.LayerNorm(16)
                self.attention = eqx.nn.MultiheadAttention(2, 16, key=one)
                self.mlp = eqx.nn.MLP(16, 16, 32, 1, jax.nn.gelu, key=other)

            def __call__(self, x, key=None):
                y = jax.vmap(self.norm)(x)
                x = x + self.attention(y, y, y)
                return x + jax.vmap(self.mlp)(jax.vmap(self.norm)(x))

        return eqx.nn.Sequential([Block(key) for key in jax.random.split(KEY, 3)])

    return equinox(make, drawn(6, 16), batched=False)


def equinox_recurrent():
    def make(eqx):
        class Recurrent(eqx.Module):
            cell: eqx.nn.GRUCell
            out: eqx.nn.Linear

            def __call__(self, xs):
                state, _ = jax.lax.scan(lambda state, x: (self.cell(x, state), None), jnp.zeros(8), xs)
                return self.out(state)

        return Recurrent(eqx.nn.GRUCell(3, 8, key=KEY), eqx.nn.Linear(8, 2, key=KEY))

    return equinox(make, drawn(4, 5, 3))


def linen(make, x, **options):
    """A Flax linen module and its variables."""
    nn = pytest.importorskip("flax.linen")
    module = make(nn)
    variables = drawn_like(jax.eval_shape(lambda: module.init(KEY, x, **options)))
    return lambda variables, x: module.apply(variables, x, **options), (variables, x)


def linen_perceptron():
    def make(nn):
        return nn.Sequential([part for _ in range(6) for part in (nn.Dense(16), nn.relu, nn.LayerNorm())])

    return linen(make, drawn(8, 16))


def linen_transformer():
    def make(nn):
        class Block(nn.Module):
            @nn.compact
            def __call__(self, x):
                y = nn.LayerNorm()(x)
                mask = nn.make_causal_mask(x[..., 0])
                x = x + nn.MultiHeadDotProductAttention(num_heads=2)(y, y, mask=mask)
                return x + nn.Dense(16)(nn.gelu(nn.Dense(32)(nn.LayerNorm()(x))))

        return nn.Sequential([Block() for _ in range(3)])

    return linen(make, drawn(2, 6, 16))


def linen_convolutions():
    def make(nn):
        class Residual(nn.Module):
            @nn.compact
            def __call__(self, x):
                for _ in range(3):
                    y = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Conv(4, (3, 3))(x)))
                    x = x + nn.Conv(4, (3, 3))(y)
                return nn.Dense(5)(nn.max_pool(x, (2, 2), (2, 2)).mean(axis=(1, 2)))

        return Residual()

    return linen(make, drawn(2, 8, 8, 4))


def linen_recurrent():
    return linen(lambda nn: nn.Sequential([nn.RNN(nn.OptimizedLSTMCell(8)), nn.Dense(3)]), drawn(2, 5, 4))


def nnx(make, x):
    """A Flax nnx module, split into its definition and its state."""
    nnx = pytest.importorskip("flax.nnx")
    definition, state = nnx.split(make(nnx))
    return lambda state, x: nnx.merge(definition, state)(x), (state, x)


def nnx_perceptron():
    def make(nnx):
        rngs = nnx.Rngs(0)
        return nnx.Sequential(*(part for _ in range(6) for part in (nnx.Linear(16, 16, rngs=rngs), nnx.gelu)))

    return nnx(make, drawn(8, 16))


def nnx_attention():
    def make(nnx):
        class Block(nnx.Module):
            def __init__(self, rngs):
                self.attention = nnx.MultiHeadAttention(num_heads=2, in_features=16, decode=False, rngs=rngs)
                self.norm = nnx.LayerNorm(16, rngs=rngs)

            def __call__(self, x):
                return x + self.attention(self.norm(x))

        rngs = nnx.Rngs(0)
        return nnx.Sequential(*(Block(rngs) for _ in range(3)))

    return nnx(make, drawn(2, 6, 16))


def haiku(model, x):
    """A Haiku function and its parameters."""
    hk = pytest.importorskip("haiku")
    pure = hk.without_apply_rng(hk.transform(lambda x: model(hk, x)))
    return pure.apply, (drawn_like(jax.eval_shape(pure.init, KEY, x)), x)


def haiku_perceptron():
    return haiku(lambda hk, x: hk.nets.MLP([32] * 6 + [4])(x), drawn(16, 8))


def haiku_recurrent():
    def model(hk, xs):
        core = hk.LSTM(8)
        outputs, _ = hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))
        return hk.Linear(2)(outputs)

    return haiku(model, drawn(5, 2, 3))


def haiku_unrolled():
    def model(hk, xs):
        core = hk.GRU(8)
        outputs, _ = hk.static_unroll(core, xs, core.initial_state(xs.shape[1]))
        return hk.Linear(2)(outputs)

    return haiku(model, drawn(5, 2, 3))


def haiku_residual():
    def model(hk, x):
        for _ in range(3):
            y = jax.nn.relu(hk.GroupNorm(2)(hk.Conv2D(4, 3)(x)))
            x = x + hk.Conv2D(4, 3)(y)
        return hk.Linear(5)(x.mean(axis=(1, 2)))

    return haiku(model, drawn(2, 8, 8, 4))


MODELS = [
    demo_network,
    equinox_perceptron, equinox_convolutions, equinox_transformer, equinox_recurrent,
    linen_perceptron, linen_transformer, linen_convolutions, linen_recurrent,
    nnx_perceptron, nnx_attention,
    haiku_perceptron, haiku_recurrent, haiku_unrolled, haiku_residual,
]  # fmt: skip


def gradient(forward):
    return jax.grad(lambda params, x: (forward(params, x) ** 2).mean(), allow_int=True)


@pytest.mark.parametrize("direction", ["forward", "gradient"])
@pytest.mark.parametrize("model", MODELS, ids=lambda make: make.__name__)
def test_serial_concurrent_and_whole_compute_the_same(shop, model, direction):
    forward, args = model()
    traced = jax.jit(forward if direction == "forward" else gradient(forward)).trace(*args)
    graph = cut_traced(traced)
    if len(graph.steps) == 1:  # too small for anything to be gained: cut in the midst
        [step] = graph.steps
        graph = cut_traced(traced, (step.equations // 3, step.equations * 2 // 3))
    assert len(graph.steps) > 1
    assert not graph.notes
    arrays = [jnp.asarray(leaf) for leaf in jax.tree.leaves(args)]
    serial = shop.linked(graph, workers=1)(arrays)
    assert shop.bits(shop.linked(graph, workers=3)(arrays)) == shop.bits(serial)
    whole = jax.tree.leaves(traced.lower().compile()(*args))
    largest = max(float(jnp.abs(one).max()) for one in whole)
    assert np.isfinite(largest)
    assert largest > 1e-3
    # What should be nothing (the slope of a key's bias: softmax doesn't see it) is what rounding leaves of
    # sums of much larger numbers.
    rounding = np.finfo(np.float32).eps * largest
    for one, other in zip(serial, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=max(1e-5 * float(jnp.abs(other).max()), rounding))
