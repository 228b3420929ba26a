"""`pcvd serve --root DIR` is the daemon; `pcvd check --root DIR [TARGET …]` one round in the foreground,
`pcvd ask --root DIR QUESTION` answers from the records, `pcvd kernels --root DIR TARGET` draws a cut. People
use `pcvctl`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import traceback
from typing import Any

from pcvd import __version__, app, jsontext
from pcvd.core.errors import PcvError

_TROUBLE = 2


def main() -> None:
    """Run the command line, and exit with the code that the verdict, or the trouble, has."""
    arguments = _parser().parse_args()
    root = os.path.realpath(arguments.root)
    try:
        if arguments.verb == "serve":
            code = asyncio.run(app.daemon(root))
        elif arguments.verb == "ask":
            code = asyncio.run(app.ask(root, arguments.question, _print))
        elif arguments.verb == "kernels":
            code = asyncio.run(app.kernels(root, arguments.target, arguments.policy, _print))
        else:
            code = asyncio.run(
                app.check(root, arguments.targets, _print, quiet=arguments.quiet, vary=arguments.vary)
            )
    except* PcvError as errors:
        as_json = arguments.verb in {"ask", "kernels"} or (arguments.verb == "check" and arguments.json)
        _complain(_flat(errors), as_json=as_json)
        code = _TROUBLE
    except* KeyboardInterrupt:
        code = 130
    except* Exception as faults:  # noqa: BLE001  # Python's own exit code for these, 1, would mean a divergence
        traceback.print_exception(faults)
        code = _TROUBLE
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pcvd", description=__doc__)
    parser.add_argument("--version", action="version", version=f"pcvd {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, what in (
        ("serve", "watch the project and keep its verdicts"),
        ("check", "hold one round and print the status JSON"),
        ("ask", "answer one question about the records, in JSON"),
        ("kernels", "tell how a target is cut into kernels, in JSON"),
    ):
        verb = verbs.add_parser(name, help=what)
        verb.add_argument("--root", default=".", help="the project's folder (default: this one)")
        if name == "ask":
            verb.add_argument("question", help="as at the door: explain?target=models/mlp.py:forward")
        if name == "kernels":
            verb.add_argument("--policy", help="where to cut (default: as pcv.toml says)")
            verb.add_argument("target", help="as in models/mlp.py:forward")
        if name == "check":
            verb.add_argument("--json", action="store_true", help="say as JSON what is wrong, too")
            verb.add_argument("--quiet", action="store_true", help="no word about how far it is")
            verb.add_argument(
                "--vary", action="append", default=[], help="a variation to try on them as well"
            )
            verb.add_argument("targets", nargs="*", help="the targets to check (default: all)")
    return parser


def _complain(errors: list[PcvError], *, as_json: bool) -> None:
    if as_json:  # for a program, which wants one answer and puts it in words of its own
        sys.stdout.write(jsontext.trouble(errors[0]).decode() + "\n")
        return
    for error in errors:
        print(f"pcvd: {error}", file=sys.stderr)


def _flat(group: BaseExceptionGroup[Any]) -> list[Any]:
    return [
        one
        for error in group.exceptions
        for one in (_flat(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


def _print(document: dict[str, Any]) -> None:
    sys.stdout.write(jsontext.encode(document).decode() + "\n")


if __name__ == "__main__":
    main()
