"""Every private name of JAX and jaxlib that pcv leans on, each with the reason why a public one would not do.

Kept in one place, so that a new version of JAX is looked through by reading one file.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def is_jitted(function: Any) -> bool:
    """Whether `function` is what `jax.jit` returned. A method bound to such a function shows its attributes,
    and is none.
    """
    return (
        not isinstance(function, types.MethodType)
        and hasattr(function, "_jit_info")
        and hasattr(function, "__wrapped__")
    )


def jitted_like(function: Callable[..., Any], original: Any) -> Any:
    """`jax.jit(function)` with exactly the options of `original`: donation, static arguments, shardings,
    compiler options.

    `_jit_info` is the record of those options, and `_cpp_pjit` makes a jitted function from such a record.
    There is no public way to ask a jitted function for them, and spelling the call to `jax.jit` out again
    would lose the next option that JAX invents.
    """
    from jax._src.pjit import _cpp_pjit

    return _cpp_pjit(function, original._jit_info)


def compiler_options(function: Any) -> tuple[tuple[str, Any], ...]:
    """The compiler options that `function` was jitted with: they are in no program's text."""
    return tuple(function._jit_info.compiler_options_kvs or ())


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
