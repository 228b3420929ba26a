"""Questions about a project: through the daemon where one runs, else through one process of its package."""

from __future__ import annotations

import json
from typing import Any

from pcv_config import places
from pcvctl import Trouble, child, door, exits, jsontext
from pcvctl.daemon import refusal

_PATIENCE_S = 300.0
"""A large difference takes a while: disassembling, comparing megabytes of text."""


def ask(root: str, question: str, **asked: str | None) -> dict[str, Any]:
    """The answer to `question` (`explain`, `diff`, `history`, `repro`) about the project at `root`.

    Parameters that are None are left out. Raises Trouble where there is no answer.
    """
    spelt = f"{question}?{parameters(**asked)}"
    return either(root, f"/v1/{spelt}", child.pcvd("ask", "--root", root, "--", spelt))


def parameters(**asked: str | None) -> str:
    """Parameters as a URL has them; those that are None are left out."""
    return "&".join(f"{name}={door.quoted(value)}" for name, value in asked.items() if value is not None)


def either(root: str, path: str, command: list[str]) -> dict[str, Any]:
    """The daemon's answer at `path`; where none runs, that of a process that this `command` starts.

    Raises Trouble where there is no answer.
    """
    try:
        answer = _from_daemon(root, path)
    except door.NoDaemon:
        answer = _from_process(command)
    if not isinstance(answer, dict) or answer.get("schema") != exits.SCHEMA:
        raise Trouble(
            "the answer is none that this version of pcvctl knows", "run `pcvctl restart` after an upgrade"
        )
    return answer


def _from_daemon(root: str, path: str) -> object:
    response = door.ask(places.socket_path(root), "GET", path, timeout=_PATIENCE_S)
    if response.status != 200:
        raise refusal(response)
    return _parsed(response.body)


def _from_process(command: list[str]) -> object:
    ended = child.run(command, _PATIENCE_S)
    if ended.code is None:
        raise Trouble(f"there was no answer within {_PATIENCE_S:g} s", code=exits.TIMED_OUT)
    answer = _parsed(ended.output)
    if ended.code == 0:
        return answer
    raise jsontext.trouble_of(answer, exits.TROUBLE) or Trouble(
        f"there was no answer (exit code {ended.code})"
    )


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
