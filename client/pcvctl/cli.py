"""The command line: verbs, their options, and which function answers each."""

from __future__ import annotations

import argparse
import math
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from pcvctl import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_EXITS = """\
exit codes:
  0  all agree or are equivalent, and fresh
  1  some target diverged or is unstable
  2  usage, trouble, or no daemon
  3  inconclusive, stale, or nothing checked yet
  4  busy (with --no-wait)
  6  timed out
"""


def main(arguments: list[str]) -> int:
    """Parse `arguments`, run the verb, return its exit code. Raises Trouble, usage errors included."""
    parser = _parser()
    options, left = parser.parse_known_args(arguments)
    if left and getattr(options, "stage", "") is None and not left[0].startswith("-"):
        options.stage = left.pop(0)  # argparse takes no optional argument that stands behind a flag
    if left:
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if options.run is None:
        parser.print_help(sys.stderr)
        raise Trouble("a command is missing")
    # As exceptions, so that whatever a command has started is ended on the way out.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _leave)
    code: int = options.run(options)
    return code


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


class _Parser(argparse.ArgumentParser):
    # argparse's own leaves at once: whoever asked for JSON would get none.
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        raise Trouble(message, f"`{self.prog} --help` explains it")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pcvctl",
        description="Does building JAX kernels in parallel give the same as building them one after another?",
        epilog=_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print pcv's version")
    _common(parser, root=None, json=False, no_color=False)
    parser.set_defaults(run=None)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = _verb(verbs, "demo", _demo, "a tour: build a small network every way, then watch an edit")
    demo.add_argument(
        "folder", nargs="?", metavar="DIR", help="where to put it (default: a temporary folder)"
    )
    demo.add_argument("--keep", action="store_true", help="keep the temporary folder")

    init = _verb(verbs, "init", _init, "write a pcv.toml to start from")
    init.add_argument("folder", nargs="?", metavar="DIR", help="the project's folder (default: this one)")

    check = _verb(verbs, "check", _check, "one round now, with the daemon if one runs, else without")
    _targets(check)
    check.add_argument("--no-daemon", action="store_true", help="leave a running daemon out of it")
    check.add_argument("-q", "--quiet", action="store_true", help="no word about how far it is")
    _patience(check)
    _no_wait(check)

    status = _verb(verbs, "status", _status, "the standing answer")
    _targets(status)
    status.add_argument("--fresh", action="store_true", help="wait until everything pending is judged")

    status.add_argument(
        "--all", action="store_true", help="list also those of many targets that simply agree"
    )

    wait = _verb(verbs, "wait", _wait, "wait until everything pending is judged")
    wait.add_argument(
        "--whole", action="store_true", help="until everything was built under every schedule, too"
    )
    _patience(wait)

    recheck = _verb(verbs, "recheck", _recheck, "have the daemon build and compare again, changed or not")
    _targets(recheck)
    _patience(recheck)
    _no_wait(recheck)

    explain = _verb(verbs, "explain", _explain, "why a verdict is what it is: a tree of differences")
    _target(explain)
    explain.add_argument("--ascii", action="store_true", help="draw the tree with ASCII characters")
    explain.add_argument(
        "--vary",
        action="append",
        metavar="NAME",
        help="build it with one thing changed: process, order, thread, hash-seed, memory-layout, neighbours,"
        " directory, affinity, or all",
    )
    explain.add_argument(
        "--repro", metavar="DIR", help="write a script that shows the difference without pcv"
    )
    explain.add_argument("--force", action="store_true", help="with --repro: into a folder that is not empty")

    diff = _verb(
        verbs, "diff", _diff, "the difference between two builds (0: none, 1: some, 3: not comparable)"
    )
    _target(diff)
    diff.add_argument(
        "stage", nargs="?", metavar="STAGE", help="jaxpr to output (default: the first that differs)"
    )
    diff.add_argument(
        "--schedule", nargs=2, metavar=("A", "B"), help="which runs (default: serial, one that differs)"
    )
    form = diff.add_mutually_exclusive_group()
    form.add_argument("--raw", action="store_true", help="the artifacts as the compiler gave them")
    form.add_argument(
        "--canonical", action="store_true", help="without what carries no meaning (the default)"
    )
    diff.add_argument("--part", metavar="NAME", help="only this part or kernel of the stage")
    diff.add_argument(
        "--tool", metavar="COMMAND", help="hand both sides as files to COMMAND, as in diffoscope"
    )

    history = _verb(
        verbs, "history", _history, "a target's verdicts over time, and what changed between them"
    )
    _target(history)
    history.add_argument("--limit", type=_limit, default=20, metavar="N", help="how many (default: 20)")

    kernels = _verb(verbs, "kernels", _kernels, "how a target is cut into kernels, and which feeds which")
    _target(kernels)
    kernels.add_argument(
        "--policy",
        metavar="NAME",
        help="auto, repeats, calls, ops or whole (default: `partition` in pcv.toml, else auto)",
    )
    picture = kernels.add_mutually_exclusive_group()
    picture.add_argument("--dot", action="store_true", help="print a graph for Graphviz")
    picture.add_argument("--svg", action="store_true", help="print a picture")

    _verb(verbs, "start", _start, "start the daemon in the background")
    _verb(verbs, "stop", _stop, "stop the daemon")
    _verb(verbs, "restart", _restart, "stop the daemon if one runs, and start one")
    _verb(verbs, "daemon", _serve, "run the daemon in the foreground")

    logs = _verb(verbs, "logs", _logs, "the daemon's log")
    logs.add_argument(
        "-n", "--lines", type=_lines, default=50, metavar="N", help="how many lines (default: 50)"
    )
    logs.add_argument("--check", action="store_true", help="the log of rounds that were held without it")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    return parser


def _verb(
    verbs: argparse._SubParsersAction[_Parser],  # it has no public name
    name: str,
    run: Callable[[argparse.Namespace], int],
    tells: str,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=tells, description=tells, allow_abbrev=False)
    # SUPPRESS: what stands before the verb (`pcvctl --root X check`) must not be overwritten by defaults.
    _common(parser, root=argparse.SUPPRESS, json=argparse.SUPPRESS, no_color=argparse.SUPPRESS)
    parser.set_defaults(run=run)
    return parser


def _common(
    parser: argparse.ArgumentParser, *, root: str | None, json: bool | str, no_color: bool | str
) -> None:
    parser.add_argument(
        "--root", metavar="DIR", default=root, help="the project's folder (default: this one or above)"
    )
    parser.add_argument("--json", action="store_true", default=json, help="print JSON")
    parser.add_argument(
        "--no-color", action="store_true", default=no_color, help="no colours (or set NO_COLOR)"
    )


def _targets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help="only these, as in models/mlp.py:forward"
    )


def _target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="as in models/mlp.py:forward")


def _patience(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=_seconds, metavar="S", help="give up after S seconds (exit code 6)")


def _no_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-wait", action="store_true", help="hand it to the daemon and return (exit code 4)"
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds")
    return value


def _lines(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines")
    return int(text)


def _limit(text: str) -> int:
    if not 1 <= _lines(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to 10000")
    return int(text)


class _Version(argparse.Action):
    # argparse's own wants the version beforehand; looking it up costs more than most commands.
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"pcv {version('pcv')}")
        except PackageNotFoundError:
            print("pcv, not installed (run from its sources)")
        parser.exit()


def _demo(options: argparse.Namespace) -> int:
    from pcvctl import demo

    return demo.run(options)


def _init(options: argparse.Namespace) -> int:
    from pcvctl import init

    return init.run(options)


def _check(options: argparse.Namespace) -> int:
    from pcvctl import rounds

    return rounds.check(options)


def _recheck(options: argparse.Namespace) -> int:
    from pcvctl import rounds

    return rounds.recheck(options)


def _wait(options: argparse.Namespace) -> int:
    from pcvctl import rounds

    return rounds.wait(options)


def _status(options: argparse.Namespace) -> int:
    from pcvctl import status

    return status.run(options)


def _explain(options: argparse.Namespace) -> int:
    from pcvctl import explain

    return explain.run(options)


def _diff(options: argparse.Namespace) -> int:
    from pcvctl import diff

    return diff.run(options)


def _history(options: argparse.Namespace) -> int:
    from pcvctl import history

    return history.run(options)


def _kernels(options: argparse.Namespace) -> int:
    from pcvctl import kernels

    return kernels.run(options)


def _start(options: argparse.Namespace) -> int:
    from pcvctl import lifecycle

    return lifecycle.start(options)


def _stop(options: argparse.Namespace) -> int:
    from pcvctl import lifecycle

    return lifecycle.stop(options)


def _restart(options: argparse.Namespace) -> int:
    from pcvctl import lifecycle

    return lifecycle.restart(options)


def _serve(options: argparse.Namespace) -> int:
    from pcvctl import lifecycle

    return lifecycle.serve(options)


def _logs(options: argparse.Namespace) -> int:
    from pcvctl import logs

    return logs.run(options)
