"""Running compiled kernels as one program.

Between two kernels nothing is looked at: numbered slots hold the buffers, a step takes its own out, calls
its executable and puts the results in; slots are emptied at their last use. Calls return before the work is
done, so Python runs ahead of the kernels as it does of a single one.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from pcvd import jaxnames
from pcvd.kernels.errors import CutRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pcvd.kernels.graph import Graph, Kernel


class _Call(NamedTuple):
    """A step, ready to run: which slots it takes, in which it puts its results, and which are empty then."""

    take: Callable[[list[Any]], Sequence[Any]]
    run: Callable[[Sequence[Any]], Sequence[Any]]
    put: slice
    drop: tuple[int, ...]


class Linked:
    """A graph whose kernels are compiled: from flat arrays to flat arrays."""

    def __init__(self, graph: Graph, executables: Sequence[Any], device: Any = None) -> None:
        """Link a `jax.stages.Compiled` for each kernel of `graph`, whoever compiled it.

        Raises:
            CutRefused: a kernel runs on several devices, so its results would not fit the others' arguments.
        """
        self.graph = graph
        for executable, kernel in zip(executables, graph.kernels, strict=True):
            if len(graph.steps) > 1:
                _must_be_alone(executable, kernel)
        slots = _slots(graph)
        self._outputs = [slots[value] for value in graph.outputs]
        self._empty = [None] * (len(slots) - len(graph.inputs) - len(graph.constants))
        with jax.default_device(device):
            self._constants = [_held(value, graph.avals[number]) for number, value in graph.constants]
        public = [_public(one, kernel) for one, kernel in zip(executables, graph.kernels, strict=True)]
        self._direct = _calls(
            graph,
            slots,
            [jaxnames.direct_call(one) or call for one, call in zip(executables, public, strict=True)],
        )
        self._checked = _calls(graph, slots, public)

    def __call__(self, arguments: Sequence[Any]) -> list[Any]:
        """Run it on as many arrays as the program has arguments, of their types and on its device.

        Raises:
            FloatingPointError: a kernel made what `jax_debug_nans` or `jax_debug_infs` look for.
        """
        held = [*arguments, *self._constants, *self._empty]
        del arguments
        # What looks for NaNs in results sits in the public call only.
        checking = jax.config.jax_debug_nans or jax.config.jax_debug_infs
        for take, run, put, drop in self._checked if checking else self._direct:
            held[put] = run(take(held))
            for slot in drop:
                held[slot] = None
        return [held[slot] for slot in self._outputs]


def _must_be_alone(compiled: Any, kernel: Kernel) -> None:
    # An inner `jit` may ask for a sharding: no type of the program tells it, only what was compiled.
    devices = compiled.runtime_executable().local_devices()
    if len(devices) > 1:
        where = f" ({kernel.file}:{kernel.line})" if kernel.file else ""
        raise CutRefused(f"{kernel.name}{where} runs on {len(devices)} devices")


def _slots(graph: Graph) -> dict[int, int]:
    """The slot of each value: arguments, constants, then results in the order of the steps."""
    order = [*graph.inputs, *(number for number, _ in graph.constants)]
    order += (value for step in graph.steps for value in step.writes)
    return {value: slot for slot, value in enumerate(order)}


def _calls(graph: Graph, slots: dict[int, int], runs: Sequence[Any]) -> list[_Call]:
    calls = []
    end = len(graph.inputs) + len(graph.constants)
    for step, ends in zip(graph.steps, graph.last_uses(), strict=True):
        start, end = end, end + len(step.writes)
        drop = tuple(slots[value] for value in ends)
        calls.append(
            _Call(_taking([slots[value] for value in step.reads]), runs[step.kernel], slice(start, end), drop)
        )
    return calls


def _taking(slots: list[int]) -> Callable[[list[Any]], Sequence[Any]]:
    if len(slots) > 1:
        return itemgetter(*slots)  # one call for all of them, and none of it in Python
    return lambda held: [held[slot] for slot in slots]


def _public(compiled: Any, kernel: Kernel) -> Callable[[Sequence[Any]], Sequence[Any]]:
    found = jaxnames.found_not_finite()

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        try:
            results: Sequence[Any] = compiled(*arrays)
        except found as error:
            where = f" ({kernel.file}:{kernel.line})" if kernel.file else ""
            raise FloatingPointError(
                f"{kernel.name}{where} made what jax is told to look for: {error}"
            ) from None
        return results

    return run


def _held(value: Any, aval: Any) -> Any:
    """A constant as an array on the device."""
    if isinstance(value, jax.Array):
        return value
    return jax.numpy.asarray(value, dtype=aval.dtype)
