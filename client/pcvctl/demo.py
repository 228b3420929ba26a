"""`pcvctl demo`: the tour. A small network built every way, and an edit that the daemon notices."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import textwrap
import time
from typing import TYPE_CHECKING, Any

from pcv_config import demonstration
from pcvctl import Trouble, exits, jsontext, lifecycle, render, rounds, schedules, table, terminal
from pcvctl.daemon import Daemon
from pcvctl.door import NoDaemon

if TYPE_CHECKING:
    import argparse

RATE = "0.02"
"""What the tour sets the learning rate to."""

_POLL_S = 0.01
_SEEN_S = 30.0  # within which a save must turn the verdict stale
_JUDGED_S = 300.0  # within which everything pending must be judged

_LEGEND = (
    "Each schedule is compared with serial, which builds one target after another. Stages count as "
    "identical when all targets agree; outputs are compared byte for byte on the same seeded inputs "
    "(max diff has a tolerance of 1e-6); stored counts the artifacts read back from disk; at once is the "
    "most builds in flight at one moment. Speed-up is per build, since a schedule with more workers than "
    "targets builds copies; builds as short as these make it vary from run to run."
)

_SEVERITY = (exits.AGREED, exits.OPEN, exits.TIMED_OUT, exits.TROUBLE, exits.DIFFERENT)


def run(options: argparse.Namespace) -> int:
    """The whole tour; the exit code is the verdict's, before and after the edit."""
    temporary = options.folder is None
    folder = os.path.realpath(tempfile.mkdtemp(prefix="pcv-demo-") if temporary else options.folder)
    kept = options.keep or not temporary
    try:
        code = _Tour(folder, options).walk()
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
    if kept and not options.json:
        terminal.put(f"\nThe project is in {folder}.\n")
    return code


class _Tour:
    """One tour in one folder; what it measured is kept for `--json`."""

    def __init__(self, folder: str, options: argparse.Namespace) -> None:
        self.folder = folder
        self.silent: bool = options.json
        self.screen = terminal.terminal(options.no_color)
        self.edit: dict[str, float] = {}
        self.after: dict[str, Any] = {}
        self.pid: int | None = None  # of the daemon that this tour started

    def walk(self) -> int:
        try:
            demonstration.copy_to(self.folder)
        except OSError as error:
            raise Trouble(str(error), "name another folder, or none for a temporary one") from None
        self.say(f"A four-layer network, three targets, in {self.folder}.")
        self.title("1. Build it every way, and compare")
        status, code = rounds.foreground(self.folder, [], quiet=self.silent)
        self.show_schedules(status)
        self.show_targets(status)
        if not status.get("targets"):
            return code
        self.title("2. Edit it, and watch")
        code = _worse(code, self.watch_an_edit())
        if self.silent:
            terminal.put(
                jsontext.text({"check": status, "edit": self.edit, "after": self.after, "exit": code})
            )
        return code

    def show_schedules(self, status: dict[str, Any]) -> None:
        combined = schedules.of(status)
        screen = self.screen
        for line in schedules.lines(combined, screen.width, color=screen.color, unicode=screen.unicode):
            self.say(line)
        self.say("")
        for note in schedules.notes(combined):
            self.prose(note)
        self.prose(_LEGEND)
        repeats = [
            (target.get("evidence") or {}).get("repeat_runs_equal") for target in status.get("targets") or []
        ]
        if repeats and all(repeats):
            self.prose("Every executable ran twice on the same inputs and gave the same bytes.")
        elif False in repeats:
            self.prose("Some executable ran twice on the same inputs and gave other bytes the second time.")
        self.say("")

    def show_targets(self, status: dict[str, Any]) -> None:
        screen = self.screen
        self.say(
            render.render(
                status, now=time.time(), width=screen.width, color=screen.color, unicode=screen.unicode
            ).rstrip("\n")
        )

    def watch_an_edit(self) -> int:
        try:
            # In the `try`: a Ctrl-C just after the start must not leave a daemon behind.
            self.pid, _ = lifecycle.launch(self.folder)
            self.say(f"The daemon runs (pid {self.pid}).")
            daemon = Daemon(self.folder)
            before = self.judged(daemon)
            path = demonstration.edit(self.folder, RATE)
            saved = time.monotonic()
            self.say(f"Saved {os.path.relpath(path, self.folder)} with LEARNING_RATE = {RATE}.")
            noticed = _await_notice(daemon, before, saved + _SEEN_S)
            self.edit["stale_s"] = time.monotonic() - saved
            self.say(f"  after {self.edit['stale_s'] * 1000:6.0f} ms  {self.summary(noticed)}")
            self.after = after = self.judged(daemon)
            self.edit["fresh_s"] = time.monotonic() - saved
            self.say(f"  after {self.edit['fresh_s'] * 1000:6.0f} ms  {self.summary(after)}")
            self.say("")
            self.show_targets(after)
            code = exits.exit_code(after)
        finally:
            ended = self.end()
        return _worse(code, ended)

    def judged(self, daemon: Daemon) -> dict[str, Any]:
        done, status = daemon.wait(None, _JUDGED_S)
        if not done:
            raise Trouble(f"the daemon had not judged everything after {_JUDGED_S:g} s", code=exits.TIMED_OUT)
        return status

    def end(self) -> int:
        """Stop the daemon; what goes wrong is said, not raised, lest it hide a better reason to leave."""
        try:
            lifecycle.halt(self.folder)
        except NoDaemon:
            return exits.AGREED
        except Trouble as trouble:
            terminal.complain(trouble.message, trouble.hint)
            if self.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGTERM)
            return trouble.code
        self.say("\nThe daemon is stopped.")
        return exits.AGREED

    def summary(self, status: dict[str, Any]) -> str:
        return render.summary(status.get("targets") or [], unicode=self.screen.unicode)

    def title(self, text: str) -> None:
        self.say("\n" + table.paint(text, table.BOLD, self.screen.color) + "\n")

    def prose(self, text: str) -> None:
        for line in textwrap.wrap(text, min(self.screen.width, 100)):
            self.say(line)

    def say(self, text: str) -> None:
        if not self.silent:
            terminal.put(text + "\n")


def _await_notice(daemon: Daemon, before: dict[str, Any], deadline: float) -> dict[str, Any]:
    """Poll until some target is no longer fresh; returns the status as it stands then.

    A rebuild can be over between two polls, so a verdict with a new date counts too. Raises Trouble at
    `deadline`.
    """
    dates = {target["target"]: target.get("checked_at") for target in before["targets"]}
    while time.monotonic() < deadline:
        status = daemon.status()
        if any(
            not target.get("fresh") or dates.get(target["target"]) != target.get("checked_at")
            for target in status["targets"]
        ):
            return status
        time.sleep(_POLL_S)
    raise Trouble(f"the daemon did not notice the edit within {_SEEN_S:g} s", code=exits.TIMED_OUT)


def _worse(one: int, other: int) -> int:
    return max(one, other, key=lambda code: _SEVERITY.index(code) if code in _SEVERITY else len(_SEVERITY))
