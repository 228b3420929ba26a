"""`check`, `recheck` and `wait`: have targets judged now, through the daemon or by one round without it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from pcvctl import Trouble, child, door, exits, jsontext, offline, project, render, terminal
from pcvctl.daemon import Daemon

if TYPE_CHECKING:
    import argparse


def check(options: argparse.Namespace) -> int:
    """One round: with the daemon where one runs, else in the foreground."""
    root = project.root_of(options.root)
    if not options.no_daemon:
        try:
            return _through(Daemon(root), options)
        except door.NoDaemon:
            if options.no_wait:
                raise
    elif options.no_wait:
        raise Trouble("--no-wait leaves the work to the daemon, so it excludes --no-daemon")
    status, code = foreground(root, options.targets, options.timeout)
    if status is not None:
        show(status, options)
    return code


def recheck(options: argparse.Namespace) -> int:
    """Have the daemon build and compare again what has not even changed."""
    return _through(Daemon(project.root_of(options.root)), options)


def wait(options: argparse.Namespace) -> int:
    """Wait until the daemon has judged everything pending."""
    daemon = Daemon(project.root_of(options.root))
    return _answer(*daemon.wait(None, options.timeout), options)


def foreground(
    root: str, targets: list[str], timeout: float | None = None
) -> tuple[dict[str, Any] | None, int]:
    """One round without a daemon: the status JSON (None where it came to none) and the exit code.

    Progress and errors go to standard error as they come.
    """
    ended = child.run(child.pcvd("check", "--root", root, "--json", *targets), timeout)
    if ended.code is None:
        terminal.complain(
            f"the round was not over after {timeout:g} s and was ended", "give it longer with --timeout"
        )
        return None, exits.TIMED_OUT
    if ended.code < 0:
        terminal.complain(
            f"the round was ended by signal {-ended.code}", "nothing of it was recorded; run it again"
        )
        return None, 128 - ended.code
    try:
        status = json.loads(ended.output)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        # It said on standard error what is wrong. Python itself exits with 1 when it dies of an exception:
        # without a verdict that is trouble, no divergence; and 0 is no agreement.
        return None, ended.code if ended.code > exits.DIFFERENT else exits.TROUBLE
    return status, ended.code or exits.exit_code(status)


def show(status: dict[str, Any], options: argparse.Namespace) -> None:
    """Print a status as JSON or as a table."""
    if options.json:
        terminal.put(jsontext.text(status))
        return
    screen = terminal.terminal(options.no_color)
    terminal.put(
        render.render(status, now=time.time(), width=screen.width, color=screen.color, unicode=screen.unicode)
    )


def _through(daemon: Daemon, options: argparse.Namespace) -> int:
    ticket = daemon.recheck(options.targets)
    if options.no_wait:
        if options.json:
            terminal.put(json.dumps({"ticket": ticket}) + "\n")
        else:
            terminal.put(f"Handed to the daemon as ticket {ticket}; `pcvctl wait` waits for it.\n")
        return exits.BUSY
    return _answer(*daemon.wait(ticket, options.timeout), options)


def _answer(judged: bool, status: dict[str, Any], options: argparse.Namespace) -> int:
    targets = getattr(options, "targets", [])
    if targets and isinstance(status.get("targets"), list):
        status = offline.narrowed(status, targets)
    show(status, options)
    if judged:
        return exits.exit_code(status)
    terminal.complain(
        f"not everything was judged within {options.timeout:g} s", "the daemon goes on; ask again later"
    )
    return exits.TIMED_OUT
