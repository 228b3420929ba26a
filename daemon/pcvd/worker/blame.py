"""From an exception to a failure: what is wrong, and the line of the *user's* code where it shows."""

from __future__ import annotations

import os
import traceback

import pcv
import pcvd
from pcvd.core.frames import innermost, is_own, relative
from pcvd.core.model import Failure

_HINTS = {
    "import": "mend it: the next save builds it again",
    "arguments": "mend the function that makes the arguments; the next save builds again",
    "trace": "mend the model, or the example arguments it is given",
    "lower": "mend the model, or the example arguments it is given",
    "compile": "the compiler refused it; failure.trace in the JSON has all it said",
    "run": "it was built, but does not run; failure.trace in the JSON has the traceback",
}
_NOT_THEIRS = (
    *(os.path.join(folder, "") for package in (pcv, pcvd) for folder in package.__path__),
    "<frozen importlib",
)
"""How the files of frames begin that tell a project's author nothing."""
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
    trace = _trace(error, root)[-_MOST_TRACE:]
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


def _user_line(error: BaseException, root: str) -> tuple[str | None, int | None]:
    """Where the innermost frame of the project's own code stood."""
    stack = traceback.walk_tb(error.__traceback__)
    found = innermost([(frame.f_code.co_filename, line) for frame, line in stack], root)
    if found == (None, None) and error.__cause__ is not None:
        return _user_line(error.__cause__, root)
    return found


def _trace(error: BaseException, root: str) -> str:
    """The traceback without what is pcv's own and the import system's: it begins in the project's code."""
    told = traceback.TracebackException.from_exception(error)
    waiting: list[traceback.TracebackException | None] = [told]
    while waiting:
        one = waiting.pop()
        if one is not None:
            one.stack = _shortened(one.stack, root)
            waiting += [one.__cause__, one.__context__, *(one.exceptions or ())]
    return "".join(told.format())


def _shortened(stack: traceback.StackSummary, root: str) -> traceback.StackSummary:
    frames = [frame for frame in stack if not frame.filename.startswith(_NOT_THEIRS)]
    begin = next((place for place, frame in enumerate(frames) if is_own(frame.filename, root)), 0)
    # A fault inside pcv, which no line of the project has to do with, is told whole.
    return traceback.StackSummary.from_list(frames[begin:]) if frames else stack
