"""The way in: `pcvctl status` on the short path, everything else through the command line's full parser."""

from __future__ import annotations

import os
import sys

from pcvctl import Trouble


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` is the command line without the program's name."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return _run(arguments)
    except Trouble as trouble:
        return _complain(trouble, arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `pcvctl logs | head`: the reader has gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except OSError as error:
        return _complain(Trouble(error.strerror or str(error), file=_name(error)), arguments)
    except Exception as error:  # noqa: BLE001  # Python's own exit code for these, 1, would mean a divergence
        import traceback

        traceback.print_exc()
        return _complain(Trouble(f"a fault inside pcvctl: {type(error).__name__}: {error}"), arguments)


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["status"]:
        from pcvctl import status

        question = status.parse(arguments[1:])
        if question is not None:
            return status.answer(question)
    from pcvctl import cli

    return cli.main(arguments)


def _complain(trouble: Trouble, arguments: list[str]) -> int:
    """Say what is wrong on standard error and, where JSON was asked for, as JSON on standard output too."""
    from pcvctl import terminal

    if "--json" in arguments:
        from pcvctl import jsontext

        terminal.put(jsontext.error(trouble))
    terminal.complain(str(trouble), trouble.hint)
    return trouble.code


def _name(error: OSError) -> str | None:
    return os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None


if __name__ == "__main__":
    sys.exit(main())
