"""How long values live, and how many bytes are alive between two equations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcvd.kernels.program import Program


def crossing_bytes(program: Program, longest: int | None = None) -> np.ndarray:
    """How many bytes would cross a cut before each equation, and after the last one: values that are made
    before it and needed from it on. Arguments and constants are there anyway, and not counted; nor are uses
    more than `longest` equations after a value was made, which cross any cut in between.

    Shape [equations + 1], int64.
    """
    change = np.zeros(len(program.equations) + 2, np.int64)
    for value, made, last in lives(program, longest):
        size = program.bytes_of(value)
        change[made + 1] += size
        change[last + 1] -= size
    return np.cumsum(change)[:-1]


def lives(program: Program, longest: int | None = None) -> Iterator[tuple[int, int, int]]:
    """Each value that an equation makes, that equation, and the last that reads it: the end, for a result.

    Uses more than `longest` equations later are left out.
    """
    made = {}
    last = {}
    horizon = len(program.equations) if longest is None else longest
    for place, equation in enumerate(program.equations):
        for value in equation.writes:
            made[value] = last[value] = place
        for atom in equation.reads:
            if isinstance(atom, int) and place - made.get(atom, place) <= horizon:
                last[atom] = place
    for atom in program.outputs:
        if isinstance(atom, int) and len(program.equations) - made.get(atom, 0) <= horizon:
            last[atom] = len(program.equations)
    for value, place in made.items():
        yield value, place, last[value]
