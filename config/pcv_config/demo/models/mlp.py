"""A network of four layers, 128 → 256 → 512 → 256 → 64, with 312,384 parameters, and a step of its training.

    weights   128·256 + 256·512 + 512·256 + 256·64  =  311,296
    biases              256 + 512 + 256 + 64        =    1,088

Three functions of this file are targets: pcv builds each of them serially and in parallel at every save, and
compares. `forward` and `loss_gradient` are declared in pcv.toml, `train_step` right here.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

import pcv

WIDTHS = (128, 256, 512, 256, 64)
BATCH = 32

# Change this line while the daemon runs: the verdicts turn stale, are worked out anew and come back.
LEARNING_RATE = 0.01


def init_params(seed=0):
    """Weights and biases of each layer. The same seed gives the same parameters, to the bit."""
    random = np.random.default_rng(seed)
    return [
        {
            "weights": random.normal(0, (2 / inputs) ** 0.5, (inputs, outputs)).astype(np.float32),
            "biases": np.zeros(outputs, np.float32),
        }
        for inputs, outputs in itertools.pairwise(WIDTHS)
    ]


def count(params):
    """How many numbers the network learns: 312,384."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def forward(params, x):
    """The network's answer to a batch `x`: affine layers with a ReLU between them."""
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["weights"] + layer["biases"])
    return x @ last["weights"] + last["biases"]


def loss(params, x, y):
    """Mean squared error between the network's answers to `x` and the right ones, `y`."""
    return jnp.mean((forward(params, x) - y) ** 2)


def loss_gradient(params, x, y):
    """The slope of the loss in every parameter."""
    return jax.grad(loss)(params, x, y)


def example_step():
    """Example arguments for `train_step`. pcv fills the two shapes with values, from the project's seed."""
    x = jax.ShapeDtypeStruct((BATCH, WIDTHS[0]), jnp.float32)
    y = jax.ShapeDtypeStruct((BATCH, WIDTHS[-1]), jnp.float32)
    return init_params(), x, y


@pcv.target(args=example_step)
@jax.jit
def train_step(params, x, y):
    """One step of gradient descent: the parameters after it, and the loss before it."""
    error, slopes = jax.value_and_grad(loss)(params, x, y)
    return jax.tree.map(lambda value, slope: value - LEARNING_RATE * slope, params, slopes), error
