"""Kernels: what XLA names its object files after, and which instructions of the optimized module they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcvd.core.hlo import Instruction, Module

_RANK = re.compile(r"(?:module_\d+\.[^.]*\.)?(?:\d+\.)?(?:obj-file\.)?")
_ENDING = re.compile(r"(?:^|\.)(?:ir-(?:no|with)-opt\.ll|ll|o|ptx|cubin|hsaco)$")
_REST = re.compile(r"part_\d+$")
_SPECIAL = re.compile(r"[.\-]")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel, the instructions of the optimized module that it is, and a remark where that is not
    certain.
    """

    name: str
    instructions: tuple[Instruction, ...] = ()
    remark: str = ""


def kernel_of(part: str) -> str:
    """The kernel that a dumped object, IR or PTX file is named after (`obj-file.wrapped_add_kernel_module.o`:
    `wrapped_add`); empty where one file holds the whole module.
    """
    kernel = _ENDING.sub("", part[_RANK.match(part).end() :])  # type: ignore[union-attr]  # matches anything
    return kernel.removeprefix("__compute_module_").removesuffix("_kernel_module")


def instructions_of(kernel: str, module: Module) -> Kernel:
    """The instructions of `module`, optimized, that `kernel` is."""
    if not kernel:
        return Kernel(kernel, remark="one file holds all kernels of the module")
    # A call that is compiled as one piece gives its kernel its own name; that of what it calls is another.
    for name in (kernel, kernel.removesuffix("_computation")):
        if name in module.instructions:
            return Kernel(kernel, (module.instructions[name],))
    callers = module.callers(kernel)
    if callers:
        return Kernel(kernel, tuple(callers))
    if _REST.match(kernel):
        # The comparison functions of sorts are what XLA:CPU compiles outside of kernels.
        sorts = tuple(one for one in module.instructions.values() if one.opcode == "sort")
        several = f"it may be of any of the module's {len(sorts)} sorts" if len(sorts) > 1 else ""
        return Kernel(kernel, sorts, several if sorts else f"no instruction of the module is {kernel}")
    # GPU kernels are symbols of PTX, which knows no dots and dashes.
    alike = tuple(one for one in module.instructions.values() if _SPECIAL.sub("_", one.name) == kernel)
    return Kernel(kernel, alike, "" if alike else f"no instruction of the module is called {kernel}")
