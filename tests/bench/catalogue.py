"""Repeats the catalogue of causes and counts how often each row came out right: `make catalogue [REPEAT=20]`.

Rows that depend on chance are counted apart: what they come to now and then says little about the tool, and
how often they come out right is nothing that fails. The counts go to catalogue.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

from figures import machine

SUITE = Path(__file__).parents[1] / "catalogue"


def main(repeat: int) -> int:
    """Run the suite `repeat` times; 1 where something came out wrong that is no matter of chance, or nothing
    came out at all.
    """
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    by_chance: set[str] = set()
    rows: dict[str, dict[str, int | bool]] = {}
    failed = 0
    for number in range(1, repeat + 1):
        certain, chancy = run("not chance"), run("chance")
        by_chance |= chancy.keys()
        outcomes = certain | chancy
        right.update(name for name, fault in outcomes.items() if fault is None)
        wrong.update(name for name, fault in outcomes.items() if fault is not None)
        print(f"repetition {number}: {sum(fault is None for fault in outcomes.values())} right", flush=True)
        for name, fault in outcomes.items():
            if fault is not None:
                print(f"  {name}: {fault}", flush=True)
        rows = {
            name: {"right": right[name], "wrong": wrong[name], "by_chance": name in by_chance}
            for name in sorted(right | wrong)
        }
        failed = sum(count for name, count in wrong.items() if name not in by_chance)
        figures = {"machine": machine(), "repetitions": number, "wrong": failed, "rows": rows}
        Path("catalogue.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for name, counts in rows.items():
        chance = "  by chance" if counts["by_chance"] else ""
        print(f"{name:64} {counts['right']:3} right  {counts['wrong']:3} wrong{chance}")
    return 1 if failed or not right else 0


def run(marked: str) -> dict[str, str | None]:
    """One run of the suite's tests of a mark: for each that was not skipped, None or what is wrong."""
    # What a model started may still be writing there: hours of counting are not to end with that.
    with tempfile.TemporaryDirectory(prefix="pcv-catalogue-", ignore_cleanup_errors=True) as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", str(SUITE), "--quiet", "-m", marked]
        done = subprocess.run(
            [*command, f"--junit-xml={report}", f"--basetemp={folder}/projects"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if not report.exists():
            sys.exit(f"the suite did not run (exit code {done.returncode}):\n{done.stdout}")
        outcomes: dict[str, str | None] = {}
        for case in ET.parse(report).iter("testcase"):
            if case.find("skipped") is not None:
                continue
            faults = [one.get("message", "") for kind in ("failure", "error") for one in case.iter(kind)]
            outcomes[case.get("name", "")] = faults[0].partition("\n")[0] if faults else None
        return outcomes


if __name__ == "__main__":
    sys.exit(main(int(os.environ.get("REPEAT") or 20)))
