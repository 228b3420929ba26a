"""Premises: what every build rests on beside the files it read. When one changes, no verdict is fresh any
more.

They are kept as reads of the kinds `version` and `setting`, so that one mechanism decides what is fresh. An
interpreter takes a third of a second to say what is installed, so it is asked again only after something has
been installed or removed: that touches the folders its packages are in.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pcvd import __version__
from pcvd.core.errors import SetupError
from pcvd.core.model import STARTUP_VARIABLES, Read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcv_config.settings import Settings

_ASK = """
import hashlib, importlib.metadata, json, os, platform, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
versions = {name: version(name) for name in ("jax", "jaxlib", "numpy")}
packages = sorted({f"{one.name} {one.version}" for one in importlib.metadata.distributions()})
versions["packages"] = hashlib.sha256(', '.join(packages).encode()).hexdigest()
folders = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
versions = {"python": platform.python_version(), **versions}
print(json.dumps({"versions": versions, "folders": [sys.executable, *folders]}))
"""

_SETTINGS = (
    "paths",
    "preload",
    "platform",
    "schedules",
    "partition",
    "atol",
    "rtol",
    "seed",
    "tolerate",
    "env",
)
_ASK_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an interpreter said: versions by name, and where its packages are."""

    versions: dict[str, str | None]
    folders: list[str]


class Premises:
    """The present premises, as often as they are asked for."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[_Answer, list[_Touched]]] = {}

    async def present(self, settings: Settings) -> tuple[Read, ...]:
        """The premises of builds under `settings`. Raises SetupError where the project's interpreter does not
        answer or has no JAX.
        """
        versions = (await self._answer(settings.python)).versions
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
                "setting",
                "variables",
                hashlib.sha256(msgspec.json.encode(variables, order="sorted")).hexdigest(),
            ),
            Read("setting", "affinity", str(affinity)),
        )

    def touched(self, python: str) -> bool:
        """Whether something has been installed or removed since the interpreter was asked; False where it
        never was.
        """
        known = self._known.get(python)
        return known is not None and known[1] != _touched(known[0].folders)

    async def _answer(self, python: str) -> _Answer:
        known = self._known.get(python)
        if known is not None and not self.touched(python):
            return known[0]
        answer = await _ask(python)
        self._known[python] = answer, _touched(answer.folders)
        return answer


_Touched = tuple[int, int] | None


def _touched(paths: Sequence[str]) -> list[_Touched]:
    found: list[_Touched] = []
    for path in paths:
        try:
            info = Path(path).stat()
        except OSError:
            found.append(None)
        else:
            found.append((info.st_mtime_ns, info.st_ino))
    return found


async def _ask(python: str) -> _Answer:
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
        return msgspec.json.decode(out, type=_Answer)
    except msgspec.DecodeError:
        said = out.decode(errors="replace").strip()[:60]
        raise SetupError(
            f"{python} is no Python interpreter: it answered {said!r}", hint="`python` in pcv.toml"
        ) from None
