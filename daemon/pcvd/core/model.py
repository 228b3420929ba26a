"""What pcv talks about: targets that are declared, what builds read, what goes wrong, and what is judged.

Everything here is a frozen record of plain values, so that a worker can send it as JSON under any interpreter
(standard library only) and the daemon can decode it, store it and compare it. What builds leave is in
`core.builds`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pcvd.core.errors import PcvError

STARTUP_VARIABLES = ("XLA_", "JAX_")
"""How the environment variables begin that JAX and XLA read once, when they start."""


def digest(data: bytes) -> str:
    """SHA-256 of `data`, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def model_file(entry: str) -> str:
    """The model file (relative to the root) that an entry is in."""
    return entry.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """A declared entry point: its name (`models/mlp.py:forward`), its arguments, and where it is declared.

    `args` is a list of shape strings and entries, one entry that returns all arguments, or None where the
    decorator in the model holds them. `file` and `line` say where the declaration stands (pcv.toml or the
    model), for messages.
    """

    entry: str
    args: tuple[str, ...] | str | None = None
    file: str | None = None
    line: int | None = None

    @property
    def path(self) -> str:
        """The model file, relative to the root."""
        return model_file(self.entry)

    @property
    def function(self) -> str:
        """The function's name within its file; dots reach into classes."""
        return self.entry.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Read:
    """Something a build read. `kind` is `file` (name: absolute path, or another name of `core.looks`),
    `absent` (a file looked for in vain), `env`, or `program` (one that ran; what it read is not known).

    `digest` is the SHA-256 of what was read, where the reader knows it (a module's source, a variable's
    value); `stat` is (mtime_ns, ctime_ns, size, inode) at the moment of reading, for files whose bytes only
    the daemon hashes.
    """

    kind: str
    name: str
    digest: str | None = None
    stat: tuple[int, int, int, int] | None = None


def source_key(reads: Iterable[Read]) -> str:
    """The digest of all that a target's builds read: equal for two rounds over the very same sources."""
    told = sorted({f"{read.kind}\0{read.name}\0{read.digest}" for read in reads})
    return digest("\n".join(told).encode(errors="surrogateescape"))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a build gave nothing: what happened, where, what to do.

    `kind` is one of `missing` (no such file or function), `import`, `arguments`, `trace`, `lower`, `compile`,
    `collect`, `run`, `crash`, `deadline`, `memory`, `setup`. `file` is relative to the root where it lies
    under it.
    """

    kind: str
    message: str
    file: str | None = None
    line: int | None = None
    hint: str | None = None
    trace: str | None = None

    def sentence(self) -> str:
        """One line that says where and what is wrong; what to do about it is in `hint`."""
        if not self.file:
            return self.message
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with the project that is no target's own fault: a file that can't be imported, a bad
    setting.
    """

    message: str
    file: str | None = None
    line: int | None = None
    hint: str | None = None

    @staticmethod
    def of(error: PcvError) -> Problem:
        """The error as something to show."""
        return Problem(error.message, error.file, error.line, error.hint)


@dataclass(frozen=True, slots=True)
class OutputDelta:
    """How far one leaf of the outputs is from the reference's.

    `path` is the leaf's place in the result pytree. `max_abs`, `max_rel` and `max_ulps` are None where the
    leaf has no such distance (shapes differ, integers have no ULPs) and infinite where exactly one side is a
    NaN or an infinity. `differing` of its `elements` have other bits, the first of them at index `first`.
    `digest` is the SHA-256 of the leaf that was measured: a schedule's copies may differ from each other.
    """

    schedule: str
    path: str
    label: str
    bitwise: bool
    max_abs: float | None = None
    max_rel: float | None = None
    max_ulps: float | None = None
    within_tolerance: bool = False
    differing: int | None = None
    elements: int | None = None
    first: tuple[int, ...] | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on one target after one round, with its evidence; what is stored and what status shows.

    `stages` maps stage to schedule to canonical digest; `evidence` and `cause` have the shape of the status
    JSON.
    """

    target: str
    verdict: str
    reason: str | None = None
    first_stage: str | None = None
    differing: tuple[str, ...] = ()
    stages: dict[str, dict[str, str | None]] = field(default_factory=dict)
    output: dict[str, Any] | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    cause: dict[str, Any] | None = None
    failure: Failure | None = None
    kernels: dict[str, Any] | None = None
    """How the kernels compare that the target was cut into; None where it was not."""

    @property
    def schedules(self) -> tuple[str, ...]:
        """The schedules that it rests on."""
        return tuple(self.evidence.get("schedules") or ())
