"""Kernels outside of the process that made them: what is sent to be compiled, what comes back and is kept,
and by which key.

A program goes as what `jax.export` makes of it, an executable as what `jax.experimental.serialize_executable`
does. Neither exists for a program with a Python callback.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import jax
import jaxlib
from jax import export
from jax.experimental import serialize_executable

from pcvd import jaxnames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcvd.kernels.graph import Kernel


_PROCESSOR = ("vendor_id", "model name", "flags", "CPU implementer", "CPU part", "Features")
"""What tells one processor from another, as Linux names it on x86 and ARM."""


_CONFIGURATION = (
    "jax_disable_most_optimizations", "jax_optimization_level", "jax_exec_time_optimization_effort",
    "jax_memory_fitting_effort", "jax_memory_fitting_level", "jax_enable_remat_opt_pass",
    "jax_use_shardy_partitioner",
)  # fmt: skip
"""What JAX hands to the compiler beside the program."""


class Parcel(TypedDict):
    """What a compiling process is sent: builtin types only."""

    program: bytes
    name: str
    donated: tuple[int, ...]
    options: dict[str, Any]
    x64: bool


def pack(jitted: Any, kernel: Kernel, options: dict[str, Any]) -> Parcel:
    """A kernel to be compiled by another process.

    Raises:
        Exception: of whatever type JAX has for programs that can't be exported.
    """
    exported = export.export(jitted)(*kernel.arguments)
    return {
        "program": pickle.dumps(jaxnames.without_derivative(exported)),
        "name": kernel.name,
        "donated": kernel.donated,
        "options": options,
        "x64": bool(jax.config.jax_enable_x64),
    }


def dump(compiled: Any) -> bytes:
    """A compiled kernel as bytes.

    Raises:
        Exception: it can't be serialized.
    """
    payload, _, _ = serialize_executable.serialize(compiled)
    return bytes(payload)


def load(held: bytes, kernel: Kernel, device: Any) -> Any:
    """The `jax.stages.Compiled` of a kernel that was dumped. The bytes are code, and are trusted.

    Raises:
        Exception: of whatever type, where this machine or this JAX can't load it.
    """
    arguments = jax.tree.structure((kernel.arguments, {}))
    results = jax.tree.structure([0] * len(kernel.out_avals))
    devices = [jax.devices()[0] if device is None else device]
    return serialize_executable.deserialize_and_load(
        held, arguments, results, backend=devices[0].client, execution_devices=devices
    )


def key(lowered: Any, options: Mapping[str, Any], device: Any) -> str:
    """What a compiled kernel is kept under: all that it depends on.

    StableHLO is printed without places in the source, and constants in full.
    """
    if device is None:
        device = jax.devices()[0]
    components = {
        "stablehlo": lowered.as_text(),
        "options": repr(sorted(options.items())),
        "jax": f"{jax.__version__} {jaxlib.__version__}",
        "platform": f"{device.platform} {device.client.platform_version} {device.device_kind}",
        "machine": f"{platform.machine()} {_processor()} {_cores()}",
        "configuration": repr([getattr(jax.config, name, None) for name in _CONFIGURATION]),
        "flags": os.environ.get("XLA_FLAGS", "") + os.environ.get("LIBTPU_INIT_ARGS", ""),
    }
    digest = hashlib.sha256()
    for name, text in components.items():
        digest.update(f"{name} {len(text)}\n{text}\n".encode())
    return digest.hexdigest()


def reason(error: BaseException) -> str:
    """An exception in one line."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def _processor() -> str:
    # Code for the instructions of one processor may end the process on another.
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    # Of the first one, as far as it is not about its load: the others are alike.
    told = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return " ".join(value.strip() for name, _, value in told if name.strip() in _PROCESSOR)


def _cores() -> int:
    # The number of cores is part of what XLA:CPU generates.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
