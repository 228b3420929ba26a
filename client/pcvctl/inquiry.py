"""Questions about the records: through the daemon where one runs, else through one process of its package
that reads them.
"""

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
    given = "&".join(f"{name}={door.quoted(value)}" for name, value in asked.items() if value is not None)
    try:
        answer = _from_daemon(root, f"{question}?{given}")
    except door.NoDaemon:
        answer = _from_records(root, f"{question}?{given}")
    if not isinstance(answer, dict) or answer.get("schema") != exits.SCHEMA:
        raise Trouble(
            "the answer is none that this version of pcvctl knows", "run `pcvctl restart` after an upgrade"
        )
    return answer


def _from_daemon(root: str, question: str) -> object:
    response = door.ask(places.socket_path(root), "GET", f"/v1/{question}", timeout=_PATIENCE_S)
    if response.status != 200:
        raise refusal(response)
    return _parsed(response.body)


def _from_records(root: str, question: str) -> object:
    ended = child.run(child.pcvd("ask", "--root", root, "--", question), _PATIENCE_S)
    if ended.code is None:
        raise Trouble(f"there was no answer within {_PATIENCE_S:g} s", code=exits.TIMED_OUT)
    answer = _parsed(ended.output)
    if ended.code == 0:
        return answer
    raise jsontext.trouble_of(answer, exits.TROUBLE) or Trouble(
        f"the records could not be asked (exit code {ended.code})"
    )


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
