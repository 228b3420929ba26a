"""`pcvctl status`: the standing answer, as the daemon renders it.

Light by rule: the daemon makes the table and names the exit code, so nothing is parsed or rendered here. Only
without a daemon (or to show its error) are heavier modules imported.
"""

from __future__ import annotations

from pcv_config import places
from pcvctl import door, project, terminal

TYPE_CHECKING = False  # typing's own constant would cost the import of typing
if TYPE_CHECKING:
    import argparse

_ALL = 1 << 30


class Question:
    """What `status` was asked: `fresh` waits until everything pending is judged, `targets` narrows it, `all`
    lists also those of many targets that there is nothing to say of.
    """

    __slots__ = ("all", "fresh", "json", "no_color", "root", "targets")

    def __init__(self) -> None:
        self.root: str | None = None
        self.json = False
        self.no_color = False
        self.fresh = False
        self.all = False
        self.targets: list[str] = []


def parse(arguments: list[str]) -> Question | None:
    """The question in `arguments`, or None where the full parser must see them (help, mistakes)."""
    question = Question()
    flags = {"--json": "json", "--no-color": "no_color", "--fresh": "fresh", "--all": "all"}
    rest = iter(arguments)
    for argument in rest:
        if argument in flags:
            setattr(question, flags[argument], True)
        elif argument == "--root":
            question.root = next(rest, None)
            if question.root is None:
                return None
        elif argument.startswith("--root="):
            question.root = argument[7:]
        elif argument.startswith("-"):
            return None
        else:
            question.targets.append(argument)
    return question


def run(options: argparse.Namespace) -> int:
    """`status` as the full parser understood it."""
    question = Question()
    for name in Question.__slots__:
        setattr(question, name, getattr(options, name))
    return answer(question)


def answer(question: Question) -> int:
    """Print the standing answer and return the exit code that belongs to it.

    Raises Trouble where there is no project, or a daemon that makes no sense.
    """
    root = project.root_of(question.root, lived_in=True)
    screen = terminal.terminal(question.no_color)
    try:
        response = door.ask(
            places.socket_path(root),
            "GET",
            _path(question, screen),
            accept="application/json" if question.json else "text/plain",
            timeout=None if question.fresh else door.ANSWER_S,
        )
    except door.NoDaemon:
        from pcvctl import offline

        return offline.show(root, question.targets, question.json, screen)
    if response.status != 200:
        from pcvctl.daemon import refusal

        raise refusal(response)
    code = _exit_code(response)
    terminal.put_utf8(response.body)
    return code


def _path(question: Question, screen: terminal.Terminal) -> str:
    query = f"/v1/status?width={screen.width}&color={screen.color:d}&unicode={screen.unicode:d}"
    if question.all:
        query += f"&most={_ALL}"
    if question.fresh:
        query += "&fresh=1"
    return query + "".join(f"&target={door.quoted(name)}" for name in question.targets)


def _exit_code(response: door.Response) -> int:
    # An answer that does not say what it amounts to must not pass for agreement.
    code = response.headers.get("x-pcv-exit", "")
    if not (code.isascii() and code.isdigit() and int(code) < 256):
        raise door.DoorError(
            f"the daemon's answer names no exit code (X-Pcv-Exit: {code!r})",
            "is it of another version? run `pcvctl restart`",
        )
    return int(code)
