"""Runs of a round, whose builds are equal but where a test makes a stage differ, and the verdict on them."""

from __future__ import annotations

from dataclasses import replace

from pcvd.core.builds import STAGES, Artifact, Build, Part, Run
from pcvd.core.compare import judge
from pcvd.core.evidence import Facts
from pcvd.core.model import Failure, OutputDelta, digest

T, OTHER = "m.py:f", "m.py:g"
TOLERATED = ("llvm", "object", "executable")
ENVIRONMENT = {"jax": "0.10.2", "cores": 2, "variables": {"XLA_FLAGS": "--a"}}
FAILURE = Failure("trace", "TypeError: no", "m.py", 12, hint="mend it", trace="Traceback")


def part(name: str, text: str, label: str = "", raw: str | None = None, rules: tuple[str, ...] = ()) -> Part:
    return Part(name, digest((text if raw is None else raw).encode()), digest(text.encode()), 9, label, rules)


def artifact(stage: str, salt: str | None = "") -> Artifact:
    """One part per stage, two kernels; another salt is another artifact, None is an absent one."""
    if salt is None:
        return Artifact.missing(stage, "the compiler shows none")
    names = ("main_kernel.o", "loop_kernel.o") if stage == "object" else (stage,)
    return Artifact.of(stage, [part(name, f"{stage} {name} {salt}") for name in names])


def build(target=T, copy=0, began=0, ended=10, lacking=(), **salts) -> Build:
    artifacts = tuple(artifact(stage, salts.get(stage, "")) for stage in STAGES if stage not in lacking)
    return Build(target, copy, 1, "main", began, began + 1, ended, "inputs", artifacts, None, True, began + 1)


def run(schedule: str, *builds: Build, **changes) -> Run:
    order = tuple(one.target for one in builds)
    return replace(Run(schedule, order, builds, "zygote", 1, (0, 1), (ENVIRONMENT,)), **changes)


def serial(**salts) -> Run:
    return run("serial", build(**salts))


def control(**salts) -> Run:
    return run("control", build(**salts))


def threads(*copies: dict, workers: int = 0) -> Run:
    """A concurrent run: a build per dict of salts, all in flight together (two equal ones by default)."""
    made = [build(copy=copy, **salts) for copy, salts in enumerate(copies or ({}, {}))]
    return run(f"threads:{workers or len(made)}", *made)


def facts(tolerate=TOLERATED, deltas=(), changed=(), unreadable=(), unmeasured=()) -> Facts:
    return Facts(
        tuple(tolerate),
        {T: list(deltas)} if deltas else {},
        {T: list(changed)} if changed else {},
        frozenset(unreadable),
        {T: set(unmeasured)} if unmeasured else {},
    )


def verdict(*runs: Run, **known) -> str:
    return judge(T, runs, facts(**known)).verdict


def delta(schedule="threads:2", within=True, path="output", **distances) -> OutputDelta:
    return OutputDelta(schedule, path, "f32[2]", False, within_tolerance=within, **distances)


def failed(target: str = T, failure: Failure = FAILURE) -> Build:
    return Build(target, 0, 1, "main", 0, 0, 10, failure=failure)
