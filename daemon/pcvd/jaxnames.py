"""Every private name of JAX and jaxlib that pcv leans on, each with the reason why a public one would not do.

Kept in one place, so that a new version of JAX is looked through by reading one file.
"""

from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def is_jitted(function: Any) -> bool:
    """Whether `function` is what `jax.jit` returned. A method bound to such a function shows its attributes,
    and is none.
    """
    return (
        not isinstance(function, types.MethodType)
        and hasattr(function, "_jit_info")
        and hasattr(function, "__wrapped__")
    )


def backend_started() -> bool:
    """Whether JAX has started a backend, with threads that no fork survives. Every public question about
    backends starts one.
    """
    from jax._src import xla_bridge

    return bool(xla_bridge.backends_are_initialized())


def jitted_like(function: Callable[..., Any], original: Any) -> Any:
    """`jax.jit(function)` with exactly the options of `original`: donation, static arguments, shardings,
    compiler options.

    `_jit_info` is the record of those options, and `_cpp_pjit` makes a jitted function from such a record.
    There is no public way to ask a jitted function for them, and spelling the call to `jax.jit` out again
    would lose the next option that JAX invents.
    """
    from jax._src.pjit import _cpp_pjit

    return _cpp_pjit(function, original._jit_info)


def static_positions(function: Any, count: int) -> set[int]:
    """Which of `count` positional arguments `function` takes as static ones (a compiled program is called
    without them).
    """
    info = function._jit_info
    names = [*info.fun_signature.parameters] if info.fun_signature is not None else []
    by_name = {names.index(name) for name in info.static_argnames if name in names}
    return {position % count for position in info.static_argnums if -count <= position < count} | by_name


def optimized_hlo(executable: Any) -> list[bytes]:
    """The optimized HLO modules of a loaded executable as text, constants in full, without metadata.

    `compiled.as_text()` leaves out array constants of 16 elements and more (`{...}`), so it is blind to
    changed weights; the options that print them are not public.
    """
    from jaxlib import _hlo

    options = _hlo.HloPrintOptions()
    options.print_large_constants = True
    options.print_metadata = False
    return [module.to_string(options).encode() for module in executable.hlo_modules()]


def captures_for_good(function: types.FunctionType) -> bool:
    """Whether what `function` captured never changes, lists included.

    `jax.debug.callback` wraps the user's function into one of its own that holds the static arguments in a
    list; nothing public gives them back.
    """
    return function.__module__ == "jax._src.debugging"


def with_source_lines(jaxpr: Any) -> str:
    """The jaxpr as text, each equation followed by the source line that it comes from.

    `pretty_print` is a method of the class behind `traced.jaxpr`, which is itself not public by name.
    """
    text: str = jaxpr.pretty_print(source_info=True, use_color=False)
    return text


def inner_jaxprs(jaxpr: Any) -> Iterator[Any]:
    """`jaxpr` and every jaxpr inside the parameters of its equations, depth first, in order.

    `jax.core.jaxprs_in_params` is deprecated without a successor. The class differs too: up to 0.11 constants
    sit in a ClosedJaxpr around a Jaxpr, from 0.12 on in the Jaxpr itself; both have `consts` and `eqns`.
    """
    yield jaxpr
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if hasattr(inner, "eqns"):
                    yield from inner_jaxprs(inner)


def is_plain_call(params: dict[str, Any]) -> bool:
    """Whether an inner `jit`, told by the parameters of its equation, asks for nothing but its body: neither
    for shardings, layouts, a mesh nor for compiler options. What it says of donation JAX ignores.
    """
    return not _is_placed(params) and params["ctx_mesh"].empty and not params["compiler_options_kvs"]


def is_placed(traced: Any) -> bool:
    """Whether the `jax.jit` behind a `jax.stages.Traced` was told where or how its arguments or results lie:
    what it was told is in no public attribute.
    """
    return _is_placed(traced._params)


def _is_placed(params: dict[str, Any]) -> bool:
    # The object that stands for "no sharding asked for" has no public name.
    from jax._src.sharding_impls import UNSPECIFIED

    shardings = (*params["in_shardings"], *params["out_shardings"])
    layouts = (*params["in_layouts"], *params["out_layouts"])
    return any(one is not UNSPECIFIED for one in shardings) or any(one is not None for one in layouts)


def user_place(equation: Any) -> tuple[str, int] | None:
    """The file and line of the user's own that an equation comes from; None where there is none.

    Equations carry tracebacks; which of their frames are JAX's own is known to a private module only.
    """
    from jax._src import source_info_util

    frame = source_info_util.user_frame(equation.source_info.traceback)
    return None if frame is None else (frame.file_name, frame.start_line)


def found_not_finite() -> type[Exception]:
    """What a compiled program raises under `jax_debug_nans` and `jax_debug_infs`; `jax.jit` makes a
    FloatingPointError of it, `jax.stages.Compiled` does not.
    """
    from jax._src.api_util import InternalFloatingPointError

    found: type[Exception] = InternalFloatingPointError
    return found


def compiler_options(function: Any) -> dict[str, Any]:
    """The compiler options that a jitted function was given."""
    return dict(function._jit_info.compiler_options_kvs)


def without_derivative(exported: Any) -> Any:
    """A `jax.export.Exported` that can be pickled: without the function that makes its derivative.

    `Exported.serialize` needs flatbuffers, which JAX does not bring along; between two processes of the same
    JAX, a pickle does.
    """
    return dataclasses.replace(exported, _get_vjp=None)


def direct_call(compiled: Any) -> Callable[[Sequence[Any]], list[Any]] | None:
    """A function from arrays to arrays that runs a `jax.stages.Compiled` without looking at them again.

    The public call checks and converts every argument, which takes longer than a small kernel. What comes
    from one executable and goes to the next needs no check. None for what this can't do right: effects and
    callbacks (they thread tokens), mutable arrays, random keys (they are wrapped), several devices, unusual
    layouts.
    """
    mesh = compiled._executable
    call: Any = getattr(mesh, "unsafe_call", None)
    plain = (
        type(call).__name__ == "ExecuteReplicated"
        and not (call.ordered_effects or call.has_unordered_effects or call.has_host_callbacks)
        and call.mut is None
        and call.pgle_profiler is None
        and not compiled._params.const_args
        and len(call.kept_var_idx) == len(mesh.in_avals)
        and len(mesh.xla_executable.local_devices()) == 1
        and all(layout is None for layout in mesh._dispatch_in_layouts)
        and not any(_is_wrapped(aval) for aval in (*mesh.in_avals, *mesh.out_avals))
    )
    if not plain:
        return None
    execute, handlers = mesh.xla_executable.execute_sharded, call.out_handler.handlers

    def run(arrays: Sequence[Any]) -> list[Any]:
        out: list[Any] = execute(arrays).consume_with_handlers(handlers)
        return out

    return run


def _is_wrapped(aval: Any) -> bool:
    import jax

    return bool(jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended))
