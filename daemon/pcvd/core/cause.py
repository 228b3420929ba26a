"""Attribution: through what a difference comes, from builds in which one thing was changed at a time.

The result is a cause with its evidence: how many builds differed under each variation. What needs chance to
show (a race, a random number) is told by its counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pcvd.core.builds import STAGES, TRACED, Build
from pcvd.core.chance import Tally
from pcvd.core.evidence import canonical_digest
from pcvd.core.variation import ALL, PROCESS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

RACE = "race"
SAME, OTHER, CALLS = "same", "other", "calls"
"""What the compiler was given in the builds that differ: one program, several, or one that calls back into
Python where only what it gives differs. Only of the first is what differs the compiler's own.
"""
_CLEARLY = 0.5
_SURELY = 0.05
"""What is less likely than this by chance is taken for a cause."""
_OF_TRACES = (
    "process",
    "memory-layout",
    "hash-seed",
    "order",
    "after-itself",
    "thread",
    "neighbours",
    RACE,
    "directory",
    "affinity",
)
_OF_COMPILATIONS = (
    "process",
    "order",
    "after-itself",
    "neighbours",
    "thread",
    "memory-layout",
    "hash-seed",
    RACE,
    "directory",
    "affinity",
)
"""Which cause is named where several variations flip the artifact; what needs no change comes first. While a
model is traced, another hash seed comes with another memory layout. What the compiler makes of one and the
same program depends on the order of compilations in the first place, and memory layouts follow from that.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """How many builds of one target differed from the reference under one variation, and where first."""

    variation: str
    how: str
    builds: int = 0
    differs: int = 0
    failed: int = 0
    first_stage: str | None = None
    untried: str | None = None
    """Why there are no builds, where it was to be tried."""

    @staticmethod
    def none(variation: str) -> Finding:
        """A finding without builds yet."""
        return Finding(variation, ALL[variation].how if variation in ALL else "that overlapped others")

    def plus(
        self, reference: Build, builds: Sequence[Build], until: str, ignoring: Collection[str] = ()
    ) -> Finding:
        """This finding with further `builds` counted, compared up to the stage `until`, but for stages that
        are of no interest before it.
        """
        compared = [build for build in builds if build.failure is None]
        first = [first_difference(reference, build, until, ignoring) for build in compared]
        stages = [stage for stage in (self.first_stage, *first) if stage is not None]
        return replace(
            self,
            builds=self.builds + len(first),
            differs=self.differs + sum(stage is not None for stage in first),
            failed=self.failed + len(builds) - len(compared),
            first_stage=min(stages, key=STAGES.index, default=None),
            untried=None,
        )

    @property
    def tally(self) -> Tally:
        """Its counts."""
        return Tally(self.builds, self.differs)

    @property
    def rate(self) -> float:
        """The share of builds that differed."""
        return self.differs / self.builds if self.builds else 0.0

    def told(self) -> dict[str, Any]:
        """As the status JSON has it."""
        return {
            "variation": self.variation,
            "what": self.how,
            "builds": self.builds,
            "differs": self.differs,
            "failed": self.failed,
            "first_stage": self.first_stage,
            "untried": self.untried,
        }

    def remarks(self) -> Iterator[str]:
        """What has to be known of it beside its counts."""
        if self.failed:
            yield f"{self.failed}{_plural(self.failed)} {self.how} failed"
        if self.untried:
            yield f"{self.variation} could not be tried: {self.untried}"


def first_difference(
    reference: Build, build: Build, until: str, ignoring: Collection[str] = ()
) -> str | None:
    """The first stage up to `until`, but for those to be ignored before it, at which `build` differs from
    `reference`; or None.
    """
    for stage in STAGES[: STAGES.index(until) + 1]:
        if stage in ignoring and stage != until:
            continue
        if canonical_digest(build, stage) != canonical_digest(reference, stage):
            return stage
    return None


def deciding(findings: Mapping[str, Finding], stage: str) -> str | None:
    """The variation that the cause is named after, or None where none flips the artifact at `stage`.

    Where nothing needs to change for a flip now and then, only what flips it clearly more often is a cause,
    and more often than chance would have it. Overlap comes with whatever else a concurrent build has that a
    serial one has not: it is a cause where none of that is a clear one, and then it counts for as much as it
    flips.
    """
    flips = [name for name in precedence(stage) if name in findings and findings[name].differs]
    unchanged = findings.get(PROCESS.name) or Finding.none(PROCESS.name)
    chance = unchanged.rate
    clear = [name for name in flips if findings[name].rate >= chance + _CLEARLY]
    if chance:
        clear = [name for name in clear if findings[name].tally.outdoes(unchanged.tally) < _SURELY]
    clear.sort(key=lambda name: name == RACE)
    if clear or chance:
        return next(iter([*clear, *flips]), None)
    return max(flips, key=lambda name: findings[name].rate, default=None)


def is_plain(findings: Mapping[str, Finding], stage: str, untried: Collection[str]) -> bool:
    """Whether none of the `untried` variations could be named the cause instead of the one that decides: that
    has flipped each build, nothing changed has flipped none (or decides itself), and it goes before them all.
    """
    decided, order = deciding(findings, stage), precedence(stage)
    unchanged = findings.get(PROCESS.name)
    if decided not in ALL or unchanged is None or not unchanged.builds:
        return False
    if any(order.index(name) < order.index(decided) for name in untried):
        return False
    return findings[decided].rate == 1.0 and (decided == PROCESS.name or not unchanged.differs)


def is_settled(findings: Mapping[str, Finding], stage: str) -> bool:
    """Whether the builds are enough to say that what decides is the cause: all differ with it and none
    without, each tried twice, or more do than chance would have it.
    """
    name = deciding(findings, stage)
    if name is None or name == PROCESS.name:  # a fact, not a comparison
        return True
    # A race is what overlap alone flips, so all serial builds are held against it.
    held = findings.values() if name == RACE else (findings.get(PROCESS.name) or Finding.none(PROCESS.name),)
    without = Tally(
        sum(one.builds for one in held if one.variation != name),
        sum(one.differs for one in held if one.variation != name),
    )
    found = findings[name].tally
    if found.differs == found.made and not without.differs:
        return min(found.made, without.made) > 1
    return found.outdoes(without) < _SURELY


def kind(findings: Mapping[str, Finding], stage: str, given: str = SAME) -> str:
    """The kind of cause that `findings`, by variation, speak for, when `stage` is the first that differs."""
    flips = deciding(findings, stage)
    if flips == PROCESS.name:
        return "random"
    if flips in {"order", "after-itself"} and _compiled(stage) and given == SAME:
        return "compile-order"
    return flips or "unknown"


def cause_of(findings: Mapping[str, Finding], stage: str, given: str = SAME) -> dict[str, Any]:
    """The cause that `findings` speak for, in the shape of the status JSON; its place is yet to be found."""
    name, decided, order = kind(findings, stage, given), deciding(findings, stage), precedence(stage)
    tried = [one for one in findings.values() if one.builds]
    tried.sort(key=lambda one: (one.variation != decided, order.index(one.variation)))
    evidence = counted([one.told() for one in tried if one.differs or one.variation == PROCESS.name])
    headline = _headline(name, stage, given)
    if not is_settled(findings, stage):
        headline = f"perhaps {headline}; the builds are too few to settle it"
    return {
        "kind": name,
        "stage": stage,
        "kernel": None,
        "pass": None,
        "file": None,
        "line": None,
        "headline": headline,
        "text": headline + (f": {stage} differs {evidence}" if evidence else ""),
        "place": None,
        "hint": _advice(name, stage, given),
        "workaround": None,
        "evidence": [one.told() for one in findings.values()],
        "remarks": [remark for one in findings.values() for remark in one.remarks()],
    }


def _compiled(stage: str) -> bool:
    return stage not in TRACED


def precedence(stage: str) -> tuple[str, ...]:
    """The names of variations, that of the likeliest cause of a difference at `stage` first."""
    return _OF_COMPILATIONS if _compiled(stage) else _OF_TRACES


def counted(evidence: Iterable[Mapping[str, Any]], *, stages: bool = False) -> str:
    """What findings, as the status JSON has them, showed: `in 5 of 5 builds in another order, in 0 of 5 with
    another hash seed`. What flips the artifact comes first; empty where nothing was built.
    """
    tried = sorted((one for one in evidence if one.get("builds")), key=lambda one: not one.get("differs"))
    return ", ".join(
        f"in {one.get('differs', 0)} of {one['builds']}{'' if place else _plural(one['builds'])} "
        + str(one.get("what") or one.get("variation") or "otherwise").removeprefix("built ")
        + (f" (first the {one['first_stage']})" if stages and one.get("first_stage") else "")
        for place, one in enumerate(tried)
    )


def _plural(count: int) -> str:
    return " build" if count == 1 else " builds"


_HEADLINES = {
    "random": "it does not reproduce itself, even with nothing changed",
    "memory-layout": "it depends on memory addresses: an id(), or objects that hash by their address",
    "hash-seed": "it depends on Python's hash seed: the order of a set, or hash() itself",
    "order": "it depends on which targets its process has traced before it",
    "after-itself": "it depends on how often its process has traced it: the second time gives something else",
    "thread": "it depends on the thread that traces it: a context that others lack, or the thread itself",
    "neighbours": "it depends on what else its process has loaded and built",
    "race": "it depends on whether builds overlap: a race",
    "directory": "it depends on the path of the project",
    "affinity": "it depends on how many cores the compiler may use",
}
_OF_XLA = {
    "random": "XLA does not reproduce its own result, even with nothing changed",
    "memory-layout": "XLA's result depends on the memory layout of its process",
    "hash-seed": "XLA's result depends on the memory layout of its process, which Python's hash seed changes",
    "compile-order": "XLA's result depends on what its process has compiled before",
    "thread": "XLA's result depends on the thread that compiles",
    "race": "XLA's result depends on whether compilations overlap",
}


def _headline(cause: str, stage: str, given: str) -> str:
    """What a kind of cause means, in one clause."""
    if given == CALLS and cause in _OF_CALLS:
        return _OF_CALLS[cause]
    told = _OF_XLA.get(cause) if _compiled(stage) and given == SAME else None
    return told or _HEADLINES.get(cause, "no variation tried so far changes it")


_OF_CALLS = {
    "random": "what its callbacks give does not reproduce itself, even with nothing changed",
    "memory-layout": "what its callbacks give depends on memory addresses",
    "hash-seed": "what its callbacks give depends on Python's hash seed",
    "order": "what its callbacks give depends on which targets its process has built before it",
    "after-itself": "what its callbacks give depends on how often its process has built it",
    "thread": "what its callbacks give depends on the thread that builds it",
    "neighbours": "what its callbacks give depends on what else its process has loaded and built",
    "race": "what its callbacks give depends on whether builds overlap",
}
_ADVICE = {
    "random": "seed what is drawn while tracing, or pass it in; an id(), a time or a pid is drawn as well",
    "memory-layout": "sort by something that has a meaning, not by identity",
    "hash-seed": "iterate over sorted(…) instead of a set, and use hashlib where a number must be stable",
    "order": "what outlives a trace (a counter, a cache with too loose a key) must not reach the program",
    "after-itself": "what a trace leaves behind (a counter, a cache of its own) must not reach the next one",
    "thread": "what is set in a context stays on its thread: set it in the function, or by jax.config.update",
    "neighbours": "importing or tracing another target changes a global that this one reads",
    "race": "what is read while tracing must not be written by another build: pass it as an argument",
}


def _advice(cause: str, stage: str, given: str) -> str | None:
    """What to do about it; where the program handed to XLA is the same, nothing in the model."""
    if given == CALLS:
        return "a callback must give the same for the same arguments, whatever was built or called before"
    if _compiled(stage) and given == SAME:
        return "the program handed to XLA is the same each time: this is XLA's doing, not the model's"
    return _ADVICE.get(cause)
