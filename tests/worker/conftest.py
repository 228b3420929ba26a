from __future__ import annotations

import pytest

from pcvd.core.model import TargetSpec

# One of each kind of thing that can be a target, all in one cohort: a build costs half a second by itself.
MODEL = """
    import functools
    import jax
    import jax.numpy as jnp
    import numpy as np
    import pcv

    def plain(x):
        return jnp.tanh(x) * 2

    @functools.partial(jax.jit, donate_argnums=0)
    def donating(x, y):
        return x + y

    @functools.partial(jax.jit, static_argnums=1)
    def static_place(x, power):
        return x ** power

    @functools.partial(jax.jit, static_argnames="power")
    def static_name(x, power):
        return x ** power

    @functools.partial(jax.jit, static_argnums=-1)
    def static_last(x, power):
        return x ** power

    @jax.jit
    def jitted(x):
        return jnp.sin(x)

    partly = functools.partial(static_place, power=3)
    scaled = functools.partial(lambda scale, x: x * scale, 3.0)

    class Affine:
        def __init__(self, slope):
            self.slope = slope

        def apply(self, x):
            return self.slope * x + 1

        def __call__(self, x):
            return self.slope * x - 1

        @staticmethod
        def shift(x):
            return x + 7

        @classmethod
        def double(cls, x):
            return x * 2

    affine = Affine(2.0)
    bound = affine.apply

    @jax.tree_util.register_pytree_node_class
    class Layer:
        \"\"\"A module as Equinox makes them: arrays and functions are leaves alike.\"\"\"

        def __init__(self, weights, activation):
            self.weights, self.activation = weights, activation

        def tree_flatten(self):
            return (self.weights, self.activation), None

        @classmethod
        def tree_unflatten(cls, _, leaves):
            return cls(*leaves)

    def layer():
        return Layer(jnp.ones((4, 4)), jnp.tanh)

    def with_layer(layer, x):
        return layer.activation(x @ layer.weights)

    def keyed(key, x):
        return x + jax.random.normal(key, x.shape)

    def low(x, steps, flag):
        return jnp.where(flag, x, -x), steps + 1

    def old_key():
        return jax.random.PRNGKey(0)

    def structures():
        return jax.ShapeDtypeStruct((2,), jnp.float32), {"b": jax.ShapeDtypeStruct((), jnp.int32)}

    def of_structures(x, more):
        return {"sum": x.sum() + more["b"], "pair": (x, more["b"])}

    def seeded(seed):
        return jnp.full((3,), seed, jnp.float32)

    def of_key(key):
        return jax.random.normal(key, (3,))

    def ready():
        return (np.arange(3.0, dtype=np.float32), 2.0)

    def scaling(x, factor):
        return x * factor

    def two(x, y):
        return x - y

    @pcv.target("f32[3]", name="squared")
    def _square(x):
        return x * x

    pcv.target("f32[3]", name="cubed")(lambda x: x * x * x)

    def rngbits(x):
        def body(carry, _):
            return jax.checkpoint(jitted)(carry), carry.sum()
        return jax.lax.scan(body, x, None, length=3)
"""

KINDS = {
    "plain": ("f32[4]",),
    "donating": ("f32[8]", "f32[8]"),
    "jitted": ("f32[4]",),
    "static_place": "args",
    "static_name": "args",
    "static_last": "args",
    "scaled": ("f32[4]",),
    "partly": ("f32[4]",),
    "bound": ("f32[4]",),
    "affine": ("f32[4]",),
    "affine.apply": ("f32[4]",),
    "Affine.shift": ("f32[4]",),
    "Affine.double": ("f32[4]",),
    "with_layer": ("kinds.py:layer", "f32[2,4]"),
    "keyed": ("key[]", "f32[4]"),
    "low": ("bf16[4]", "s32[]", "pred[4]"),
    "of_structures": "structures",
    "scaling": "ready",
    "two": ("kinds.py:seeded", "kinds.py:of_key"),
    "squared": None,
    "cubed": None,
    "rngbits": ("f32[4]",),
}


@pytest.fixture(scope="session")
def kinds(workshop):
    """The specs of all kinds of targets, by function."""
    workshop.write("kinds.py", MODEL + "\n    def args():\n        return jnp.arange(3.0), 3\n")
    return {
        name: TargetSpec(f"kinds.py:{name}", f"kinds.py:{args}" if isinstance(args, str) else args)
        for name, args in KINDS.items()
    }


@pytest.fixture(scope="session")
def serially(workshop, kinds):
    """The builds of all kinds of targets, one after another: function → build."""
    builds = workshop.build(*kinds.values()).run.builds
    return {build.target.partition(":")[2]: build for build in builds}


@pytest.fixture(scope="session")
def concurrently(workshop, kinds):
    """The same in four threads."""
    builds = workshop.build(*kinds.values(), schedule="threads:4").run.builds
    return {build.target.partition(":")[2]: build for build in builds}
