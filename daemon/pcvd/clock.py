"""The time as records carry it."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> str:
    """The time now: UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
