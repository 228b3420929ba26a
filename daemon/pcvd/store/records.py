"""What goes into the store and what comes out, as frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pcvd.core.builds import Run
    from pcvd.core.model import Judgement, Read, TargetSpec


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """A round that has ended, with everything it found. Times are UTC, ISO 8601 with a Z.

    `environment` describes what the reference ran in, as plain JSON values. `reads` maps a target's entry to
    what its builds read, with digests; a target that is not in it keeps what an earlier round recorded.
    """

    started_at: str
    finished_at: str
    why: str
    cohort: tuple[str, ...]
    environment: dict[str, Any]
    runs: tuple[Run, ...]
    judgements: tuple[Judgement, ...]
    reads: dict[str, tuple[Read, ...]]
    alone: bool = True
    """Nothing else was built meanwhile, so that times can be compared. Not recorded."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The last verdict on a declared target, and what it rests on.

    `reads` carry digests but no `stat`; `environment` is a digest. `differed` is the cohort of the last round
    in which the target differed, where none has agreed since: what could not be compared clears nothing.
    """

    target: TargetSpec
    verdict: str
    said: str
    """The judgement as JSON: thousands are told on at a start, and hardly one is looked into."""
    schedules: tuple[str, ...]
    """The schedules that the verdict rests on."""
    checked_at: str
    reads: tuple[Read, ...]
    environment: str
    cohort: tuple[str, ...]
    differed: tuple[str, ...] = ()
    grave: bool = False
    """It differed there at a stage that was not tolerated."""
    unexplained: int | None = None
    """The number of its round, where it differs and nobody has looked into why."""
    untraced: bool = False
    """It was confirmed over other sources, which were not traced yet under all of its schedules."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """The targets that a model file declares, and what that rests on: what it read when it was imported to be
    asked (with digests, and no `stat`), and the premises of all builds.
    """

    file: str
    targets: tuple[TargetSpec, ...]
    reads: tuple[Read, ...]


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """One verdict on a target with all that was recorded of it, and the circumstances of its round.

    `judged_at` is the round's end; it may have been confirmed since then, at `checked_at`. `environment`
    describes what the reference ran in.
    """

    round: int
    judged_at: str
    checked_at: str
    why: str
    cohort: tuple[str, ...]
    environment: dict[str, Any]
    judgement: Judgement
