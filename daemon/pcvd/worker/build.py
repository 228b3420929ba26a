"""One build: trace, lower, compile. Each through a function object of its own, so that nothing is answered
from a cache.

JAX keys its caches on the function object: a second `lower()` of the same function returns what the first one
made. A copy of the function has the same code, globals and closure under another identity, and adds no stack
frame.
"""

from __future__ import annotations

import functools
import os
import time
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pcvd import jaxnames
from pcvd.core.builds import STAGES, TRACED
from pcvd.worker.blame import blame

if TYPE_CHECKING:
    from collections.abc import Callable

    from pcvd.core.builds import Artifact
    from pcvd.core.model import Failure
    from pcvd.worker.carry import Gate


@dataclass(frozen=True, slots=True)
class Recipe:
    """How far a build goes, and how: `until` is the last stage made, `without` names HLO passes left out.

    With `detail` the compiler dumps the HLO after every pass that changed it.
    """

    until: str = STAGES[-1]
    without: tuple[str, ...] = ()
    detail: bool = False

    @property
    def lowers(self) -> bool:
        """Whether the build goes beyond tracing."""
        return self.until != "jaxpr"

    @property
    def compiles(self) -> bool:
        """Whether the build goes beyond lowering."""
        return self.until not in TRACED

    @property
    def runs(self) -> bool:
        """Whether what was built is run."""
        return self.until == "output"

    def options(self, dump_folder: str) -> dict[str, str]:
        """The compiler's options: dumps, and what was asked for.

        Dump options are left out of JAX's cache key and of what is generated: without `without`, this is the
        build the user would get.
        """
        options = {"xla_dump_to": dump_folder}
        if self.detail:
            options |= {"xla_dump_hlo_pass_re": ".*"}
        if self.without:
            options["xla_disable_hlo_passes"] = ",".join(self.without)
        return options


@dataclass(slots=True)
class Product:
    """What a build has made so far. `failure` stands where it went no further."""

    began_ns: int
    thread: str
    dump_folder: str
    lowered_ns: int = 0
    compiling_ns: int = 0
    ended_ns: int = 0
    traced: Any = None
    lowered: Any = None
    compiled: Any = None
    options: tuple[tuple[str, Any], ...] = ()
    """The compiler options that the function itself asks for."""
    runtime_args: tuple[Any, ...] = ()
    program: tuple[Artifact, ...] = ()
    """What was collected of it before it was compiled."""
    failure: Failure | None = None


def lower(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    *,
    thread: str,
    dump_folder: str,
    root: str,
    recipe: Recipe = Recipe(),
) -> Product:
    """Trace and lower `function` for `args`; errors of the project's own code end up in the product."""
    product = Product(time.monotonic_ns(), thread, dump_folder)
    step = "trace"
    try:
        fresh, traceable, product.runtime_args = prepare(function, args)
        product.options = tuple(jaxnames.compiler_options(fresh).items())
        product.traced = fresh.trace(*traceable)
        step = "lower"
        if recipe.lowers:
            product.lowered = product.traced.lower()
            product.lowered_ns = time.monotonic_ns()
    except BaseException as error:  # a model may raise anything, SystemExit included; the others go on
        product.failure = blame(step, error, root)
        product.ended_ns = time.monotonic_ns()
    return product


def finish(product: Product, *, root: str, gate: Gate, recipe: Recipe = Recipe()) -> Product:
    """Compile what was lowered. A concurrent schedule's first builds wait at the `gate` for each other
    before.
    """
    if product.failure is not None:
        gate.leave()
        return product
    try:
        gate.wait()
        if recipe.compiles:
            os.makedirs(product.dump_folder, exist_ok=True)
            product.compiling_ns = time.monotonic_ns()
            options = recipe.options(product.dump_folder)
            product.compiled = product.lowered.compile(compiler_options=options)
    except BaseException as error:
        product.failure = blame("compile", error, root)
    product.ended_ns = time.monotonic_ns()
    return product


def prepare(function: Any, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """A jitted function of its own identity, the arguments to trace it with, and those to call the compiled
    program with.

    Leaves that no array can be (an activation function inside an Equinox module) are closed over, as
    `equinox.filter_jit` does.
    """
    if jaxnames.is_jitted(function):
        static = jaxnames.static_positions(function, len(args))
        runtime = tuple(value for place, value in enumerate(args) if place not in static)
        return copy_of(function), args, runtime
    leaves, tree = jax.tree.flatten(args)
    if all(_is_dynamic(leaf) for leaf in leaves):
        return jax.jit(copy_of(function)), args, args
    dynamic = tree.unflatten([leaf if _is_dynamic(leaf) else None for leaf in leaves])
    fresh = copy_of(function)

    def closed(*given: Any) -> Any:
        values = iter(jax.tree.leaves(given))
        return fresh(*tree.unflatten([next(values) if _is_dynamic(leaf) else leaf for leaf in leaves]))

    return jax.jit(_named_like(closed, function)), dynamic, dynamic


def copy_of(function: Any) -> Any:
    """A callable that does the same under another identity, and the same name."""
    if isinstance(function, types.FunctionType):
        copy = types.FunctionType(
            function.__code__,
            function.__globals__,
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        copy.__kwdefaults__ = function.__kwdefaults__
        copy.__qualname__ = function.__qualname__
        copy.__module__ = function.__module__
        copy.__annotations__ = function.__annotations__
        copy.__dict__.update(function.__dict__)
        return copy
    if jaxnames.is_jitted(function):
        return jaxnames.jitted_like(copy_of(function.__wrapped__), function)
    if isinstance(function, types.MethodType):
        return types.MethodType(copy_of(function.__func__), function.__self__)
    if isinstance(function, functools.partial):
        return functools.partial(copy_of(function.func), *function.args, **function.keywords)

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return _named_like(call, function)


def _named_like(wrapper: Callable[..., Any], function: Any) -> Callable[..., Any]:
    # The name goes into the HLO module's name: it must be the user's, not the wrapper's.
    while isinstance(function, functools.partial):
        function = function.func
    wrapper.__name__ = getattr(function, "__name__", type(function).__name__)
    wrapper.__qualname__ = wrapper.__name__
    return wrapper


def _is_dynamic(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float | complex)
