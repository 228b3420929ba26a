"""pcvctl, the thin client: asks the daemon for the standing answer, starts and stops it, checks without it.

Light by rule: `pcvctl status` sits in shell prompts and editors, so the modules on its path (this one,
`__main__`, `status`, `project`, `terminal`, `door`) import sys, os, time, _socket and `pcv_config.places` and
nothing else; not even typing, whose constant they spell out. Every other command imports what it needs when
it runs.
"""

from __future__ import annotations


class Trouble(Exception):  # the field's word for exit code 2
    """Something that keeps a command from answering: one message, a hint what to do, and the exit code.

    `file` and `line` say where, if it is in a file of the project's.
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        code: int = 2,
        *,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.file = file
        self.line = line

    def __str__(self) -> str:
        where = (
            f"{self.file}:{self.line}: " if self.file and self.line else f"{self.file}: " if self.file else ""
        )
        return where + self.message
