"""What the plan hears of and what it orders: frozen records, so that a history can be replayed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pcvd.core.model import TargetSpec

# -- events ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """A verdict from an earlier life: `reads` maps path to digest, `stale` says what no longer holds, None
    where all of it does.

    `differed` is the cohort in which the target last differed, if no verdict has cleared that since; `grave`
    where that was at a stage which is not tolerated.
    """

    spec: TargetSpec
    verdict: str
    differed: tuple[str, ...]
    reads: Mapping[str, str | None]
    stale: str | None
    grave: bool = False
    partial: bool = False
    """It rests on fewer schedules than the settings name."""
    unexplained: Investigate | None = None
    """It differs, and this is still to be found out about it."""
    untraced: bool = False
    """It was confirmed over other sources by tracing them under some of its schedules, not yet under all."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The daemon remembers these verdicts; `declaring` are the model files that may declare targets now.
    `declared` is what is known already of who declares what.
    """

    known: tuple[Known, ...]
    declaring: frozenset[str] = frozenset()
    declared: tuple[Declared, ...] = ()


@dataclass(frozen=True, slots=True)
class Declared:
    """The targets that exist, as the settings name them (`source` is None) or as one model file declares
    them.
    """

    targets: tuple[TargetSpec, ...]
    source: str | None = None
    reads: frozenset[str] = frozenset()
    """Paths that the discovery depended on: when one changes, `source` is asked again."""
    seen: str | None = None
    """The digest of `source` itself as it was imported; None where that is not known."""
    broken: bool = False
    """`source` could not be imported: what it declared before still exists, and will fail with the reason."""
    order: int | None = None
    """The number of the discovery that tells; None where only one can be meant."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Files whose contents are other than they were; None for one that is gone.

    `declaring` names model files (relative to the root) among them that may declare targets, `gone` those
    that did and are no more. `cosmetic` maps modules among them to the digest of what they held when they
    were the same but for comments and layout.
    """

    changes: Mapping[str, str | None]
    declaring: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    cosmetic: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody wants these targets built, whether fresh or not."""

    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wondered:
    """Somebody wants to know what these variations change in these targets, whether they differ or not."""

    entries: tuple[str, ...]
    variations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bored:
    """Nothing has happened for a while, and the machine can be used."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """What all builds rest on has changed."""

    why: str


@dataclass(frozen=True, slots=True)
class Judged:
    """One target's verdict, and what its builds read (path to digest; None: what is known already)."""

    entry: str
    verdict: str
    reads: Mapping[str, str | None] | None
    puzzling: bool = False
    """It differs, and it is not known yet through what."""
    partial: bool = False
    """It rests on the reference and one challenger alone; the project names more schedules."""
    provisional: bool = False
    """It agrees, but without somebody beside whom it had differed, which clears nothing."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """One target whose files changed and whose programs did not: its verdict stands, over these reads."""

    entry: str
    reads: Mapping[str, str | None]
    partial: bool = False
    """That was seen under the schedules of the first tier alone; the verdict rests on more."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An order has ended; `order` is its number, None where only one can be meant.

    `again`: targets that fell victim to a neighbour's failure; each such round has fewer targets. `changed`:
    targets whose files were edited while they were built. `doubted`: targets that were confirmed, and of
    which another schedule makes another program.
    """

    judged: tuple[Judged, ...] = ()
    again: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    failed: bool = False
    """The order could not be carried out at all; a discovery is tried again when somebody asks."""
    round: int | None = None
    """The number under which the round was recorded."""
    confirmed: tuple[Confirmed, ...] = ()
    doubted: tuple[str, ...] = ()
    order: int | None = None


@dataclass(frozen=True, slots=True)
class Dragging:
    """The order of that number has been under way for long: others need not wait for its end."""

    order: int


Event = Recovered | Declared | Saved | Asked | Wondered | Bored | Outdated | Ended | Dragging


# -- orders ----------------------------------------------------------------------------------------
# Every order has a number of its own, and `by`, that of the event which made it necessary. Neither is what an
# order is about, so orders are equal without them.


@dataclass(frozen=True, slots=True)
class Discover:
    """Ask these model files which targets they declare. `aside`: it is only to be seen that it is those which
    are known.
    """

    files: tuple[str, ...]
    aside: bool = False
    number: int = field(default=0, compare=False)
    by: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Validate:
    """Build this cohort in one round. `why` says what made it necessary.

    The first tier is quick: the reference and one challenger, side by side, and only what compiles to
    something new. `whole` is the second one: every schedule, each by itself, whatever was built before. The
    first one aside confirms verdicts that stand because the code is the same.
    """

    cohort: tuple[str, ...]
    why: str
    owed: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Targets that differed beside others which are not in this cohort: agreement here clears nothing."""
    soak: int | None = None
    """Only to gather evidence; this number chooses order and hash seed. None: in earnest."""
    whole: bool = False
    aside: bool = False
    """It strengthens or confirms verdicts that stand: nobody waits for it."""
    number: int = field(default=0, compare=False)
    by: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Retrace:
    """Trace targets that were confirmed under the schedules that the first tier left out. Nothing is
    compiled: of what is another program there, the second tier is to judge.
    """

    cohort: tuple[str, ...]
    number: int = field(default=0, compare=False)
    by: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Investigate:
    """Find out what the differences of `entries` come from, that `round` found; without a round, what
    `variations` change in them.
    """

    cohort: tuple[str, ...]
    entries: tuple[str, ...]
    round: int | None = None
    variations: tuple[str, ...] = ()
    number: int = field(default=0, compare=False)
    by: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Abandon:
    """Give up an order under way: what it builds is no more, or something came up that somebody waits for."""

    order: int = field(default=0, compare=False)


Work = Discover | Validate | Retrace | Investigate
Order = Work | Abandon
