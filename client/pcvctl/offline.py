"""The standing answer without a daemon: its last `.pcv/status.json`, none of it fresh any more."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

from pcv_config import places
from pcvctl import Trouble, exits, jsontext, names, render, terminal

_NOTHING = """Nothing has been checked in {root} yet.
Run `pcvctl check` for one round, or `pcvctl start` for a daemon that checks at every save.
"""


def show(root: str, wanted: list[str], as_json: bool, screen: terminal.Terminal) -> int:
    """Print what was last recorded for the targets `wanted` (none: all), as stale; returns the exit code.

    Raises Trouble where the record can't be read or knows no such target.
    """
    last = recorded(root)
    status = stale(last or {"schema": exits.SCHEMA, "root": root, "targets": [], "problems": []})
    if last is not None:
        status = narrowed(status, wanted)
    if as_json:
        terminal.put(jsontext.text(status))
    elif last is None:
        terminal.put(_NOTHING.format(root=root))
    else:
        terminal.put(
            render.render(
                status, now=time.time(), width=screen.width, color=screen.color, unicode=screen.unicode
            )
        )
    return exits.exit_code(status)


def recorded(root: str) -> dict[str, Any] | None:
    """The status as it was last written; None where nothing is yet. Raises Trouble where it can't be read."""
    path = places.state(root, "status.json")
    try:
        with open(path, encoding="utf-8") as file:
            status = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise Trouble(
            f"{path} is damaged ({error})", "run `pcvctl check`: it writes the file afresh"
        ) from None
    if (
        not isinstance(status, dict)
        or status.get("schema") != exits.SCHEMA
        or not _are_targets(status.get("targets"))
    ):
        raise Trouble(
            f"{path} is no status of schema {exits.SCHEMA}: another version of pcv wrote it",
            "run `pcvctl check`: it writes the file afresh",
        )
    return status


def stale(status: dict[str, Any]) -> dict[str, Any]:
    """`status` as it must be read when nobody watches: no target fresh, none being built, no daemon."""
    daemon = status.get("daemon")
    version = daemon.get("version") if isinstance(daemon, dict) else None
    targets = [{**target, "fresh": False, "state": "idle"} for target in status["targets"]]
    return {
        **status,
        "daemon": {"pid": None, "state": "down", "version": version, "uptime_s": 0.0},
        "summary": summary(targets),
        "asking": [],
        "targets": targets,
    }


def narrowed(status: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    """`status` with the targets `wanted` only (none: all of them). Raises Trouble for an unknown name."""
    if not wanted:
        return status
    held = {str(target.get("target")): target for target in status["targets"]}
    for name in wanted:
        if name not in held:
            raise Trouble(*names.unknown(name, held))
    targets = [held[name] for name in dict.fromkeys(wanted)]
    return {**status, "summary": summary(targets), "targets": targets}


def summary(targets: list[dict[str, Any]]) -> dict[str, int]:
    """The status JSON's summary of `targets`."""
    verdicts = Counter(str(target.get("verdict")) for target in targets)
    return {
        "targets": len(targets),
        **{verdict: verdicts[verdict] for verdict in render.VERDICTS},
        "stale": sum(target.get("fresh") is not True for target in targets),
    }


def _are_targets(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(target, dict) for target in value)
