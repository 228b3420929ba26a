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
    quiet = options.json or options.quiet
    status, code = foreground(root, options.targets, options.timeout, quiet=quiet)
    show(status, options)
    daemon = status.get("daemon")
    if not options.json and isinstance(daemon, dict) and daemon.get("pid") is not None:
        terminal.put(
            f"Judged by this command: the daemon (pid {daemon['pid']}) keeps to verdicts of its own.\n"
        )
    return code


def recheck(options: argparse.Namespace) -> int:
    """Have the daemon build and compare again what has not even changed."""
    return _through(Daemon(project.root_of(options.root, lived_in=True)), options)


def wait(options: argparse.Namespace) -> int:
    """Wait until the daemon has judged everything pending; with `--whole`, under every schedule."""
    daemon = Daemon(project.root_of(options.root, lived_in=True))
    return _answer(*daemon.wait(None, options.timeout, whole=options.whole), options)


def foreground(
    root: str,
    targets: list[str],
    timeout: float | None = None,
    *,
    quiet: bool = False,
    vary: list[str] | None = None,
) -> tuple[dict[str, Any], int]:
    """One round without a daemon: the status JSON and the exit code.

    How far it is goes to standard error, unless `quiet`. `vary`: variations to try as well. Raises Trouble
    where it comes to no status.
    """
    flags = ["--json", *(["--quiet"] if quiet else []), *(f"--vary={name}" for name in vary or ())]
    ended = child.run(child.pcvd("check", "--root", root, *flags, "--", *targets), timeout)
    if ended.code is None:
        message = f"the round was not over after {timeout:g} s and was ended"
        raise Trouble(message, "give it longer with --timeout", exits.TIMED_OUT)
    if ended.code < 0:
        message = f"the round was ended by signal {-ended.code}"
        raise Trouble(message, "nothing of it was recorded; run it again", 128 - ended.code)
    try:
        status = json.loads(ended.output)
    except ValueError:
        status = None
    if isinstance(status, dict) and "error" not in status:
        return status, ended.code or exits.exit_code(status)
    # Python itself exits with 1 when it dies of an exception: without a verdict that is trouble, no
    # divergence; and 0 is no agreement.
    code = ended.code if ended.code > exits.DIFFERENT else exits.TROUBLE
    message = f"the round came to no verdict (exit code {ended.code})"
    raise jsontext.trouble_of(status, code) or Trouble(message, "`pcvctl logs --check` shows its log", code)


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
    return _answer(*daemon.wait(ticket, options.timeout, explained=True), options)


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
