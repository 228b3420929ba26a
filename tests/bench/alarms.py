"""Builds sound programs, again and again, and counts false alarms: `make alarms [BUILDS=1000]`.

The programs under clean/ do nothing that depends on chance, on order or on a process, so every `diverged`,
`unstable` or `inconclusive` is a false alarm. `equivalent` is none: XLA's code does vary; it is counted with
the stage at which it shows. Every round is a fresh project in fresh processes. The projects of rounds with an
alarm are kept, so that `pcvctl` can be asked about them. The counts go to alarms.json.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

from figures import machine

SETTINGS = """\
platform = "cpu"
schedules = ["serial", "control", "threads:2", "threads:4", "processes:2"]
"""
QUIET = {"agree", "equivalent"}
LIBRARIES = ("equinox", "flax", "dm-haiku", "optax")


def main(wanted: int) -> int:
    """Hold rounds until `wanted` builds were made; 1 where there was an alarm."""
    figures: dict[str, Any] = {
        "machine": {**machine(), **{name: metadata.version(name) for name in LIBRARIES}},
        "programs": 0, "rounds": 0, "builds": 0, "verdicts": 0,
    }  # fmt: skip
    verdicts: Counter[str] = Counter()
    equivalent: dict[str, Counter[str]] = {}
    alarms: list[dict[str, Any]] = []
    began = time.monotonic()
    while figures["builds"] < wanted:
        targets, builds, found = hold()
        figures["rounds"] += 1
        figures["programs"] = len(targets)
        figures["builds"] += builds
        figures["verdicts"] += len(targets)
        for one in targets:
            if one["verdict"] == "equivalent":
                equivalent.setdefault(one["target"], Counter())[one["first_stage"]] += 1
        alarms += found
        counts = Counter(one["verdict"] for one in targets)
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        verdicts += counts
        print(f"round {figures['rounds']}: {builds} builds, {told}", flush=True)
        for alarm in found:
            print("  " + "; ".join(str(value) for value in alarm.values() if value), flush=True)
    figures |= {
        "minutes": round((time.monotonic() - began) / 60, 1),
        **verdicts,
        "equivalent_first_at": equivalent,
        "false_alarms": alarms,
    }
    Path("alarms.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:22} {len(alarms) if value is alarms else value}")
    return 1 if alarms else 0


def hold() -> tuple[list[dict[str, Any]], int, list[dict[str, Any]]]:
    """One round over all programs: its verdicts, how many builds they rest on, and which are alarms."""
    root = Path(tempfile.mkdtemp(prefix="pcv-alarms-"))
    shutil.copytree(Path(__file__).parent / "clean", root, dirs_exist_ok=True)
    (root / "pcv.toml").write_text(SETTINGS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pcvctl", "check", "--no-daemon", "--json", "--root", str(root)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not done.stdout:
        sys.exit(f"the check came to nothing (exit code {done.returncode}):\n{done.stderr}")
    document = json.loads(done.stdout)
    alarms = [
        {
            "target": one["target"], "verdict": one["verdict"], "first_stage": one["first_stage"],
            "reason": one["reason"], "cause": one["cause"] and one["cause"]["text"], "project": str(root),
        }
        for one in document["targets"] if one["verdict"] not in QUIET
    ]  # fmt: skip
    alarms += [{"problem": one["message"], "project": str(root)} for one in document["problems"]]
    if not document["targets"]:
        sys.exit(f"there are no targets in {root}")
    with closing(sqlite3.connect(root / ".pcv" / "pcv.sqlite")) as connection:
        ((builds,),) = connection.execute("SELECT count(*) FROM builds")
    if not alarms:
        shutil.rmtree(root)
    return document["targets"], builds, alarms


if __name__ == "__main__":
    sys.exit(main(int(os.environ.get("BUILDS") or 1000)))
