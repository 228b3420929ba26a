"""What a status amounts to, as an exit code. Pure; the daemon uses it too.

Nothing unknown ever gives 0: what is missing, misspelt or of another schema is an open question, never
agreement.
"""

from __future__ import annotations

AGREED = 0
"""All targets agree or are equivalent, and fresh."""
DIFFERENT = 1
"""Some target diverged or is unstable."""
TROUBLE = 2
"""Usage, trouble, or no daemon."""
OPEN = 3
"""Inconclusive, stale, or nothing checked yet."""
BUSY = 4
"""Work was handed over and not waited for."""
TIMED_OUT = 6
"""The time given was over before the answer was there."""

SCHEMA = 1
"""The status JSON's version that this client understands."""


def exit_code(status: object) -> int:
    """The exit code of a status JSON: DIFFERENT before OPEN before AGREED."""
    targets = status.get("targets") if isinstance(status, dict) else None
    if not isinstance(status, dict) or not isinstance(targets, list):
        return OPEN
    if any(
        isinstance(target, dict) and target.get("verdict") in ("diverged", "unstable") for target in targets
    ):
        return DIFFERENT
    # A model file that is still to be imported may declare targets of which nothing is known.
    known = status.get("schema") == SCHEMA and status.get("problems") == [] and not status.get("asking")
    return AGREED if known and targets and all(_settled(target) for target in targets) else OPEN


def _settled(target: object) -> bool:
    if not isinstance(target, dict) or not isinstance(target.get("target"), str):
        return False
    return (
        target.get("verdict") in ("agree", "equivalent") and target.get("fresh") is True and _compared(target)
    )


def _compared(target: dict[object, object]) -> bool:
    # A round that compared nothing is no agreement: the reference alone is equal to itself.
    evidence = target.get("evidence")
    schedules = evidence.get("schedules") if isinstance(evidence, dict) else None
    return isinstance(schedules, dict) and len(schedules) > 1
