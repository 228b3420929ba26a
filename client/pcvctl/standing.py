"""How one target stands: its verdict, whether that is about the files as they are, and what is being done.

A stale verdict has no mark of its own, else a glance takes it for a fresh one. Pure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcvctl.table import CYAN, DIM, GREEN, MAGENTA, RED, YELLOW, clean
from pcvctl.values import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VERDICTS = ("agree", "equivalent", "diverged", "unstable", "inconclusive")

_STYLES = {"agree": GREEN, "equivalent": CYAN, "diverged": RED, "unstable": MAGENTA, "inconclusive": YELLOW}
_MARKS = {"agree": "=", "equivalent": "~", "diverged": "x", "unstable": "x"}
_UNICODE_MARKS = {"agree": "✓", "equivalent": "≈", "diverged": "✗", "unstable": "✗"}
_ALARMING = ("diverged", "unstable")


@dataclass(frozen=True, slots=True)
class Standing:
    """One target's `verdict` ("" where it was never judged), whether it is `fresh`, and what is `doing`
    about it: `queued`, `building` or "".
    """

    verdict: str
    fresh: bool
    doing: str

    @classmethod
    def of(cls, target: dict[str, Any]) -> Standing:
        """The standing of a target of a status JSON."""
        verdict, state, fresh = text(target.get("verdict")), text(target.get("state")), target.get("fresh")
        if fresh is not True and not target.get("checked_at"):
            verdict = ""  # the JSON has `inconclusive` for what nobody has looked at yet
        doing = state if state in {"queued", "building"} else ""
        return cls(verdict, fresh is True and bool(verdict), doing)

    @property
    def known(self) -> str:
        """The verdict, where it is one of this version's; else that it is `unknown`, or "" without one."""
        return self.verdict if self.verdict in VERDICTS or not self.verdict else "unknown"

    @property
    def said(self) -> str:
        """The verdict for a cell: `agree`, `stale (was agree)`, `not checked`."""
        if not self.verdict:
            return "not checked"
        return clean(self.verdict) if self.fresh else f"stale (was {clean(self.verdict)})"

    @property
    def style(self) -> str:
        """The colour of the verdict; a stale one is dim, and keeps its colour only where it was an alarm."""
        colour = _STYLES.get(self.verdict, YELLOW)
        if self.fresh or not self.verdict:
            return colour
        return f"{DIM};{colour}" if self.verdict in _ALARMING else DIM

    def mark(self, unicode: bool) -> str:
        """One sign for the verdict, the same for all stale ones."""
        if not self.verdict or self.fresh:
            return (_UNICODE_MARKS if unicode else _MARKS).get(self.verdict, "?")
        return "○" if unicode else "o"


def summary(standings: Sequence[Standing], problems: int = 0, *, unicode: bool = False) -> str:
    """One line in which every target is counted once: `3 targets: 1 agree, 2 stale (were agree)`."""
    fresh = Counter(one.known for one in standings if one.fresh)
    stale = Counter(one.known for one in standings if one.verdict and not one.fresh)
    said = [f"{fresh[name]} {name}" for name in (*VERDICTS, "unknown") if fresh[name]]
    if stale:
        said.append(f"{stale.total()} stale ({_former(stale)})")
    if unchecked := sum(not one.verdict for one in standings):
        said.append(f"{unchecked} not checked")
    if problems:
        said.append(_counted(problems, "problem"))
    return _line(len(standings), said, unicode)


def counted(summary: dict[str, Any], problems: int = 0, *, unicode: bool = False) -> str:
    """The same line from the counts of a status JSON, where not all targets are at hand."""
    counts = {name: value for name, value in summary.items() if isinstance(value, int)}
    said = [f"{counts[name]} {name}" for name in VERDICTS if counts.get(name)]
    if counts.get("stale"):
        said.append(f"{counts['stale']} of them stale")
    if problems:
        said.append(_counted(problems, "problem"))
    return _line(counts.get("targets", 0), said, unicode)


def _line(targets: int, said: Sequence[str], unicode: bool) -> str:
    told = (" · " if unicode else ", ").join(said)
    return _counted(targets, "target") + (f": {told}" if told else "")


def _former(stale: Counter[str]) -> str:
    """What stale verdicts were: `were agree`, or `2 were agree, 1 was diverged`."""
    each = [f"{count} {_were(count)} {name}" for name, count in _ordered(stale.items())]
    return each[0].partition(" ")[2] if len(each) == 1 else ", ".join(each)


def _ordered(counts: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(counts, key=lambda one: (*VERDICTS, "unknown").index(one[0]))


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
