"""The running daemon as the client's commands see it: its verbs, in JSON, through its door."""

from __future__ import annotations

import json
import time
from typing import Any

from pcv_config import places
from pcvctl import door, exits, jsontext
from pcvctl.door import DoorError, Response

_FOUND_S = 120.0  # a recheck of all targets waits until it is known which there are
_VARIED_S = 600.0
_LEG_S = 60.0  # one request of a long wait: a daemon that hangs is noticed within it


class Daemon:
    """The daemon of the project at `root`.

    Every verb raises NoDaemon where none runs, DoorError where it refuses or makes no sense.
    """

    def __init__(self, root: str) -> None:
        self.socket = places.socket_path(root)

    def status(self, timeout: float = door.ANSWER_S) -> dict[str, Any]:
        """The status JSON as it stands, without waiting for anything."""
        return _object(self._ask("GET", "/v1/status", None, timeout))

    def itself(self, timeout: float = door.ANSWER_S) -> dict[str, Any]:
        """What the status JSON says of the daemon, without its thousands of targets. It answers once it has
        recalled what it knows of them.
        """
        daemon = _object(self._ask("GET", "/v1/status?most=1", None, timeout)).get("daemon")
        if not isinstance(daemon, dict):
            raise DoorError("the daemon says nothing of itself", "run `pcvctl restart`")
        return daemon

    def pid(self, timeout: float = door.ANSWER_S) -> int | None:
        """The daemon's process id, or None where it does not say."""
        pid = self.itself(timeout).get("pid")
        return pid if isinstance(pid, int) else None

    def recheck(self, targets: list[str]) -> int:
        """Have `targets` (none: all) built and compared again; returns the ticket to wait for."""
        ticket = _object(self._ask("POST", "/v1/recheck", {"targets": targets or None}, _FOUND_S)).get(
            "ticket"
        )
        if not isinstance(ticket, int):
            raise DoorError("the daemon took the recheck, but gave no ticket for it", "run `pcvctl restart`")
        return ticket

    def vary(self, target: str, variations: list[str]) -> None:
        """Have `variations` tried on a target."""
        body = {"targets": [target], "variations": variations}
        self._ask("POST", "/v1/vary", body, _VARIED_S)

    def wait(
        self, ticket: int | None, timeout: float | None, *, explained: bool = False, whole: bool = False
    ) -> tuple[bool, dict[str, Any]]:
        """Wait until `ticket` (None: everything pending) is judged, at most `timeout` seconds; with
        `explained`, until it is known as well what differences come from; with `whole`, until all was built
        under every schedule.

        Returns whether it was, and the status JSON as it then stood.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            leg = _LEG_S if deadline is None else max(0.0, min(_LEG_S, deadline - time.monotonic()))
            body = {"ticket": ticket, "timeout_s": leg, "explained": explained, "whole": whole}
            response = self._ask("POST", "/v1/wait", body, leg + door.ANSWER_S, accepted=(200, 408))
            judged = response.status == 200
            if judged or (deadline is not None and time.monotonic() >= deadline):
                return judged, _object(response)

    def stop(self) -> None:
        """Ask the daemon to end in order; it answers before it has."""
        self._ask("POST", "/v1/stop", {})

    def _ask(
        self,
        method: str,
        target: str,
        payload: dict[str, Any] | None,
        timeout: float = door.ANSWER_S,
        accepted: tuple[int, ...] = (200, 202),
    ) -> Response:
        body = None if payload is None else json.dumps(payload).encode()
        response = door.ask(self.socket, method, target, body=body, timeout=timeout)
        if response.status not in accepted:
            raise refusal(response)
        return response


def refusal(response: Response) -> DoorError:
    """The daemon's own words for why it did not do what was asked."""
    try:
        said = jsontext.trouble_of(json.loads(response.body), exits.TROUBLE)
    except ValueError:
        said = None
    if said is None:
        return DoorError(f"the daemon answered {response.status} and did not say why", "see `pcvctl logs`")
    return DoorError(said.message, said.hint, file=said.file, line=said.line)


def _object(response: Response) -> dict[str, Any]:
    try:
        value = json.loads(response.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise DoorError(
            "the daemon's answer is no JSON object", "is it of another version? run `pcvctl restart`"
        )
    return value
