"""Rounds as the service would hand them to the store, made of plain parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pcvd.core.builds import Artifact, Build, Part, Run
from pcvd.core.model import Judgement, Read, digest
from pcvd.store import RoundRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ENVIRONMENT = {"jax": "0.10.2", "platform": "cpu", "flags": ["--xla_a=b"], "cores": 2}


@dataclass(frozen=True)
class Make:
    """Factories. Texts derive from the target's name and `salt`: equal arguments give equal records."""

    def part(self, text: str) -> Part:
        raw, canonical = digest(f"raw {text}".encode()), digest(f"canonical {text}".encode())
        return Part("main", raw, canonical, len(text), "", ("module-id",))

    def build(self, target: str, salt: str = "", copy: int = 0) -> Build:
        stages = [
            Artifact.of(stage, [self.part(f"{target} {stage} {salt}")])
            for stage in ("stablehlo", "hlo", "output")
        ]
        kernels = [self.part(f"{target} kernel {n} {salt}") for n in range(2)]
        artifacts = (
            *stages,
            Artifact.of("object", kernels),
            Artifact.missing("llvm", "the compiler shows none"),
        )
        return Build(target, copy, 4711, "MainThread", 10, 20, 30, "", artifacts, None, True)

    def run(self, schedule: str, targets: Sequence[str], salt: str = "") -> Run:
        builds = tuple(self.build(target, salt) for target in targets)
        return Run(schedule, tuple(targets), builds, "zygote-1", 42, (0, 1), (ENVIRONMENT,))

    def round(self, *targets: str, verdict: str = "agree", salt: str = "", why: str = "saved") -> RoundRecord:
        return RoundRecord(
            started_at="2026-01-01T00:00:00Z",
            finished_at="2026-01-01T00:00:05Z",
            why=why,
            cohort=targets,
            environment=ENVIRONMENT,
            runs=tuple(self.run(schedule, targets, salt) for schedule in ("serial", "threads:2")),
            judgements=tuple(Judgement(target, verdict, evidence={"rounds": 1}) for target in targets),
            reads={target: (Read("file", f"/p/{target}", digest(target.encode())),) for target in targets},
        )


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "pcv.sqlite")
