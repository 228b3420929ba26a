"""Measures what the README quotes, on this machine, and writes it to bench.json: `make bench`.

Times are reported beside what they are a ratio of, measured in the same run. Nothing here is asserted.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from pcv_config import demonstration

IDLE_S = 30.0
SLOW = """
import jax
import jax.numpy as jnp
import pcv

MODE = jax.enable_x64(True)  # of the thread that imports the model, and of no other
MODE.__enter__()


@pcv.target("f32[32,64]", "f32[4,64,64]")
def deep(x, weights):
    def loss(x):
        for layer in range(LAYERS):
            x = x + jnp.tanh(jax.nn.softmax(x @ weights[layer % 4]) @ weights[layer % 3].T) * (layer + 1)
        return (x.astype("float64") ** 2).sum()

    return jax.grad(loss)(x)
""".replace("LAYERS", "12")
CTL = [sys.executable, "-m", "pcvctl"]


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory(prefix="pcv-bench-") as folder:
        root = Path(folder, "demo")
        demonstration.copy_to(str(root))
        settings = root / "pcv.toml"  # idle is to mean idle: no evidence is gathered meanwhile
        settings.write_text("soak = false\n" + settings.read_text(encoding="utf-8"), encoding="utf-8")
        figures = {"machine": machine(), **check(root), **explain(Path(folder, "slow")), **daemon(root)}
    Path("bench.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:32} {value}")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "jax": importlib.metadata.version("jax"),
        "jaxlib": importlib.metadata.version("jaxlib"),
    }


def check(root: Path) -> dict[str, Any]:
    """One round over the demo without a daemon: three targets, six schedules, cold."""
    took, out = timed([*CTL, "check", "--no-daemon", "--json", "--root", str(root)])
    document = json.loads(out)
    return {
        "check_s": took,
        "verdicts": [target["verdict"] for target in document["targets"]],
        "speed_up": {name: value and round(value, 2) for name, value in document["speed"].items()},
        "peak_in_flight": {
            name: one["peak_in_flight"]
            for name, one in document["targets"][0]["evidence"]["schedules"].items()
        },
    }


def explain(root: Path) -> dict[str, Any]:
    """How long it takes to find out what a divergence comes from, beside the serial build of the program."""
    root.mkdir()
    (root / "pcv.toml").write_text('schedules = ["serial", "threads:2", "control"]\n', encoding="utf-8")
    (root / "slow.py").write_text(SLOW, encoding="utf-8")
    timed([*CTL, "check", "--no-daemon", "--json", "--root", str(root)])
    log = [
        json.loads(line) for line in (root / ".pcv" / "check.log").read_text(encoding="utf-8").splitlines()
    ]
    (investigated,) = [one for one in log if one["event"] == "investigated"]
    serial = next(one for one in log if one["event"] == "built" and one["schedule"] == "serial")
    return {
        "serial_build_s": round(serial["wall_s"], 2),
        "explain_s": round(investigated["seconds"], 2),
        "cause": investigated["kinds"],
    }


def daemon(root: Path) -> dict[str, Any]:
    """The daemon on the demo: start, idle memory and processor time, an edit, status while it builds."""
    started, _ = timed([*CTL, "start", "--root", str(root)])
    try:
        timed([*CTL, "wait", "--root", str(root)])
        process = psutil.Process(json.loads(status(root)[1])["daemon"]["pid"])
        settle(process)
        family = [process, *process.children(recursive=True)]
        idle = {
            "start_s": started,
            "daemon_rss_mb": round(process.memory_info().rss / 1e6, 1),
            "family_pss_mb": round(sum(one.memory_full_info().pss for one in family) / 1e6, 1),
            "family": len(family),
            "idle_cpu_percent": idle_cpu(process),
        }
        demonstration.edit(str(root), "0.03")
        saved = time.perf_counter()
        answers = []
        seen_stale = False
        while True:
            took, text = status(root)
            answers.append(took)
            document = json.loads(text)
            fresh = document["summary"]["stale"] == 0
            seen_stale |= not fresh
            if seen_stale and fresh:
                break
        edit = time.perf_counter() - saved
    finally:
        timed([*CTL, "stop", "--root", str(root)])
    bare = statistics.median(timed([sys.executable, "-c", "pass"])[0] for _ in range(20))
    return {
        **idle,
        "edit_to_all_fresh_s": round(edit, 2),
        "status_while_building": {
            "answers": len(answers),
            "median_over_python_c_pass": round(statistics.median(answers) / bare, 2),
            "slowest_over_python_c_pass": round(max(answers) / bare, 2),
        },
    }


def settle(process: psutil.Process, seconds: int = 3) -> None:
    """Wait until the daemon has its waiting workers and nobody of the family has used the processor for so
    many seconds.
    """
    quiet, before = 0, used(process)
    while quiet < seconds:
        time.sleep(1)
        now = used(process)
        still = now.keys() == before.keys() and sum(now.values()) - sum(before.values()) < 0.05
        quiet = quiet + 1 if still and len(now) > 3 else 0
        before = now


def used(process: psutil.Process) -> dict[int, float]:
    """Seconds of processor time that the members of a family have used, by their ids."""
    times = {}
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times[one.pid] = sum(one.cpu_times()[:2])
    return times


def idle_cpu(process: psutil.Process) -> float:
    """Percent of one core that the family uses while nothing happens."""
    before = sum(used(process).values())
    time.sleep(IDLE_S)
    return round(100 * (sum(used(process).values()) - before) / IDLE_S, 2)


def status(root: Path) -> tuple[float, str]:
    """One `pcvctl status --json` as a whole process: seconds, and what it printed."""
    return timed([*CTL, "status", "--json", "--root", str(root)])


def timed(command: list[str]) -> tuple[float, str]:
    """Seconds a command took, and its standard output."""
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return round(time.perf_counter() - began, 3), done.stdout


if __name__ == "__main__":
    main()
