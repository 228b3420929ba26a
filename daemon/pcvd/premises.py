"""Premises: what every build rests on beside the files it read. When one changes, no verdict is fresh any
more.

They are kept as reads of the kinds `version` and `setting`, so that one mechanism decides what is fresh.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from pcvd import __version__
from pcvd.core.errors import SetupError
from pcvd.core.model import STARTUP_VARIABLES, Read

if TYPE_CHECKING:
    from pcv_config.settings import Settings

_ASK = """
import hashlib, importlib.metadata, json, platform
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
versions = {name: version(name) for name in ("jax", "jaxlib", "numpy")}
packages = sorted({f"{one.name} {one.version}" for one in importlib.metadata.distributions()})
versions["packages"] = hashlib.sha256(', '.join(packages).encode()).hexdigest()
print(json.dumps({"python": platform.python_version(), **versions}))
"""

_SETTINGS = ("paths", "platform", "schedules", "atol", "rtol", "seed", "tolerate", "env")
_ASK_TIMEOUT_S = 60


async def premises(settings: Settings) -> tuple[Read, ...]:
    """The present premises. Raises SetupError where the project's interpreter does not answer or has no
    JAX.
    """
    versions = await _versions(settings.python)
    if versions["jax"] is None or versions["numpy"] is None:
        raise SetupError(
            f"{settings.python} has no {'JAX' if versions['jax'] is None else 'NumPy'}",
            hint="install jax there, or name the interpreter that has it (`python` in pcv.toml)",
        )
    encoded = msgspec.json.encode([getattr(settings, name) for name in _SETTINGS], order="sorted")
    variables = {name: value for name, value in os.environ.items() if name.startswith(STARTUP_VARIABLES)}
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (
        Read("version", "pcv", __version__),
        *(Read("version", name, version) for name, version in sorted(versions.items())),
        Read("setting", "settings", hashlib.sha256(encoded).hexdigest()),
        Read(
            "setting", "variables", hashlib.sha256(msgspec.json.encode(variables, order="sorted")).hexdigest()
        ),
        Read("setting", "affinity", str(affinity)),
    )


async def _versions(python: str) -> dict[str, str | None]:
    try:
        process = await asyncio.create_subprocess_exec(
            python, "-P", "-c", _ASK,  # without the working directory: a project may have a json.py
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise SetupError(f"cannot start {python}: {error.strerror}", hint="`python` in pcv.toml") from error
    try:
        async with asyncio.timeout(_ASK_TIMEOUT_S):
            out, err = await process.communicate()
    except TimeoutError:
        raise SetupError(
            f"{python} gave no answer within {_ASK_TIMEOUT_S} s", hint="`python` in pcv.toml"
        ) from None
    finally:
        if process.returncode is None:  # given up, or cancelled
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
    if process.returncode:
        words = err.decode(errors="replace").strip().splitlines()[-1:] or [
            f"exit status {process.returncode}"
        ]
        raise SetupError(f"{python} cannot run: {words[0]}", hint="`python` in pcv.toml")
    try:
        return msgspec.json.decode(out, type=dict[str, str | None])
    except msgspec.DecodeError:
        said = out.decode(errors="replace").strip()[:60]
        raise SetupError(
            f"{python} is no Python interpreter: it answered {said!r}", hint="`python` in pcv.toml"
        ) from None
