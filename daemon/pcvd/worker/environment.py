"""What builds may depend on besides their sources: versions, devices, flags, affinity. Builds from unlike
environments can't be compared.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

from pcvd.core.model import STARTUP_VARIABLES


def describe() -> dict[str, Any]:
    """This process's environment, as plain values; called after the builds, when the model has had its say
    on configuration.
    """
    devices = jax.local_devices()
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "affinity": affinity(),
        "platform": jax.default_backend(),
        "devices": [device.device_kind for device in devices],
        "driver": str(getattr(devices[0].client, "platform_version", "")).splitlines(),
        "variables": dict(sorted(startup_variables().items())),
        "config": configuration(),
    }


def configuration() -> dict[str, str]:
    """JAX's configuration: some of it is in no program's text, and the compiler heeds it."""
    return {name: str(value) for name, value in sorted(jax.config.values.items())}


def affinity() -> list[int]:
    """The processors this process may run on; all of them where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def limit_memory(size: int) -> None:
    """Let allocations beyond `size` bytes of private data fail, where the system can; a runaway model must
    not take the machine along.
    """
    if size and sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (size, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _processor() -> str:
    # XLA generates code for the processor it runs on; two machines of a cluster may differ in nothing else.
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, platform.processor())


def startup_variables() -> dict[str, str]:
    """The variables that JAX and XLA read once, when they start."""
    return {name: value for name, value in os.environ.items() if name.startswith(STARTUP_VARIABLES)}
