"""A project of many targets that a daemon knows already: one is judged truly, and its verdict is written down
for all others, each of which has a file of its own that it rests on.
"""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from pcv_config import places
from pcvd.core.model import Judgement, Read, TargetSpec, source_key
from pcvd.store import RoundRecord, Standing, Store
from pcvd.store.codec import decode

SETTINGS = 'platform = "cpu"\nschedules = ["serial", "threads:2"]\nsoak = false\n'
MODEL = "def model(x):\n    return x * {factor}.0 + 1.0\n"
_A_ROUND = 100


def make(root: Path, count: int) -> list[str]:
    """Write a project of `count` targets below `root`, all of them judged; their names."""
    entries = [f"models/group{number // 100:03d}/m{number:05d}.py:model" for number in range(count)]
    for number, entry in enumerate(entries):
        path = root / entry.partition(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MODEL.format(factor=number), encoding="utf-8")
    _declare(root, entries[:1])
    subprocess.run(
        [sys.executable, "-m", "pcvctl", "check", "--no-daemon", "--root", str(root)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _declare(root, entries)
    asyncio.run(_spread(str(root), entries))
    return entries


def _declare(root: Path, entries: list[str]) -> None:
    named = (f'[[target]]\nentry = "{entry}"\nargs = ["f32[4]"]\n' for entry in entries)
    (root / "pcv.toml").write_text(SETTINGS + "".join(named), encoding="utf-8")


async def _spread(root: str, entries: list[str]) -> None:
    async with Store.open(places.state(root, "pcv.sqlite")) as store:
        (known,) = await store.standings()
        judged = decode(known.said, Judgement)
        await store.declare([TargetSpec(entry, ("f32[4]",), "pcv.toml") for entry in entries])
        for first in range(1, len(entries), _A_ROUND):
            cohort = entries[first : first + _A_ROUND]
            reads = {entry: _reads(root, known, entry) for entry in cohort}
            await store.record(
                RoundRecord(
                    known.checked_at,
                    known.checked_at,
                    "new",
                    tuple(cohort),
                    {},
                    (),
                    tuple(
                        replace(
                            judged,
                            target=entry,
                            evidence=judged.evidence | {"source_key": source_key(reads[entry])},
                        )
                        for entry in cohort
                    ),
                    reads,
                )
            )


def _reads(root: str, known: Standing, entry: str) -> tuple[Read, ...]:
    own, other = f"{root}/{known.target.path}", f"{root}/{entry.partition(':')[0]}"
    digest = hashlib.sha256(Path(other).read_bytes()).hexdigest()
    return tuple(
        replace(read, name=other, digest=digest) if read.name == own else read for read in known.reads
    )
