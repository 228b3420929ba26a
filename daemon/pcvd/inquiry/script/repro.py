"""Shows that a compiler makes different things of one program, or that tracing gave different programs.

Needs jax and nothing else:

    python repro.py               # what is suspected, then all else until a difference shows
    python repro.py --repeat 10   # each of it more often: some show by chance
    python repro.py --all         # all of it

Exit status: 1 where a difference shows, 0 where none does, 2 for trouble. Every build runs in a process of
its own; nothing is executed, only compiled.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Barrier
from typing import Any

HERE = Path(__file__).resolve().parent
NUMBERED = re.compile(r"^module_\d+\.")  # the process-wide number of a compilation
KEPT = (".o", ".ll", ".ptx", ".cubin", ".hsaco")
MOST_LINES = 60

Condition = dict[str, Any]
Artifacts = dict[str, str]


def main() -> int:
    """Compare, print what differs, and tell it in the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repeat", type=int, default=2, metavar="N", help="builds per condition (default: 2)"
    )
    parser.add_argument("--all", action="store_true", help="try what is not suspected as well")
    parser.add_argument("--build", help=argparse.SUPPRESS)
    options = parser.parse_args()
    manifest = json.loads((HERE / "repro.json").read_text(encoding="utf-8"))
    if options.build:
        print(json.dumps(build(manifest, json.loads(options.build))))
        return 0
    if manifest["shows"] == "tracing":
        return compare_programs(manifest)
    return compare_builds(manifest, max(1, options.repeat), everything=options.all)


# -- two programs ------------------------------------------------------------------------------------


def compare_programs(manifest: dict[str, Any]) -> int:
    """Print how the two traced programs differ; no compiler is part of it."""
    left, right = [(HERE / name).read_text(encoding="utf-8").split("\n") for name in manifest["sides"]]
    print(f"{manifest['target']} was traced twice: {manifest['sides'][0]} {manifest['sides'][1]}")
    if left == right:
        print(f"Both StableHLO programs are equal; the difference is in its {manifest['stage']} alone.")
        return 0
    names = manifest["sides"]
    diff = difflib.unified_diff(left, right, names[0], names[1], lineterm="")
    print("\n".join(line[:500] for line in islice(diff, MOST_LINES)))
    print("The programs handed to XLA differ: the difference comes of tracing, not of XLA.")
    return 1


# -- one program, built many times -------------------------------------------------------------------


def compare_builds(manifest: dict[str, Any], repeat: int, *, everything: bool) -> int:
    """Build under each condition in turn, and compare with the first build of the reference."""
    print(f"{manifest['target']}, recorded with {manifest['versions']}")
    reference = manifest["reference"]
    yardstick = built(manifest, reference)[0]
    print(f"reference ({reference['what']}): {len(yardstick)} artifacts")
    shown = False
    for condition in manifest["conditions"]:
        if everything or condition["suspected"] or not shown:
            shown |= tried(manifest, condition, yardstick, repeat)
    if not shown:
        print("No difference showed. Some show by chance: try --repeat 20.")
    return int(shown)


def tried(manifest: dict[str, Any], condition: Condition, yardstick: Artifacts, repeat: int) -> bool:
    """Build `repeat` times under a condition; whether some build differs from the yardstick."""
    unequal: set[str] = set()
    differing = 0
    for _ in range(repeat):
        names = {
            name
            for artifacts in built(manifest, condition)
            for name in {*artifacts, *yardstick}
            if artifacts.get(name) != yardstick.get(name)
        }
        differing += bool(names)
        unequal |= names
    print(f"{condition['name']} ({condition['what']}): differs in {differing} of {repeat}")
    for name in sorted(unequal):
        print(f"    {name}")
    return bool(unequal)


def built(manifest: dict[str, Any], condition: Condition) -> list[Artifacts]:
    """The artifacts of every build of the program in question, made in a process of its own."""
    variables = dict(manifest["variables"])
    flags = " ".join(filter(None, (variables.get("XLA_FLAGS"), os.environ.get("XLA_FLAGS"))))
    env = {**variables, **os.environ, "PYTHONHASHSEED": str(condition.get("hash_seed", 1))}
    if flags:
        env["XLA_FLAGS"] = flags
    command = [sys.executable, str(Path(__file__).resolve()), "--build", json.dumps(condition)]
    ended = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        print(f"a build failed with exit status {ended.returncode}", file=sys.stderr)
        raise SystemExit(2)
    found: list[Artifacts] = json.loads(ended.stdout.splitlines()[-1])
    return found


def build(manifest: dict[str, Any], condition: Condition) -> list[Artifacts]:
    """In a process of its own: compile the programs in the condition's order, on its threads; the artifacts
    of the one in question, once for each time it was compiled.
    """
    if condition.get("cores") and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: condition["cores"]])
    ballast = [bytes(1 << 12) for _ in range(condition.get("ballast", 0))]  # moves what is allocated later
    texts = [(HERE / program["file"]).read_text(encoding="utf-8") for program in manifest["programs"]]
    with tempfile.TemporaryDirectory(prefix="repro-") as scratch:
        jobs = [(place, number, texts[number], scratch) for place, number in enumerate(condition["order"])]
        if threads := min(condition.get("threads", 0), len(jobs)):
            together = Barrier(threads)
            with ThreadPoolExecutor(threads, initializer=together.wait) as pool:
                made = list(pool.map(compiled, jobs))
        else:
            made = [compiled(job) for job in jobs]
    del ballast
    return [artifacts for number, artifacts in made if number == manifest["subject"]]


def compiled(job: tuple[int, int, str, str]) -> tuple[int, Artifacts]:
    """Compile one program, given as StableHLO, and take the digests of what the compiler wrote."""
    import jax
    import numpy as np
    from jax.extend import backend

    place, number, text, scratch = job
    folder = Path(scratch, str(place))
    folder.mkdir()
    replicas, partitions = (count(text, what) for what in ("num_replicas", "num_partitions"))
    devices = jax.devices()[: replicas * partitions]
    if len(devices) < replicas * partitions:
        print(f"the program wants {replicas * partitions} devices, {len(devices)} are there", file=sys.stderr)
        raise SystemExit(2)
    options = backend.get_compile_options(
        replicas,
        partitions,
        device_assignment=np.arange(len(devices)).reshape(replicas, partitions),
        env_options_overrides={"xla_dump_to": str(folder)},
    )
    executable = backend.get_backend().compile_and_load(text, devices, options)
    return number, artifacts_of(executable, folder)


def count(text: str, what: str) -> int:
    """An attribute of the module, `mhlo.num_partitions = 2 : i32`; 1 where it has none."""
    found = re.search(rf"mhlo\.{what} = (\d+)", text[:10_000])
    return int(found.group(1)) if found else 1


def artifacts_of(executable: Any, folder: Path) -> Artifacts:
    """Digests by name: the optimized HLO, and each file of LLVM IR and machine code. Names and numbers that
    the compiler makes up are given out anew: they say nothing of what it made.
    """
    modules = "\n".join(named_anew(printed(one)) for one in executable.hlo_modules())
    found = {"optimized HLO": digest(modules.encode())}
    for path in sorted(folder.iterdir()):
        if path.suffix in KEPT:
            data = path.read_bytes()
            if path.suffix == ".ll":  # these lines name the file it was parsed from
                data = re.sub(rb"(?m)^(; ModuleID = |source_filename = ).*$", rb"\1", data)
                data = renumbered(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")
            found[NUMBERED.sub("", path.name)] = digest(data)
    return found


def printed(module: Any) -> str:
    """An HLO module as text: constants in full, which the usual text leaves out, and no source positions."""
    try:
        from jaxlib import _hlo

        options = _hlo.HloPrintOptions()
    except (ImportError, AttributeError):  # of a version that keeps them elsewhere
        return str(module.to_string())
    options.print_large_constants = True
    options.print_metadata = False
    return str(module.to_string(options))


def named_anew(text: str) -> str:
    """HLO with instructions and computations named as they come."""
    text = re.sub(  # parameters in a computation's head have no %
        r"(?m)^(?:ENTRY )?%[\w.-]+ \(.*\{$",
        lambda head: re.sub(r"(?<=[( ])([A-Za-z_][\w.-]*)(?=: )", r"%\1", head[0]),
        text,
    )
    names: dict[str, str] = {}
    return re.sub(
        r'"(?:[^"\\\n]|\\.)*"|%([A-Za-z_][\w.-]*)',
        lambda found: names.setdefault(found[1], f"%{len(names)}") if found[1] else found[0],
        text,
    )


def renumbered(text: str) -> str:
    """LLVM IR with metadata nodes (!7) numbered as they are used."""
    lines = text.split("\n")
    reference = re.compile(r'"[^"\n]*"|;[^\n]*|!(\d+)\b')
    nodes = {found[1]: line for line in lines if (found := re.match(r"!(\d+) = ", line))}
    numbers: dict[str, int] = {}
    ahead = [line for line in lines if not re.match(r"!\d+ = ", line)]
    for line in ahead:  # grows by the nodes that it comes to
        for found in reference.finditer(line):
            if found[1] and found[1] not in numbers:
                numbers[found[1]] = len(numbers)
                ahead.append(nodes.get(found[1], ""))
    if set(numbers) != set(nodes):
        return text  # no whole module, or nodes that nobody uses

    def anew(line: str) -> str:
        return reference.sub(lambda found: f"!{numbers[found[1]]}" if found[1] else found[0], line)

    others = [anew(line) for line in lines if not re.match(r"!\d+ = ", line)]
    return "\n".join([*others, *sorted(anew(line) for line in nodes.values())])


def digest(data: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:  # noqa: BLE001  # Python's own exit status for these, 1, would mean a difference
        traceback.print_exc()
        sys.exit(2)
