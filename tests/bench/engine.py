"""Measures how quick the daemon is, against a script that does the same without it, and writes engine.json
and a plot: part of `make bench`. Ratios are of times measured in turn in this one run. Nothing is asserted.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import known
import psutil
from figures import CTL, machine, settle, timed
from plots import Panel, draw

from pcv_config import demonstration, places
from pcvd import app
from pcvd.changes import Changed
from pcvd.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

SCALES = [int(size) for size in os.environ.get("SCALES", "10,100,1000,10000").split(",")]
IDLE_S = float(os.environ.get("IDLE_S", "60"))
ROUNDS = int(os.environ.get("ROUNDS", "9"))
ALONE = str(Path(__file__).with_name("alone.py"))
STEP = "models/mlp.py:train_step"
TWELVE = """
import jax
import jax.numpy as jnp
import pcv

{targets}
"""
ONE = """
@pcv.target("f32[64,64]", "f32[4,64,64]")
def deep{number}(x, weights):
    def loss(x):
        for layer in range(10):
            x = x + jnp.tanh(jax.nn.softmax(x @ weights[layer % 4]) @ weights[layer % 3].T) * {number}
        return (x ** 2).sum()
    return jax.grad(loss)(x)
"""


class Running:
    """A daemon over a project, asked by its socket."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.start_s = timed([*CTL, "start", "--root", str(root)])[0]
        self.socket = places.socket_path(str(root))

    def ask(self, path: str, accept: str = "application/json", method: str = "GET") -> bytes:
        """The body of an answer."""
        link = socket.socket(socket.AF_UNIX)
        link.connect(self.socket)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        link.sendall(head.encode())
        answer = b""
        while piece := link.recv(1 << 20):
            answer += piece
        link.close()
        return answer.partition(b"\r\n\r\n")[2]

    def target(self, entry: str) -> dict[str, Any]:
        """One target's part of the status."""
        (found,) = json.loads(self.ask(f"/v1/targets/{entry}"))["targets"]
        return found

    def process(self) -> psutil.Process:
        """The daemon's process."""
        return psutil.Process(
            json.loads(timed([*CTL, "status", "--json", "--root", str(self.root)])[1])["daemon"]["pid"]
        )

    @contextmanager
    def news(self, entry: str) -> Iterator[Iterator[dict[str, Any]]]:
        """One target's part of the status now and after every change: to ask again and again would take the
        processor time that the builds are to have.
        """
        with socket.socket(socket.AF_UNIX) as link, link.makefile("rb") as answer:
            link.connect(self.socket)
            link.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            lines = (line[5:] for line in answer if line.startswith(b"data:"))
            yield (one for line in lines for one in json.loads(line)["targets"] if one["target"] == entry)

    def asked(self, entry: str) -> Iterator[dict[str, Any]]:
        """The same by asking: of ten thousand targets, news tells of all."""
        while True:
            yield self.target(entry)
            time.sleep(0.002)

    def until_judged(self) -> None:
        """Wait until everything saved before has been seen and judged."""
        self.ask("/v1/wait", method="POST")

    def stop(self) -> None:
        """End it."""
        timed([*CTL, "stop", "--root", str(self.root)])


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory(prefix="pcv-bench-") as folder:
        figures: dict[str, Any] = {
            "machine": machine(),
            **saves(Path(folder, "demo")),
            **cold(Path(folder, "cold")),
        }
        figures["client"] = client(Path(folder, "known"))
        figures["scale"] = {str(size): scale(Path(folder, f"known{size}"), size) for size in SCALES}
    Path("engine.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))
    plot(figures["scale"])


def saves(root: Path) -> dict[str, Any]:
    """A comment and a changed number, from the save to the fresh verdict on the demo's training step."""
    demonstration.copy_to(str(root))
    (root / "pcv.toml").write_text("soak = false\n", encoding="utf-8")
    path = root / demonstration.MODEL
    daemon = Running(root)
    took: dict[str, list[float]] = {
        "nothing": [],
        "comment": [],
        "confirmed": [],
        "edit": [],
        "script": [],
    }
    try:
        process = daemon.process()
        for number in range(ROUNDS):
            for kind, seconds in took.items():
                timed([*CTL, "wait", "--whole", "--root", str(root)])
                settle(process, 1)
                before = daemon.target(STEP)["checked_at"]
                text = path.read_text(encoding="utf-8")
                if kind == "script":
                    seconds.append(timed([sys.executable, ALONE, str(path)])[0])
                    continue
                with daemon.news(STEP) as news:
                    next(news)
                    began = time.perf_counter()
                    if kind == "nothing":
                        path.write_text(text, encoding="utf-8")
                        daemon.until_judged()
                    elif kind == "edit":
                        demonstration.edit(str(root), f"0.{number + 11}")
                    else:
                        path.write_text(f"# {number}\n{text}", encoding="utf-8")
                    if kind == "comment":
                        believed(news, before)
                    elif kind != "nothing":
                        judged(news, before)
                seconds.append(time.perf_counter() - began)
    finally:
        daemon.stop()
    bare, three = map(float, timed([sys.executable, ALONE, str(path), "--warm"])[1].split())
    middle = {kind: round(statistics.median(seconds), 3) for kind, seconds in took.items()}
    return {
        "no_op_save_and_wait_s": middle["nothing"],
        "comment_edit_s": middle["comment"],
        "comment_edit_confirmed_s": middle["confirmed"],
        "one_target_edit_s": middle["edit"],
        "script_s": middle["script"],
        "script_over_comment_edit": round(middle["script"] / middle["comment"], 1),
        "script_over_confirmed": round(middle["script"] / middle["confirmed"], 1),
        "bare_build_s": round(bare, 3),
        "three_bare_builds_at_once_s": round(three, 3),
        "edit_less_150_ms_over_bare_build": round((middle["edit"] - 0.15) / bare, 2),
    }


def judged(news: Iterator[dict[str, Any]], before: str) -> None:
    """Wait until the target was judged again and its verdict is fresh."""
    next(one for one in news if one["fresh"] and one["checked_at"] != before)


def believed(news: Iterator[dict[str, Any]], before: str) -> None:
    """Wait until the daemon has seen a comment; the verdict that stood then was never called stale."""
    for one in news:
        assert one["fresh"]
        if not one["confirmed"] or one["checked_at"] != before:
            return


def cold(root: Path) -> dict[str, Any]:
    """Twelve programs of about equal size, built by two processes and by one on a single core."""
    root.mkdir()
    (root / "m.py").write_text(
        TWELVE.format(targets="".join(ONE.format(number=1 + n) for n in range(12))), encoding="utf-8"
    )
    walls: dict[str, list[float]] = {"serial": [], "pinned": [], "processes:2": []}
    busy: list[float] = []
    check = [*CTL, "check", "--no-daemon", "--json", "--root", str(root)]
    for _round in range(3):
        for name, prefix in (("serial", []), ("pinned", ["taskset", "-c", "0"])):
            (root / "pcv.toml").write_text(
                'schedules = ["serial", "processes:2"]\nsoak = false\n', encoding="utf-8"
            )
            timed([*prefix, *check])
            log = [
                json.loads(line)
                for line in (root / ".pcv" / "check.log").read_text(encoding="utf-8").splitlines()
            ]
            built = {one["schedule"]: one for one in log if one["event"] == "built"}
            walls[name].append(built["serial"]["wall_s"])
            if name == "serial":
                both = built["processes:2"]
                walls["processes:2"].append(both["wall_s"])
                busy.append(both["wall_s"] / (both["cpu_s"] / len(os.sched_getaffinity(0))))
    middle = {name: statistics.median(every) for name, every in walls.items()}
    return {
        "twelve_programs_s": {name: round(wall, 2) for name, wall in middle.items()},
        "pinned_serial_over_two_processes": round(middle["pinned"] / middle["processes:2"], 2),
        "serial_over_two_processes": round(middle["serial"] / middle["processes:2"], 2),
        "two_processes_wall_over_cpu_per_core": round(statistics.median(busy), 2),
    }


def client(root: Path) -> dict[str, Any]:
    """`pcvctl status` as a whole process, against Python that does nothing."""
    known.make(root, 10)
    daemon = Running(root)
    pcvctl = str(Path(sys.executable).with_name("pcvctl"))
    took: dict[str, list[float]] = {"status": [], "pass": []}
    try:
        for _round in range(60):
            for name, command in (
                ("status", [pcvctl, "status", "--root", str(root)]),
                ("pass", [sys.executable, "-c", "pass"]),
            ):
                began = time.perf_counter()
                subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
                took[name].append(time.perf_counter() - began)
    finally:
        daemon.stop()
    middle = {name: statistics.median(every) for name, every in took.items()}
    return {
        "status_ms": round(1000 * middle["status"], 1),
        "python_c_pass_ms": round(1000 * middle["pass"], 1),
        "ratio": round(middle["status"] / middle["pass"], 2),
    }


def scale(root: Path, size: int) -> dict[str, Any]:
    """A daemon that knows `size` targets: its starts, its answers while it builds, a save, and rest."""
    entries = known.make(root, size)
    affected = asyncio.run(_affected(root, entries[size // 2]))
    daemon, first = _started(root)  # over records that no daemon has seen the files of
    daemon.stop()
    daemon, again = _started(root)
    try:
        process = daemon.process()
        settle(process)
        log = (root / ".pcv" / "pcvd.log").read_text(encoding="utf-8")
        family = [process, *process.children(recursive=True)]
        before, idling = sum(process.cpu_times()[:2]), time.perf_counter()
        time.sleep(IDLE_S)
        idle = (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - idling)
        resident = process.memory_info().rss
        path = root / entries[size // 2].partition(":")[0]
        checked = daemon.target(entries[size // 2])["checked_at"]
        text = path.read_text(encoding="utf-8")
        saved = time.perf_counter()
        path.write_text(text.replace("1.0", "2.0"), encoding="utf-8")
        answers = []
        while True:
            asked = time.perf_counter()
            daemon.ask("/v1/status?most=60", "text/plain")
            answers.append(time.perf_counter() - asked)
            found = daemon.target(entries[size // 2])
            if found["fresh"] and found["checked_at"] != checked:
                break
        edit = time.perf_counter() - saved
        timed([*CTL, "wait", "--whole", "--root", str(root)])
        time.sleep(1.0)
        checked = daemon.target(entries[size // 2])["checked_at"]
        saved = time.perf_counter()
        path.write_text(text.replace("1.0", "2.0  # more"), encoding="utf-8")
        believed(daemon.asked(entries[size // 2]), checked)
        comment = time.perf_counter() - saved
        for _more in range(300 - len(answers)):
            asked = time.perf_counter()
            daemon.ask("/v1/status?most=60", "text/plain")
            answers.append(time.perf_counter() - asked)
    finally:
        daemon.stop()
    answers.sort()
    return {
        "first_idle_after_s": first,
        "idle_after_s": again,
        "rebuilt": log.count('"validating"'),
        "affected_ms": affected,
        "edit_s": round(edit, 3),
        "comment_edit_s": round(comment, 3),
        "status_p50_ms": round(1000 * answers[len(answers) // 2], 2),
        "status_p99_ms": round(1000 * answers[int(len(answers) * 0.99)], 2),
        "rss_mb": round(resident / 1e6, 1),
        "family": len(family),
        "idle_cpu_percent": round(100 * idle, 2),
    }


def _started(root: Path) -> tuple[Running, float]:
    """A daemon that has just become idle, and the seconds that took."""
    daemon = Running(root)
    began = time.perf_counter()
    while b"idle" not in daemon.ask("/v1/status", "text/plain"):
        time.sleep(0.01)
    return daemon, round(daemon.start_s + time.perf_counter() - began, 2)


async def _affected(root: Path, entry: str) -> float:
    """Milliseconds from a watcher's word to the orders, in a service that knows all targets."""
    async with Store.open(places.state(str(root), "pcv.sqlite")) as store:
        service = app._service(app.load(str(root)), store, lambda _status, _brief: None)
        service._plan.handle(await service._recover())
        service.desk.brief(60)
        path = root / entry.partition(":")[0]
        path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        began = time.perf_counter()
        orders = [
            order
            for event in await service._understand(Changed(frozenset({str(path)})))
            for order in service._plan.handle(event)
        ]
        service.desk.brief(60)
        took = time.perf_counter() - began
        path.write_text(path.read_text(encoding="utf-8")[:-1], encoding="utf-8")
    assert orders
    return round(1000 * took, 2)


def plot(scales: dict[str, dict[str, Any]]) -> None:
    """Cost against the number of targets, as engine.png."""
    sizes = [int(size) for size in scales]

    def column(name: str, factor: float = 1) -> list[float]:
        return [factor * scales[str(size)][name] for size in sizes]

    saves = {
        "know what is affected": column("affected_ms"),
        "comment edit to fresh verdict": column("comment_edit_s", 1000),
        "edit to first verdict": column("edit_s", 1000),
    }
    answers = {"p50": column("status_p50_ms"), "p99": column("status_p99_ms")}
    daemon = {"start, s": column("idle_after_s"), "memory, MB": column("rss_mb")}
    draw(
        "engine.png",
        sizes,
        "targets",
        [
            Panel("one save", "ms", saves),
            Panel("pcvctl status while building", "ms", answers),
            Panel("the daemon", "", daemon),
        ],
    )


if __name__ == "__main__":
    main()
