"""Asking model files for the targets that they declare, and writing the answers down for a daemon to come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from pcvd.core import events
from pcvd.finished import Finished
from pcvd.resolution import resolve
from pcvd.store import Discovered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pcvd.builders.protocol import Discovery
    from pcvd.means import Means

log = structlog.get_logger()


async def ask(means: Means, files: Sequence[str]) -> Finished:
    """Import `files` to see what they declare. Raises SetupError where no worker can be had."""
    found = await means.builders.discover(files)
    log.info("discovered", files=list(files), targets=[target.entry for target in found.targets])
    problems = {file: (found.problems[file],) if file in found.problems else () for file in files}
    declared = []
    for file in files:
        targets = tuple(target for target in found.targets if target.path == file)
        reads = {read.name for read in found.reads.get(file, ()) if read.kind in {"file", "absent"}}
        own = means.path(file)
        reads.add(own)
        seen = next((read.digest for read in found.reads.get(file, ()) if read.name == own), None)
        broken = file in found.problems
        declared.append(events.Declared(targets, file, frozenset(reads), seen, broken=broken))
    return Finished(
        (*declared, events.Ended()),
        {**problems, "workers": ()},
        afterwards=lambda: _write_down(means, files, found),
    )


async def _write_down(means: Means, files: Sequence[str], found: Discovery) -> None:
    """Only what was told, rests on nothing that was saved meanwhile, and on no program of which nobody knows
    what it read. Raises StoreError.
    """
    told = [
        file
        for file in files
        if file not in found.problems and not any(one.kind == "program" for one in found.reads.get(file, ()))
    ]
    resolved, changed = await resolve(means.files, {file: means.path(file) for file in told}, found.reads)
    declared = [
        Discovered(
            file,
            tuple(target for target in found.targets if target.path == file),
            (*resolved[file], *means.premises),
        )
        for file in told
        if file not in changed
    ]
    await means.store.discovered(files, declared)
