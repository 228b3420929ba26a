"""Values of a status JSON: read as what they should be (else they count as missing), and shown. Pure.

The status of a broken project is the one that must be readable, so nothing here raises.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def text(value: object) -> str:
    """A string, else the empty one."""
    return value if isinstance(value, str) else ""


def mapping(value: object) -> dict[str, Any]:
    """An object of the JSON, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """A list, else an empty one."""
    return value if isinstance(value, list) else []


def texts(value: object) -> list[str]:
    """The strings in a list."""
    return [item for item in items(value) if isinstance(item, str)]


def number(value: object) -> float | None:
    """A number, else None. JSON's booleans are not numbers, though Python's are."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def figure(value: object) -> str:
    """A measured difference: `0`, `0.0012`, `1.2e-07`, `inf`."""
    known = number(value)
    return "-" if known is None else "0" if known == 0 else f"{known:.2g}"


def duration(seconds: float) -> str:
    """A time span in one short figure; what can't be one (negative, since clocks differ) counts as none."""
    seconds = seconds if 0 < seconds < 1e12 else 0
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def moment(value: object) -> datetime | None:
    """A time in ISO 8601, else None. Without a zone it is UTC by contract, wherever it is read."""
    try:
        found = datetime.fromisoformat(text(value))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def listed(names: list[str]) -> str:
    """Names as a sentence has them: `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
