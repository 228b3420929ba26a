"""Runs in the store: what was built under one schedule or variation goes in as rows, and comes out as the
records it was.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, Any

from pcvd.core.builds import Artifact, Build, Kernel, Part, Run
from pcvd.core.model import Failure, digest
from pcvd.store.codec import decode, encode, row, strings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import aiosqlite

_INSERT_RUN = """
    INSERT INTO runs (id, round, schedule, submission, zygote, hash_seed, affinity, environments, culprits,
        peak_in_flight, wall_ns)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_BUILD = """
    INSERT INTO builds (id, run, target, copy, worker, thread, began_ns, lowered_ns, compiling_ns, ended_ns,
        inputs, repeats, failure)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_KERNEL = """
    INSERT INTO kernels (build, name, digest, function, file, line, uses) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_STAGE = """
    INSERT INTO stages (id, build, stage, raw, canonical, absent, size) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_PART = """
    INSERT INTO parts (stage, position, name, label, raw, canonical, size, rules)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


async def insert(
    connection: aiosqlite.Connection, number: int, runs: tuple[Run, ...], known: dict[str, int]
) -> None:
    """Write the rows of a round's `runs`; `known` has the row numbers of their targets."""
    # Row numbers are given out here: the transaction holds the write lock, and asking SQLite for each row's
    # would take one statement a row.
    run_ids = await _next_id(connection, "SELECT max(id) FROM runs")
    build_ids = await _next_id(connection, "SELECT max(id) FROM builds")
    stage_ids = await _next_id(connection, "SELECT max(id) FROM stages")
    numbered = list(zip(run_ids, runs, strict=False))
    builds = [
        (next(build_ids), run_id, build) for run_id, run in numbered for build in (*run.builds, *run.kernels)
    ]
    stages = [
        (next(stage_ids), build_id, found) for build_id, _, build in builds for found in build.artifacts
    ]
    await connection.executemany(_INSERT_RUN, (_run_row(run_id, number, run) for run_id, run in numbered))
    await connection.executemany(
        _INSERT_BUILD,
        (_build_row(build_id, run_id, known[build.target], build) for build_id, run_id, build in builds),
    )
    await connection.executemany(
        _INSERT_KERNEL,
        (_kernel_row(build_id, build.kernel) for build_id, _, build in builds if build.kernel is not None),
    )
    await connection.executemany(
        _INSERT_STAGE,
        (_stage_row(stage_id, build_id, artifact) for stage_id, build_id, artifact in stages),
    )
    await connection.executemany(
        _INSERT_PART,
        (
            _part_row(stage_id, place, part)
            for stage_id, _, artifact in stages
            for place, part in enumerate(artifact.parts)
        ),
    )


async def remove(connection: aiosqlite.Connection, number: int, names: Sequence[str]) -> None:
    """Remove the runs of a round that have these names, with all that they built."""
    await connection.executemany(
        "DELETE FROM runs WHERE round = ? AND schedule = ?", [(number, name) for name in names]
    )


async def _next_id(connection: aiosqlite.Connection, largest: str) -> Iterator[int]:
    ((number,),) = await connection.execute_fetchall(largest)
    return count((number or 0) + 1)


def _run_row(run_id: int, number: int, run: Run) -> tuple[object, ...]:
    return row(
        run_id, number, run.schedule, encode(run.order), run.zygote, run.hash_seed, encode(run.affinity),
        encode([digest(encode(environment).encode()) for environment in run.environments]),
        encode(run.culprits), run.peak_in_flight, run.wall_ns,
    )  # fmt: skip


def _build_row(build_id: int, run_id: int, target: int, build: Build) -> tuple[object, ...]:
    return row(
        build_id, run_id, target, build.copy, build.worker, build.thread, build.began_ns, build.lowered_ns,
        build.compiling_ns, build.ended_ns, build.inputs, build.repeats,
        None if build.failure is None else encode(build.failure),
    )  # fmt: skip


def _kernel_row(build_id: int, kernel: Kernel) -> tuple[object, ...]:
    return row(
        build_id, kernel.name, kernel.digest, kernel.function, kernel.file, kernel.line, kernel.uses
    )  # fmt: skip


def _stage_row(stage_id: int, build_id: int, artifact: Artifact) -> tuple[object, ...]:
    return row(
        stage_id, build_id, artifact.stage, artifact.raw, artifact.canonical, artifact.absent,
        sum(part.size for part in artifact.parts),
    )  # fmt: skip


def _part_row(stage_id: int, place: int, part: Part) -> tuple[object, ...]:
    return row(
        stage_id, place, part.name, part.label, part.raw, part.canonical, part.size, encode(part.rules)
    )  # fmt: skip


async def select(connection: aiosqlite.Connection, number: int) -> tuple[Run, ...]:
    """The runs of a round as they were recorded; none where it does not exist or was pruned."""
    runs = list(
        await connection.execute_fetchall(
            """
            SELECT id, schedule, submission, zygote, hash_seed, affinity, environments, culprits
            FROM runs WHERE round = ? ORDER BY id
            """,
            (number,),
        )
    )
    described = {
        name: decode(description, dict[str, Any])
        for name, description in await connection.execute_fetchall(
            """
            SELECT digest, description FROM environments
            WHERE digest IN (SELECT value FROM runs, json_each(runs.environments) WHERE round = ?)
            """,
            (number,),
        )
    }
    builds = await _select_builds(connection, number)
    return tuple(
        Run(
            schedule=schedule,
            order=strings(submission),
            builds=tuple(build for build in builds[run] if build.kernel is None),
            zygote=zygote,
            hash_seed=hash_seed,
            affinity=decode(affinity, tuple[int, ...]),
            environments=tuple(described[name] for name in strings(environments)),
            culprits=strings(culprits),
            kernels=tuple(build for build in builds[run] if build.kernel is not None),
        )
        for run, schedule, submission, zygote, hash_seed, affinity, environments, culprits in runs
    )


async def _select_builds(connection: aiosqlite.Connection, number: int) -> dict[int, list[Build]]:
    parts: defaultdict[int, list[Part]] = defaultdict(list)
    for stage_id, name, label, raw, canonical, size, rules in await connection.execute_fetchall(
        """
        SELECT p.stage, p.name, p.label, p.raw, p.canonical, p.size, p.rules
        FROM runs r JOIN builds b ON b.run = r.id
        JOIN stages s ON s.build = b.id JOIN parts p ON p.stage = s.id
        WHERE r.round = ? ORDER BY p.stage, p.position
        """,
        (number,),
    ):
        parts[stage_id].append(Part(name, raw, canonical, size, label, strings(rules)))
    artifacts: defaultdict[int, list[Artifact]] = defaultdict(list)
    for stage_id, build_id, stage, raw, canonical, absent in await connection.execute_fetchall(
        """
        SELECT s.id, s.build, s.stage, s.raw, s.canonical, s.absent
        FROM runs r JOIN builds b ON b.run = r.id JOIN stages s ON s.build = b.id
        WHERE r.round = ? ORDER BY s.id
        """,
        (number,),
    ):
        artifacts[build_id].append(Artifact(stage, raw, canonical, tuple(parts[stage_id]), absent))
    kernels = await _select_kernels(connection, number)
    builds: defaultdict[int, list[Build]] = defaultdict(list)
    for (
        run, build_id, target, copy, worker, thread, began, lowered, compiling, ended, inputs, repeats,
        failure,
    ) in await connection.execute_fetchall(
        """
        SELECT b.run, b.id, t.entry, b.copy, b.worker, b.thread, b.began_ns, b.lowered_ns, b.compiling_ns,
            b.ended_ns, b.inputs, b.repeats, b.failure
        FROM runs r JOIN builds b ON b.run = r.id JOIN targets t ON t.id = b.target
        WHERE r.round = ? ORDER BY b.id
        """,
        (number,),
    ):  # fmt: skip
        builds[run].append(
            Build(
                target=target,
                copy=copy,
                worker=worker,
                thread=thread,
                began_ns=began,
                lowered_ns=lowered,
                compiling_ns=compiling,
                kernel=kernels.get(build_id),
                ended_ns=ended,
                inputs=inputs,
                artifacts=tuple(artifacts[build_id]),
                failure=None if failure is None else decode(failure, Failure),
                repeats=None if repeats is None else bool(repeats),
            )
        )
    return builds


async def _select_kernels(connection: aiosqlite.Connection, number: int) -> dict[int, Kernel]:
    """What the builds of a round are of that are of no whole target, by row number."""
    # A file that is only read may be of a version that had none.
    if not await connection.execute_fetchall("SELECT 1 FROM sqlite_schema WHERE name = 'kernels'"):
        return {}
    found = await connection.execute_fetchall(
        """
        SELECT k.build, k.name, k.digest, k.function, k.file, k.line, k.uses
        FROM runs r JOIN builds b ON b.run = r.id JOIN kernels k ON k.build = b.id WHERE r.round = ?
        """,
        (number,),
    )
    return {build: Kernel(*told) for build, *told in found}
