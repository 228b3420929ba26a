"""Chance: whether a difference that went away when one thing was changed would have gone away by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of some comparisons, all made alike, showed a difference."""

    made: int = 0
    differs: int = 0

    def plus(self, *, differs: bool) -> Tally:
        """This tally with one comparison more."""
        return replace(self, made=self.made + 1, differs=self.differs + differs)

    def coincidence(self, equal: int) -> float:
        """How likely `equal` further comparisons show no difference, if the change does nothing (Fisher's
        exact test: all places among all comparisons are alike for those that differ).
        """
        return comb(self.made + equal - self.differs, equal) / comb(self.made + equal, equal)

    def outdoes(self, other: Tally) -> float:
        """How likely at least as many of the differences fall to these comparisons and not to `other`'s, if
        both were made alike (Fisher's exact test, one-sided).
        """
        total, differing = self.made + other.made, self.differs + other.differs
        most = min(self.made, differing)
        ways = sum(
            comb(differing, here) * comb(total - differing, self.made - here)
            for here in range(self.differs, most + 1)
        )
        return ways / comb(total, self.made)

    def needed(self, at_most: float, limit: int) -> int | None:
        """How many comparisons must show no difference for a coincidence to be less likely than `at_most`;
        None where more than `limit` were needed.
        """
        return next((equal for equal in range(1, limit + 1) if self.coincidence(equal) < at_most), None)

    def pays(self, at_most: float, limit: int) -> bool:
        """Whether one comparison more, should it differ, would spare more than one of those `needed`, or make
        their number less than `limit` at all.
        """
        now, then = (one.needed(at_most, limit) for one in (self, self.plus(differs=True)))
        return then is not None and (now is None or now - then > 1)
