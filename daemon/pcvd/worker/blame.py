"""From an exception to a failure: what is wrong, and the line of the *user's* code where it shows."""

from __future__ import annotations

import os
import traceback

from pcvd.core.model import Failure

_HINTS = {
    "import": "mend it: the next save builds it again",
    "arguments": "mend the function that makes the arguments; the next save builds again",
    "trace": "mend the model, or the example arguments it is given",
    "lower": "mend the model, or the example arguments it is given",
    "compile": "the compiler refused it; failure.trace in the JSON has all it said",
    "run": "it was built, but does not run; failure.trace in the JSON has the traceback",
}
_MOST_MESSAGE = 2000
_MOST_TRACE = 20_000


class Rejected(Exception):
    """Something pcv itself found wrong with a target; carries the finished failure."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


def blame(kind: str, error: BaseException, root: str) -> Failure:
    """The failure that `error` means for a build that was at the step `kind`; `file` is relative to
    `root`.
    """
    if isinstance(error, Rejected):
        return error.failure
    trace = "".join(traceback.format_exception(error))[-_MOST_TRACE:]
    file: str | None
    hint = _HINTS.get(kind)
    if isinstance(error, SyntaxError) and error.filename:
        file, line = relative(error.filename, root), error.lineno
        message = f"{type(error).__name__}: {error.msg}"
    else:
        file, line = _user_line(error, root)
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    message = message.replace(f"{root}{os.sep}", "")
    if file and line:
        message = message.replace(f"{file}:{line}: ", "")  # said once, in front
    if isinstance(error, ModuleNotFoundError):
        hint = (
            "is it installed for this project's `python`, or is its folder missing from `paths` in pcv.toml?"
        )
    if isinstance(error, MemoryError):
        kind, hint = "memory", "raise memory_mb in pcv.toml"
    return Failure(kind, message[:_MOST_MESSAGE], file, line, hint, trace)


def relative(path: str, root: str) -> str:
    """`path` relative to `root` where it lies under it."""
    return os.path.relpath(path, root) if path.startswith(root.rstrip(os.sep) + os.sep) else path


def _user_line(error: BaseException, root: str) -> tuple[str | None, int | None]:
    """Where the innermost frame of the project's own code stood."""
    found: tuple[str | None, int | None] = (None, None)
    for frame, line in traceback.walk_tb(error.__traceback__):
        if is_project_file(frame.f_code.co_filename, root):
            found = (relative(frame.f_code.co_filename, root), line)
    if found == (None, None) and error.__cause__ is not None:
        return _user_line(error.__cause__, root)
    return found


def is_project_file(path: str, root: str) -> bool:
    """Whether `path` is the project's own, not of a package installed into a folder under the root (a
    `.venv`).
    """
    inside = path.startswith(root.rstrip(os.sep) + os.sep)
    return (
        inside
        and "site-packages" not in path
        and "dist-packages" not in path
        and f"{os.sep}.pcv{os.sep}" not in path
    )
