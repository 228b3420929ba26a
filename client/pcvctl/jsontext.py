"""A status as JSON text. An infinite distance is a finding; JSON has no word for it, but a number too large
for a double reads back as infinity everywhere, while Python's own `Infinity` is no JSON at all.
"""

from __future__ import annotations

import json
import math
from typing import Any

_MARK = "\ue000infinite\ue000"  # of the private use area: no name or message holds it


def text(value: Any, indent: int | None = 1) -> str:
    """`value` as JSON, with a newline at its end; infinities as 1e999."""
    written = json.dumps(_marked(value), indent=indent)
    mark = json.dumps(_MARK)[1:-1]
    return written.replace(f'"{mark}"', "1e999").replace(f'"-{mark}"', "-1e999") + "\n"


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
