"""The conditions under which a reproduction compiles: the reference's own, and what to change about it, what
the cause suggests first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcvd.core.builds import STAGES
from pcvd.core.case import DIFFERS

if TYPE_CHECKING:
    from pcvd.core.builds import Run
    from pcvd.core.case import Case

_BASELINE = "again"
"""What all else is held against: a program that does not even reproduce itself says nothing of an order."""

_SUSPECTS = {
    "compile-order": ("after-itself", "order", "alone"),
    "order": ("order", "alone", "after-itself"),
    "after-itself": ("after-itself", "order"),
    "neighbours": ("alone", "order"),
    "thread": ("thread", "race"),
    "schedule": ("race", "thread", "order"),
    "race": ("race",),
    "hash-seed": ("hash-seed", "memory-layout"),
    "memory-layout": ("memory-layout",),
    "affinity": ("affinity",),
    "process": ("hash-seed", "memory-layout", "after-itself"),
    "random": (),
}
"""Per kind of cause, the conditions that are tried first."""


def plan(case: Case, entries: list[str], run: Run, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The reference, and what to change about it: what the cause suggests first."""
    subject = entries.index(case.target)
    usual = list(range(len(entries)))
    threads, crowd = _crowd(case, entries)
    reference: dict[str, Any] = {
        "name": "reference",
        "what": "in the order of the serial build",
        "order": usual,
        "hash_seed": run.hash_seed,
    }
    changed: dict[str, dict[str, Any]] = {
        "again": {"what": "once more, with nothing changed but the process"},
        "after-itself": {"what": "compiled four times in a row", "order": [*usual, *[subject] * 3]},
        "order": {"what": "in another order", "order": _other_order(case, entries)},
        "alone": {"what": "alone in its process", "order": [subject]},
        "thread": {"what": "on a pool's thread", "threads": 1},
        "race": {"what": f"with {threads} compilations at once", "threads": threads, "order": crowd},
        "hash-seed": {"what": "with another hash seed", "hash_seed": run.hash_seed + 1},
        "memory-layout": {"what": "with another memory layout", "ballast": 5000},
        "affinity": {"what": "on one core", "cores": 1},
    }
    if len(entries) == 1:
        del changed["order"], changed["alone"]
    suspects = (_BASELINE, *_SUSPECTS.get(kind, ()))
    names = [
        name for name in (*suspects, *(one for one in changed if one not in suspects)) if name in changed
    ]
    return reference, [
        {**reference, "name": name, "suspected": name in suspects, **changed[name]} for name in names
    ]


def _other_order(case: Case, entries: list[str]) -> list[int]:
    """The order of a run that has another one, of one that differs if there is such; else a rotated one."""
    usual = list(range(len(entries)))
    states = case.states(case.stage or STAGES[-1])
    for run in sorted(case.challengers(), key=lambda run: states.get(run.schedule) != DIFFERS):
        order = [entries.index(entry) for entry in dict.fromkeys(run.order) if entry in entries]
        if sorted(order) == usual and order != usual:
            return order
    return [*usual[1:], *usual[:1]]


def _crowd(case: Case, entries: list[str]) -> tuple[int, list[int]]:
    """How many threads built at once where the target differed, and in which order."""
    first = case.stage or STAGES[-1]
    for name, state in case.states(first).items():
        run = case.run(name)
        if state == DIFFERS and run is not None and run.peak_in_flight > 1 and name.startswith("threads:"):
            order = [entries.index(entry) for entry in run.order if entry in entries]
            return run.peak_in_flight, (order * run.peak_in_flight)[: max(len(order), run.peak_in_flight)]
    subject = entries.index(case.target)
    return 2, [subject, *(place for place in range(len(entries)) if place != subject), subject]
