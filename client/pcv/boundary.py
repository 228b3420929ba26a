"""An explicit boundary in a model: what is marked here is a kernel of its own when the model is cut into
kernels.

Nothing of JAX is imported before a marked function is called.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

MARK = "pcv_kernel_"


def kernel(function: Function) -> Function:
    """Mark a function as a kernel. It computes what it computed, under `jit`, `grad` and `vmap` too.

        @pcv.kernel
        def block(params, x): …

    Within a trace its body becomes a nested `jit` of a name by which pcv finds it; derivatives and `vmap`
    keep that name, so that the backward pass of a kernel is one as well. Only what is being traced becomes
    an argument of it: numbers, flags, functions and arrays with a value stay what they are, and where
    nothing is traced the function is called directly.

    Args:
        function: takes and returns any pytrees.
    """

    @wraps(function)
    def marked(*args: Any, **kwargs: Any) -> Any:
        import jax

        leaves, tree = jax.tree.flatten((args, kwargs))
        traced = [place for place, leaf in enumerate(leaves) if isinstance(leaf, jax.core.Tracer)]
        if not traced:
            return function(*args, **kwargs)
        others: list[Any] = []

        def body(*values: Any) -> list[Any]:
            given = list(leaves)
            for place, value in zip(traced, values, strict=True):
                given[place] = value
            positional, named = tree.unflatten(given)
            results, shape = jax.tree.flatten(function(*positional, **named))
            # Only arrays may leave a `jit`; the rest is known by now.
            others[:] = [shape, [None if isinstance(one, jax.Array) else one for one in results]]
            return [one for one in results if isinstance(one, jax.Array)]

        body.__name__ = body.__qualname__ = MARK + getattr(function, "__name__", type(function).__name__)
        arrays = iter(jax.jit(body)(*(leaves[place] for place in traced)))
        shape, known = others
        return shape.unflatten([next(arrays) if one is None else one for one in known])

    return cast("Function", marked)
