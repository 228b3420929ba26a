"""An explanation's sentences: what differs, where, why it is thought so, and what to do. For people; programs
read the fields beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcvd.core.builds import STAGES, TRACED
from pcvd.core.case import DIFFERS, IDENTICAL, kernel_of
from pcvd.core.cause import counted
from pcvd.core.compare import AGREE, INCONCLUSIVE
from pcvd.core.partition import CAUSE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pcvd.core.case import Case

NAMES = {
    "jaxpr": "the jaxpr",
    "stablehlo": "the StableHLO",
    "hlo": "the optimized HLO",
    "llvm": "the LLVM IR",
    "object": "the object code",
    "executable": "the serialized executable",
    "output": "the output",
}
"""What people call the stages."""

_COMPILED = ("hlo", "llvm", "object", "executable")


def sentences(case: Case) -> dict[str, Any]:
    """`what` (sentences), `where` (a place, or None), `why` and `do` (sentences)."""
    return {
        "what": list(_what(case)),
        "where": _where(case.judgement.cause or {}),
        "why": list(_why(case)),
        "do": list(_do(case)),
    }


def listed(names: Iterable[str]) -> str:
    """Names as a sentence has them: `a`, `a and b`, `a, b and c`."""
    known = list(names)
    return " and ".join(filter(None, (", ".join(known[:-1]), *known[-1:])))


def _stages(stages: list[str]) -> str:
    """Stages as people call them; only the first keeps its article."""
    names = [NAMES[stage] for stage in stages]
    return listed([names[0], *(name.removeprefix("the ") for name in names[1:])])


def counts(evidence: object, *, stages: bool = False) -> str | None:
    """What variations showed, as a verdict keeps it: `differs in 5 of 5 builds in another order`; with
    `stages`, where each differs first.
    """
    found = evidence if isinstance(evidence, list | tuple) else ()
    told = counted([one for one in found if isinstance(one, dict)], stages=stages)
    return f"differs {told}" if told else None


# -- what --------------------------------------------------------------------------------------------


def _what(case: Case) -> Iterator[str]:
    judgement = case.judgement
    if judgement.failure is not None:
        yield judgement.failure.sentence()
    elif judgement.verdict == INCONCLUSIVE:
        yield judgement.reason or "nothing could be compared"
    first = judgement.first_stage
    if first is not None:
        yield _first(case, first)
        yield from _rest(case, first)
    elif judgement.verdict == AGREE:
        yield from _agreement(case)


def _first(case: Case, stage: str) -> str:
    cause = case.judgement.cause or {}
    if cause.get("kind") == CAUSE and case.state(stage) != DIFFERS:
        return f"of its kernels {cause['text']}"
    # Of schedules, not of variations: those are told as evidence of the cause.
    judged = case.judgement.evidence.get("schedules") or {}
    states = {name: state for name, state in case.states(stage).items() if name in judged or not judged}
    under = [name for name, state in states.items() if state == DIFFERS]
    kernel = cause.get("kernel") or next(
        (found for pair in case.pairs(stage) if (found := kernel_of(stage, pair.name))), None
    )
    where = f" of kernel {kernel}" if kernel and stage in _COMPILED else ""
    after = f" after the pass {cause['pass']}" if cause.get("pass") and stage == "hlo" else ""
    when = f" under {listed(under)}" if under else " when the executable runs again"
    equal = [name for name, state in states.items() if state == IDENTICAL]
    also = f", not under {listed(equal)}" if equal and under else ""
    return f"{NAMES.get(stage, stage)}{where} is what differs first{after},{when}{also}"


def _rest(case: Case, first: str) -> Iterator[str]:
    before = [stage for stage in STAGES[: STAGES.index(first)] if case.state(stage) == IDENTICAL]
    if before:
        yield f"{_stages(before)} {'is' if len(before) == 1 else 'are'} identical"
    output = case.judgement.output or {}
    if first != "output" and output.get("bitwise") is True:
        yield "outputs are bit-identical"
    elif output.get("max_abs") is not None and output.get("bitwise") is False:
        within = "within" if output.get("within_tolerance") else "beyond"
        yield f"outputs are at most {output['max_abs']:.3g} apart, {within} tolerance"
    if count := output.get("unmeasured"):
        yield f"how far {count} of their leaves {'is' if count == 1 else 'are'} apart is not known"


def _agreement(case: Case) -> Iterator[str]:
    schedules = case.judgement.evidence.get("schedules") or {}
    compared = [stage for stage in STAGES if case.state(stage) == IDENTICAL]
    runs = [name for name in schedules if name != "serial"]
    builds = sum(one.get("builds", 0) for one in schedules.values() if isinstance(one, dict))
    if compared:
        what = "every stage" if len(compared) == len(STAGES) else _stages(compared)
        verb = "are" if 1 < len(compared) < len(STAGES) else "is"
        yield f"{what} {verb} the same under {listed(['serial', *runs])}"
    else:
        yield "which stages were compared is recorded no more"
    peaks = [one.get("own_in_flight", one.get("peak_in_flight")) or 0 for one in schedules.values()]
    peak = max(peaks, default=0)
    yield (
        f"evidence: {builds} builds in the last round, at most {peak} in flight at once;"
        f" {_rounds(case.judgement.evidence)} over these sources"
    )
    if case.judgement.evidence.get("repeat_runs_equal"):
        yield "the executable gave the same bits when it ran again"


def _rounds(evidence: Mapping[str, Any]) -> str:
    """How the rounds over the same sources went: `agreed in 47 of 50 rounds`."""
    rounds = evidence.get("rounds", 1)
    return f"agreed in {evidence.get('agreed', rounds)} of {rounds} round{'s' * (rounds != 1)}"


# -- where, why, do ----------------------------------------------------------------------------------


def _where(cause: Mapping[str, Any]) -> str | None:
    """The sentence about the place, which begins with file and line where they are known; else these."""
    if cause.get("place"):
        return str(cause["place"])
    file, line = cause.get("file"), cause.get("line")
    return (f"{file}:{line}" if line else str(file)) if file else None


def _why(case: Case) -> Iterator[str]:
    cause = case.judgement.cause or {}
    text, told = cause.get("headline") or cause.get("text"), counts(cause.get("evidence"))
    if text and cause.get("kind") != CAUSE:  # which is said already
        yield str(text)
    if told:
        yield f"it {told}"
    if varied := counts(case.judgement.evidence.get("variations"), stages=True):
        yield f"variations that were asked for: it {varied}"
    evidence = case.judgement.evidence
    if case.judgement.verdict != AGREE and evidence.get("rounds", 1) > 1:
        yield f"it {_rounds(evidence)} over these sources"
    reason = case.judgement.reason
    if reason and case.judgement.verdict != INCONCLUSIVE:
        yield reason
    if case.judgement.verdict == AGREE:
        for stage, rules in (case.judgement.evidence.get("rules") or {}).items():
            yield f"{NAMES.get(stage, stage)} had to be put into canonical form: {', '.join(rules)}"


def _do(case: Case) -> Iterator[str]:
    judgement = case.judgement
    cause = judgement.cause or {}
    first = case.stage
    if judgement.failure is not None and judgement.failure.hint:
        yield judgement.failure.hint
    if cause.get("workaround"):
        yield f"{cause['workaround']} avoids it"
    if cause.get("hint"):
        yield str(cause["hint"])
    if cause.get("kind") == CAUSE:
        yield f"`pcvctl kernels {case.target}` draws what it was cut into"
    if first is None or case.pruned or cause.get("kind") == CAUSE:
        return
    yield f"`pcvctl diff {case.target}` shows the difference in full"
    if first in (*_COMPILED, *TRACED):
        about = "it down without pcv, for a bug report to XLA" if first in _COMPILED else "both programs down"
        yield f"`pcvctl explain {case.target} --repro DIR` writes {about}"


def remarks(case: Case) -> Iterator[str]:
    """What has to be known about the explanation itself: what it could not look at."""
    if case.pruned:
        yield (
            "the builds of this round are gone (only the last rounds' are kept):"
            " digests are all there is; check the target again for more"
        )
    missing = [
        name
        for name in case.judgement.evidence.get("schedules") or {}
        if not case.pruned and name not in case.names()
    ]
    if missing:
        yield f"the builds of {listed(missing)} are gone"
    if any(build.repeats is False for run in case.runs for build in run.of(case.target)):
        yield "one executable gave other bits when it ran again; of its runs only the first one's are kept"
    died = dict.fromkeys(name for run in case.runs for name in run.culprits)
    if case.target in died and len(died) > 1:
        yield f"{listed(died)} were under way when their worker ended: which of them ended it is not known"
    evidence = case.judgement.evidence
    if count := evidence.get("named_by_type"):
        yield (
            f"of what its callbacks hold, {count} object{'s' * (count != 1)} could be told by type alone:"
            " builds that hold other such objects look alike"
        )
    yield from map(str, evidence.get("untried") or ())
    yield from (str(one) for one in (case.judgement.cause or {}).get("remarks") or ())
