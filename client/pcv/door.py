"""The one door from a user's code into pcv's libraries. What is behind it is imported when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def compile_kernels(function: Callable[..., Any], *example_args: Any, **options: Any) -> Any:
    """Cut a function into kernels, compile each distinct one once, several at a time, and link them again.

        step = pcv.compile_kernels(step, params, batch, policy="auto", workers=4)
        print(step.report)
        params = step(params, batch)

    Takes what `pcvd.kernels.compile_kernels` takes, and is documented there. Where no `cache` is named,
    compiled kernels are kept in the project around the current folder, if pcv has been at work in one, and
    taken from there; `cache=None` does without.
    """
    from pcvd import kernels

    options.setdefault("cache", kernels.usual_cache())
    return kernels.compile_kernels(function, *example_args, **options)
