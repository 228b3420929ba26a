"""A status as JSON text. An infinite distance is a finding; JSON has no word for it, but a number too large
for a double reads back as infinity everywhere, while Python's own `Infinity` is no JSON at all.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from pcvctl import exits

if TYPE_CHECKING:
    from pcvctl import Trouble

_MARK = "\ue000infinite\ue000"  # of the private use area: no name or message holds it


def text(value: Any, indent: int | None = 1) -> str:
    """`value` as JSON, with a newline at its end; infinities as 1e999."""
    written = json.dumps(_marked(value), indent=indent)
    mark = json.dumps(_MARK)[1:-1]
    return written.replace(f'"{mark}"', "1e999").replace(f'"-{mark}"', "-1e999") + "\n"


def error(trouble: Trouble) -> str:
    """What kept a command from answering, as JSON."""
    said = {"message": trouble.message, "file": trouble.file, "line": trouble.line, "hint": trouble.hint}
    return text({"schema": exits.SCHEMA, "error": said})


def trouble_of(answer: object, code: int) -> Trouble | None:
    """The trouble that the JSON `answer` of another process tells of; None where it tells of none."""
    from pcvctl import Trouble

    said = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(said, dict) or not isinstance(said.get("message"), str):
        return None
    hint, file, line = said.get("hint"), said.get("file"), said.get("line")
    return Trouble(
        said["message"],
        hint if isinstance(hint, str) else None,
        code,
        file=file if isinstance(file, str) else None,
        line=line if isinstance(line, int) else None,
    )


def _marked(value: Any) -> Any:
    match value:
        case float() if math.isinf(value):
            return _MARK if value > 0 else f"-{_MARK}"
        case dict():
            return {key: _marked(item) for key, item in value.items()}
        case list():
            return [_marked(item) for item in value]
        case _:
            return value
