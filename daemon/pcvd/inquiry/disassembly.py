"""Object files as text, through whatever disassembler is installed. It is another program, so it may be
missing, fail, hang, or know nothing of the format: then there is a reason instead of a text.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

_PATIENCE_S = 10.0
_LOOK_S = 0.05
_LARGEST = 64 << 20  # bytes of text that are looked at

_CODE = {
    "objdump": ("objdump", "-dr", "--no-show-raw-insn"),
    "llvm-objdump": ("llvm-objdump", "-dr", "--no-show-raw-insn"),
    "nvdisasm": ("nvdisasm", "-c"),
    "cuobjdump": ("cuobjdump", "-sass"),
}
_CONTENTS = {"objdump": ("objdump", "-srt"), "llvm-objdump": ("llvm-objdump", "-srt")}
_TOOLS = {".cubin": ("nvdisasm", "cuobjdump"), ".hsaco": ("llvm-objdump",)}
_USUAL = ("objdump", "llvm-objdump")

_SYMBOL = re.compile(r"^[0-9a-f]+ (?=<)")
_ADDRESS = re.compile(r"^(\s*)[0-9a-f]+:\s+")
_TARGET = re.compile(r"\b(?:0x)?[0-9a-f]+ (<[^>]*>)")


class NoDisassembly(Exception):  # a fact to be told, not an error
    """Why there is no text for an object file, as a sentence."""


def code(name: str, data: bytes) -> list[str]:
    """The instructions in the object file `name`, without addresses. Raises NoDisassembly."""
    # One instruction more moves all that follow: with their addresses, all of them would differ.
    return [
        _TARGET.sub(r"\1", _ADDRESS.sub(r"\1", _SYMBOL.sub("", line))) for line in _through(_CODE, name, data)
    ]


def contents(name: str, data: bytes) -> list[str]:
    """All sections of the object file `name` in hexadecimal, and its symbols. Raises NoDisassembly."""
    return _through(_CONTENTS, name, data)


def _through(commands: Mapping[str, tuple[str, ...]], name: str, data: bytes) -> list[str]:
    special = [tool for tool in _TOOLS.get(Path(name).suffix, ()) if tool in commands]
    # Whatever it is for, it is an ELF file: sections and symbols can be shown without knowing its machine.
    wanted = special or _USUAL
    installed = [tool for tool in wanted if shutil.which(tool)]
    reason = (
        f"no disassembler is installed ({' or '.join(wanted)}): sizes and digests are all there is to tell"
    )
    for tool in installed:
        try:
            return _run(commands[tool], data)
        except NoDisassembly as failed:
            reason = str(failed)
    raise NoDisassembly(reason)


def _run(command: tuple[str, ...], data: bytes) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="pcv-") as folder:
        # The same name for every file: disassemblers print it.
        Path(folder, "object").write_bytes(data)
        # Into files, which have a limit: memory would have none for a tool that prints without end.
        with Path(folder, "out").open("wb+") as out, Path(folder, "err").open("wb+") as err:
            try:
                tool = subprocess.Popen(
                    [*command, "object"],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            except OSError as error:
                raise NoDisassembly(f"{command[0]} could not be run: {error.strerror}") from None
            status = _ended(tool, command[0], (out, err))
            out.seek(0)
            err.seek(0)
            printed, said = out.read(_LARGEST), err.read(_LARGEST).decode(errors="replace")
    if status:
        lines = said.strip().splitlines()
        raise NoDisassembly(f"{command[0]} failed: {lines[-1] if lines else f'exit status {status}'}")
    return printed.decode(errors="replace").splitlines()


def _ended(tool: subprocess.Popen[bytes], name: str, files: tuple[BinaryIO, ...]) -> int:
    """The exit status of a tool that prints into `files`. It is ended, with all that it started, where it
    takes too long or prints too much: then NoDisassembly is raised.
    """
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                tool.wait(_LOOK_S)
            printed = max(os.fstat(file.fileno()).st_size for file in files)
            if printed > _LARGEST:
                raise NoDisassembly(f"{name} printed {printed} bytes, more than can be compared")
            if tool.returncode is not None:
                return tool.returncode
            if time.monotonic() > deadline:
                raise NoDisassembly(f"{name} was not done after {_PATIENCE_S:.0f} s")
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(tool.pid, signal.SIGKILL)
        tool.wait()
