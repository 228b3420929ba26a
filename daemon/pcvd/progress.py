"""How far a round is, for somebody who waits for it: one calm line for each step that is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def line(event: Mapping[str, Any]) -> str | None:
    """What to show of a log's `event`; None for what nobody waits for."""
    match event:
        case {"event": "discovered", "targets": targets, "files": files}:
            declared = _count(len(targets), "target")
            return f"{'found':<12} {declared} declared in {_count(len(files), 'model file')}"
        case {"event": "built", "schedule": schedule, "builds": builds, "wall_s": wall_s, "peak": peak}:
            failed = event.get("failed")
            return (
                f"{schedule:<12} {_count(builds, 'build')} in {wall_s:.2f} s"
                + (f", {peak} at once" if peak > 1 else "")
                + (f", {failed} failed" if failed else "")
            )
        case {"event": "investigating", "targets": targets}:
            return f"{'causes':<12} of {_count(len(targets), 'difference')} are looked for"
        case {"event": what, "level": "warning" | "error" | "critical"}:
            said = f"{what}: {event['error']}" if event.get("error") else str(what)
            return said + (f"\n{event['exception']}" if event.get("exception") else "")
    return None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
