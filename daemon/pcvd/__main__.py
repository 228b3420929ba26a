"""`pcvd serve --root DIR` is the daemon; `pcvd check --root DIR [TARGET …]` one round in the foreground.
People use `pcvctl`.
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
        else:
            code = asyncio.run(app.check(root, arguments.targets, _print))
    except* PcvError as errors:
        for error in _flat(errors):
            print(f"pcvd: {error}", file=sys.stderr)
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
    ):
        verb = verbs.add_parser(name, help=what)
        verb.add_argument("--root", default=".", help="the project's folder (default: this one)")
        if name == "check":
            verb.add_argument("--json", action="store_true", help="print the status as JSON (always so)")
            verb.add_argument("targets", nargs="*", help="the targets to check (default: all)")
    return parser


def _flat(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    return [
        one
        for error in group.exceptions
        for one in (_flat(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


def _print(document: dict[str, Any]) -> None:
    sys.stdout.write(jsontext.encode(document).decode() + "\n")


if __name__ == "__main__":
    main()
