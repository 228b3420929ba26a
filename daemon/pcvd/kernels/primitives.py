"""What the cutter knows of single primitives: which are calls, which are cheap, how much there is to
compile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcvd import jaxnames

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "pcv_kernel_"
"""How the name of what `pcv.kernel` makes begins. Derivatives and `vmap` keep the name of a `jit`."""

# What runs nothing but its body when it is compiled; what else it holds is for derivatives, which are taken
# by then.
_BODIES = {
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
}
_JITS = {"jit", "pjit"}
_REMATS = {"checkpoint", "remat", "remat2"}

IRRELEVANT = {
    "custom_jvp_call": {"jvp_jaxpr_fun", "symbolic_zeros", "num_consts"},
    "custom_vjp_call": {"fwd_jaxpr_thunk", "bwd", "out_trees", "symbolic_zeros", "num_consts"},
    "custom_vjp_call_jaxpr": {"fwd_jaxpr_thunk", "bwd", "out_trees", "symbolic_zeros", "num_consts"},
    "jit": {"name", "keep_unused", "inline"},
    "pjit": {"name", "keep_unused", "inline"},
    **{name: {"policy"} for name in _REMATS},
}
"""Parameters that don't reach the compiled program, by primitive: names, and what derivatives ask for."""

# One pass over their operands at most, and little work an element.
_MOVES = frozenset({
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "copy_p", "expand_dims", "iota",
    "pad", "reshape", "rev", "slice", "split", "squeeze", "transpose",
})  # fmt: skip
_ELEMENTWISE = frozenset({
    "abs", "add", "add_any", "and", "bitcast_convert_type", "cbrt", "ceil", "clamp", "cos", "div", "eq",
    "erf", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "imag", "integer_pow", "is_finite",
    "le", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "not", "one_minus_square",
    "or", "pow", "real", "reduce_precision", "rem", "round", "rsqrt", "select_n", "shift_left",
    "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sqrt", "square", "stop_gradient",
    "sub", "tan", "tanh", "xor",
})  # fmt: skip

PRODUCTS = frozenset({
    "dot_general", "conv_general_dilated", "ragged_dot", "ragged_dot_general",
})  # fmt: skip
"""What an `ops` kernel begins with."""

_HEAVY = PRODUCTS | frozenset({
    "fft", "gather", "random_bits", "reduce_window", "scatter", "scatter-add", "sort", "threefry2x32",
})  # fmt: skip


def body(equation: Any) -> Any | None:
    """The jaxpr that stands for the whole equation, or None where it must stay closed."""
    name = equation.primitive.name
    if name in _JITS:
        return equation.params["jaxpr"] if jaxnames.is_plain_call(equation.params) else None
    if name in _REMATS and not equation.params["differentiated"]:
        return equation.params["jaxpr"]  # only a differentiated one keeps XLA from undoing it
    return equation.params[_BODIES[name]] if name in _BODIES else None


def is_call(equation: Any) -> bool:
    """Whether an equation that stays closed is a call of a function, as opposed to control flow."""
    return equation.primitive.name in _JITS | _REMATS


def is_cheap(equation: Any) -> bool:
    """Whether to compute it twice costs less than to keep its result."""
    return equation.primitive.name in _MOVES | _ELEMENTWISE and not equation.effects


def weight(equation: Any, known: dict[int, int]) -> int:
    """About how much there is to compile, in simple equations. `known` are the weights of jaxprs by their
    identity: jaxprs share their parts, and a walk through all of them could take forever.
    """
    if equation.primitive.name in _HEAVY:
        return 4
    total = 1
    for jaxpr in inner(equation.params):
        if id(jaxpr) not in known:
            known[id(jaxpr)] = sum(weight(one, known) for one in jaxpr.eqns)
        total += known[id(jaxpr)]
    return total


def inner(params: dict[str, Any]) -> Iterator[Any]:
    """The jaxprs in an equation's parameters."""
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if hasattr(one, "eqns"):
                yield one
