"""Recovery: what the daemon remembers, held against what is so now. Only what still holds is fresh."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pcvd.core.events import Known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcvd.core.model import Read
    from pcvd.files import Files
    from pcvd.store import Standing


async def known(
    standings: Sequence[Standing], premises: Sequence[Read], environment: Mapping[str, str], files: Files
) -> tuple[Known, ...]:
    """The remembered verdicts for the plan.

    `premises` are the present ones (none where they can't be had: then nothing is fresh); `environment` is
    that of worker processes.
    """
    paths = {read.name for standing in standings for read in standing.reads if read.kind == "file"}
    digests = await files.digests(paths)
    present = {(read.kind, read.name): read.digest for read in premises}

    def holds(read: Read) -> bool:
        if read.kind == "file":
            return digests[read.name] == read.digest
        if read.kind == "env":
            value = environment.get(read.name)
            return read.digest == (None if value is None else digest_of(value))
        return present.get((read.kind, read.name)) == read.digest

    return tuple(
        Known(
            standing.target,
            standing.judgement.verdict,
            standing.differed,
            {read.name: read.digest for read in standing.reads if read.kind == "file"},
            bool(premises) and all(holds(read) for read in standing.reads),
        )
        for standing in standings
    )


def digest_of(value: str) -> str:
    """The digest of an environment variable's value; the value itself may be a secret."""
    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()
