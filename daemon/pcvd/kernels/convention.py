"""How a function is called, and how its compiled kernels are: pytrees here, flat lists of arrays there."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pcvd import jaxnames
from pcvd.kernels.errors import NotTraceable, WrongArguments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ARRAYS = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)


@dataclass(frozen=True, slots=True, eq=False)
class Convention:
    """The arguments that a function was traced with, as far as a call must agree with them.

    Attributes:
        function: the user's own.
        traced: its `jax.stages.Traced`.
        static: positions of arguments that are no arrays for `jax.jit`, and their values: their defaults,
            where they were left out.
        given: how many positional arguments there were.
        tree: the pytree of all other arguments.
        fixed: the leaves of it that no array can be (an activation function in a module), by their place.
        donated: which of the remaining leaves are given away, as places among those.
        device: where the example arguments were committed to, if they were.
        spread: why there is no such device, if they lie on several; else "".
    """

    function: Callable[..., Any]
    traced: Any
    static: dict[int, Any]
    given: int
    tree: Any
    fixed: dict[int, Any]
    donated: tuple[int, ...]
    device: Any
    spread: str

    @classmethod
    def of(cls, function: Callable[..., Any], args: Sequence[Any]) -> Convention:
        """Trace a function with example arguments: arrays, `jax.ShapeDtypeStruct`s, or pytrees of them.

        A function that is already jitted keeps its options.

        Raises:
            Exception: whatever the function raises while it is traced.
        """
        static: dict[int, Any] = {}
        if jaxnames.is_jitted(function):
            positions = jaxnames.static_positions(function, len(args))
            static = {place: args[place] for place in positions if place < len(args)}
            static |= {place: _default(function, place) for place in positions if place >= len(args)}
        dynamic = tuple(value for place, value in enumerate(args) if place not in static)
        leaves, tree = jax.tree.flatten((dynamic, {}))
        if jaxnames.is_jitted(function):
            fixed: dict[int, Any] = {}
            traced = function.trace(*args)  # type: ignore[attr-defined]
        else:
            fixed = {place: leaf for place, leaf in enumerate(leaves) if not _is_array(leaf)}
            traced = _traced(function, leaves, tree, fixed)
        arrays = [leaf for place, leaf in enumerate(leaves) if place not in fixed]
        infos = jax.tree.leaves(traced.args_info, is_leaf=lambda one: hasattr(one, "donated"))
        donated = tuple(place for place, info in enumerate(infos) if info.donated)
        return cls(function, traced, static, len(args), tree, fixed, donated, *home_of(arrays))

    def flat(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, moved: bool) -> list[Any]:
        """The arrays of a call, in the program's order and, where they are to be `moved`, on its device.

        Raises:
            NotTraceable: the call is part of a trace.
            WrongArguments: they are not of the shapes and types that the kernels were compiled for.
        """
        positional = self._positional(args, kwargs)
        dynamic = tuple(value for place, value in enumerate(positional) if place not in self.static)
        leaves, tree = jax.tree.flatten((dynamic, {}))
        if tree != self.tree:
            raise WrongArguments(f"compiled for arguments of the structure {self.tree}, not {tree}")
        if self.fixed:
            for place, value in self.fixed.items():
                _must_be(f"leaf {place}", value, leaves[place])
            leaves = [leaf for place, leaf in enumerate(leaves) if place not in self.fixed]
        avals = self.traced.jaxpr.in_avals
        return [self._admitted(leaf, aval, moved) for leaf, aval in zip(leaves, avals, strict=True)]

    def result(self, arrays: Sequence[Any]) -> Any:
        """What the function returns, of its arrays."""
        return jax.tree.structure(self.traced.out_info).unflatten(arrays)

    def whole(self) -> Callable[..., Any]:
        """The program compiled as one, to be called with what `flat` returns; returns what `result` takes."""
        compiled = self.traced.lower().compile()
        if not jaxnames.is_jitted(self.function):
            return lambda *arrays: jax.tree.leaves(compiled(*arrays))
        return lambda *arrays: jax.tree.leaves(compiled(*self.tree.unflatten(arrays)[0]))

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        if kwargs:
            try:
                bound = inspect.signature(self.function).bind(*args, **kwargs)
            except (TypeError, ValueError) as error:
                raise WrongArguments(f"these arguments can't be told apart by name: {error}") from error
            if bound.kwargs:
                raise WrongArguments(f"compiled with the defaults of {', '.join(bound.kwargs)}")
            args = bound.args
        for place, value in self.static.items():
            if place < len(args):
                _must_be(f"static argument {place}", value, args[place])
            elif place < self.given:
                raise WrongArguments(f"{len(args)} arguments are too few")
        return args

    def _admitted(self, leaf: Any, aval: Any, moved: bool) -> Any:
        if isinstance(leaf, jax.core.Tracer):
            raise NotTraceable(
                "linked kernels can't be traced, so not under jit, grad, vmap or scan",
                hint="transform the function first, then compile the kernels of that",
            )
        if not isinstance(leaf, jax.Array):
            leaf = jax.device_put(jax.numpy.asarray(leaf), self.device)
        if leaf.shape != aval.shape or leaf.dtype != aval.dtype:
            raise WrongArguments(f"compiled for {aval.str_short()}, not {jax.typeof(leaf).str_short()}")
        home = self.device or jax.local_devices()[0]
        return leaf if not moved or leaf.devices() == {home} else jax.device_put(leaf, home)


def _traced(function: Callable[..., Any], leaves: list[Any], tree: Any, fixed: dict[int, Any]) -> Any:
    """The trace of a function of its array leaves."""

    def flat(*arrays: Any) -> Any:
        given = iter(arrays)
        every = [fixed[place] if place in fixed else next(given) for place in range(len(leaves))]
        return function(*tree.unflatten(every)[0])

    flat.__name__ = flat.__qualname__ = getattr(function, "__name__", type(function).__name__)
    return jax.jit(flat).trace(*(leaf for place, leaf in enumerate(leaves) if place not in fixed))


def _default(function: Callable[..., Any], place: int) -> Any:
    return [*inspect.signature(function).parameters.values()][place].default


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (*_ARRAYS, jax.ShapeDtypeStruct))


def _must_be(what: str, compiled_for: Any, given: Any) -> None:
    # Equality of arrays and the like is no answer; identity is the usual case.
    if given is not compiled_for and not (type(given) is type(compiled_for) and given == compiled_for):
        raise WrongArguments(f"{what} is {given!r}, compiled for {compiled_for!r}")


def home_of(leaves: Sequence[Any]) -> tuple[Any, str]:
    """The device that arrays among the leaves are committed to, None where none is; and why there are
    several, if there are.
    """
    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array)]
    if any(len(leaf.devices()) > 1 for leaf in arrays):
        return None, "an argument is spread over several devices"
    found = set().union(*(leaf.devices() for leaf in arrays if leaf.committed))
    if len(found) > 1:
        return None, "arguments are committed to different devices"
    return (found.pop() if found else None), ""
