"""The one family of errors that pcv raises on purpose: what is wrong, where, and what to do."""

from __future__ import annotations


class PcvError(Exception):
    """Something a user can act on. `file` and `line` say where, `hint` what to do; its text is one line."""

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, hint: str | None = None
    ) -> None:
        self.message, self.file, self.line, self.hint = message, file, line, hint
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(where + message + (f" ({hint})" if hint else ""))


class UsageError(PcvError):
    """Asked for something that does not exist or makes no sense."""


class SetupError(PcvError):
    """The surroundings do not allow the work: no JAX in the interpreter, a folder that can't be written, a
    daemon that runs already.
    """


class TargetError(PcvError):
    """A target can't be built or cut: its own code, or what it asks for, is in the way."""


class StoreError(PcvError):
    """The database or the stored artifacts can't be read or written."""


class WireError(PcvError):
    """Bytes that are not the protocol buffer they were taken for."""
