"""Plans in the state that a test begins with, and the events that are told to them."""

from __future__ import annotations

from pcvd.core.events import (
    Declared,
    Discover,
    Ended,
    Judged,
    Saved,
    Validate,
)
from pcvd.core.model import TargetSpec
from pcvd.core.plan import Plan

A, B, C = "a.py:f", "b.py:f", "c.py:f"
LIB = "/p/lib.py"
READS = {entry: {f"/p/{entry[0]}.py": "1", LIB: "1"} for entry in (A, B, C)}
BESIDE = "it had differed beside others"


def specs(*entries: str, args=None) -> tuple[TargetSpec, ...]:
    return tuple(TargetSpec(entry, args) for entry in entries)


def judged(entry: str, verdict: str = "agree", reads=None) -> Judged:
    return Judged(entry, verdict, READS[entry] if reads is None else reads)


def ended(*entries: str, verdict: str = "agree", **more) -> Ended:
    return Ended(tuple(judged(entry, verdict) for entry in entries), **more)


def standing(*entries: str, verdict: str = "agree") -> Plan:
    """A plan in which those targets were declared by the settings, built together and judged."""
    plan = Plan()
    assert plan.handle(Declared(specs(*entries))) == [Validate(entries, "new")]
    assert plan.handle(ended(*entries, verdict=verdict)) == []
    assert plan.idle
    return plan


def states(plan: Plan) -> dict[str, tuple[str, bool]]:
    return {spec.entry: (plan.state(spec.entry), plan.fresh(spec.entry)) for spec in plan.targets}


def discovered(file: str, *entries: str, helpers: tuple[str, ...] = (), broken: bool = False) -> Declared:
    return Declared(specs(*entries), file, frozenset({f"/p/{file}", *helpers}), broken=broken)


def discovering(file: str, *entries: str, helpers: tuple[str, ...] = ()) -> Plan:
    """A plan in which that model file declares those targets, all judged."""
    plan = Plan()
    assert plan.handle(Saved({}, frozenset({file}))) == [Discover((file,))]
    plan.handle(discovered(file, *entries, helpers=helpers))
    plan.handle(Ended())
    plan.handle(ended(*entries))
    assert plan.idle
    return plan


def alone(entry: str, reads) -> Ended:
    """The end of a first tier that agrees, but lacks neighbours."""
    return Ended((Judged(entry, "inconclusive", reads, provisional=True),))
