"""Resolution: what was read, held against the files as they are now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcvd.core.model import Read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pcvd.files import Files


async def resolve(
    files: Files, own: Mapping[str, str], reads: Mapping[str, Sequence[Read]]
) -> tuple[dict[str, tuple[Read, ...]], dict[str, list[str]]]:
    """Every reader's reads with digests, and the names of those that are not what it read. `own` maps each
    reader to the file that it stands in, which it rests on in any case.
    """
    booked = [read for reader in own for read in reads.get(reader, ())]
    paths = {read.name for read in booked if read.kind in {"file", "absent"}} | set(own.values())
    now = await files.digests(paths)
    stats = await files.stats(paths)
    resolved: dict[str, tuple[Read, ...]] = {}
    changed: dict[str, list[str]] = {}
    for reader, path in own.items():
        found = {("file", path): Read("file", path, now[path])}
        for read in reads.get(reader, ()):
            if read.kind not in {"file", "absent"}:
                found[read.kind, read.name] = read
                continue
            seen = now[read.name] if read.digest is None and read.kind == "file" else read.digest
            if seen != now[read.name] or read.stat not in {None, stats[read.name]}:
                changed.setdefault(reader, []).append(read.name)
            found["file", read.name] = Read("file", read.name, now[read.name])
        resolved[reader] = tuple(found.values())
    return resolved, changed
