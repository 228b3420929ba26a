"""A store with one recorded round, made of plain parameters, and an inquiry into it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from pcvd.blobs import Blobs
from pcvd.core.builds import Artifact, Build, Part, Run
from pcvd.core.compare import judge
from pcvd.core.evidence import Facts
from pcvd.core.model import OutputDelta, TargetSpec
from pcvd.inquiry import Inquiry
from pcvd.store import RoundRecord, Store

if TYPE_CHECKING:
    from pathlib import Path

F, G = "m.py:f", "m.py:g"
TEXTS = {
    "jaxpr": b"{ lambda ; a. b = add a a }\n",
    "stablehlo": b"module @jit_f {\n  func.func public @main() {\n    return\n  }\n}\n",
    "hlo": b"HloModule jit_f\nadd\nmul\n",
    "llvm": b"define void @f()\n",
    "object": b"\x7fELF not really",
    "executable": b"\x02\x08\x01\x0a\x04text",
    "output": b"\0\0\x80?\0\0\0@",
}
NAMES = {
    "object": "obj-file.f_kernel.o",
    "llvm": "f_kernel.ll",
    "output": "result",
    "stablehlo": "module.mlir",
}
SETTINGS = 'platform = "cpu"\n[[target]]\nentry = "declared.py:f"\nargs = []\n'
ENVIRONMENT = {"jax": "0.10.2", "variables": {"JAX_PLATFORMS": "cpu"}, "platform": "cpu"}


@dataclass
class Records:
    """A project's records in a folder, and what may be asked of them."""

    root: str
    blobs: Blobs

    @property
    def database(self):
        return f"{self.root}/.pcv/pcv.sqlite"

    def part(self, stage, data, raw=None):
        label = "float32[2]" if stage == "output" else ""
        name = NAMES.get(stage, f"{stage}.txt")
        raw_digest = self.blobs.put(data if raw is None else raw)
        rules = () if raw is None else ("a-rule",)
        return Part(name, raw_digest, self.blobs.put(data), len(data), label, rules)

    def build(self, target=F, raws=None, **changed):
        """A build that made TEXTS but for `changed` (None: nothing at that stage)."""
        artifacts = tuple(
            Artifact.of(stage, [self.part(stage, changed.get(stage, data), (raws or {}).get(stage))])
            for stage, data in TEXTS.items()
            if changed.get(stage, data) is not None
        )
        return Build(target, 0, 1, "MainThread", 10, 20, 30, "in", artifacts, None, True, 25)

    def run(self, schedule, *builds):
        return Run(
            schedule, tuple(build.target for build in builds), builds, "zygote", 1, (0,), (ENVIRONMENT,)
        )

    def record(self, *runs, targets=(F,), tolerate=("llvm", "object", "executable"), cause=None, deltas=()):
        """Record one round, and judge `targets` by it and by these distances."""
        measured = dict.fromkeys(targets, deltas)
        judgements = [judge(target, runs, Facts(tolerate, measured, {})) for target in targets]
        if cause is not None:
            judgements = [replace(one, cause=cause) for one in judgements]
        done = RoundRecord(
            "2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z", "saved", tuple(targets), ENVIRONMENT, runs,
            tuple(judgements), {},
        )  # fmt: skip

        async def main():
            async with Store.open(self.database) as store:
                await store.declare([TargetSpec(target) for target in targets])
                return await store.record(done)

        return asyncio.run(main())

    def prune(self):
        async def main():
            async with Store.open(self.database) as store:
                await store.prune(0)

        asyncio.run(main())

    def ask(self, question, target=F, **asked):
        """The answer to one question, from the records alone."""

        async def main():
            async with Store.reading(self.database) as store:
                return await Inquiry(self.root, store, self.blobs).answer(
                    question, {"target": target, **asked}
                )

        return asyncio.run(main())

    def without(self, digest):
        """Remove the bytes under a digest."""
        self.blobs.remove(digest)

    def spoil(self, digest):
        """Overwrite the bytes under a digest."""
        path = f"{self.blobs.folder}/{digest[:2]}/{digest[2:]}"
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"not what its name promises")


def measured(schedule, build, **distances):
    """What a worker tells of how far the only leaf of a build's output is from the reference's."""
    (leaf,) = build.artifact("output").parts
    return OutputDelta(schedule, leaf.name, leaf.label, False, **distances, digest=leaf.canonical)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    (tmp_path / ".pcv" / "objects").mkdir(parents=True)
    (tmp_path / "pcv.toml").write_text(SETTINGS)
    return Records(str(tmp_path), Blobs(str(tmp_path / ".pcv" / "objects")))


@pytest.fixture
def twice(records):
    """Record a serial build and two concurrent ones that differ from it as told; the concurrent build."""

    def make(cause=None, raws=None, distances=None, **changed):
        serial = records.build()
        other = records.build(raws=raws, **changed)
        deltas = [measured("threads:2", other, **distances)] if distances else []
        runs = records.run("serial", serial), records.run("threads:2", other, other)
        records.record(*runs, cause=cause, deltas=deltas)
        return other

    return make
