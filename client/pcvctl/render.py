"""A status JSON as a table for people. Pure; the daemon uses it too.

It shows whatever it is given: a field that is missing or of another kind becomes a dash, never an exception,
since the status of a broken project is the one that must be readable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcvctl import findings, standing, table
from pcvctl.standing import VERDICTS, Standing
from pcvctl.table import BOLD, DIM, YELLOW, Column
from pcvctl.values import duration, figure, items, mapping, moment, number, text, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["VERDICTS", "render", "summary"]

_NO_TARGETS = (
    'No targets yet: name one in pcv.toml ([[target]], entry = "models/mlp.py:forward")'
    " or put @pcv.target(...) on a function."
)

_FINDING = "No targets yet: it is being found out which there are."

_UNTIMED = ("serial", "control")
"""Schedules without a speed-up: the measure itself, and the same once more."""

_MOST_ASKED = 3
"""So many model files that are being imported are named."""

_TINY_S = 1.0
"""Builds that take less one after another are too short for their speed-up to be more than noise."""


def render(
    status: dict[str, Any],
    *,
    now: float | None,
    width: int = 100,
    color: bool = False,
    unicode: bool = False,
) -> str:
    """The whole answer as text that ends with a newline.

    `now` is the time in seconds since the epoch, or None for a text that is kept: it then holds dates and no
    ages. `width` is the terminal's columns; `color` allows ANSI colours and `unicode` marks beyond ASCII.
    """
    targets = _targets(status)
    lines: list[str] = []
    if targets:
        heading, *rows = table.lines(_columns(targets, now, unicode), width, color=color, unicode=unicode)
        lines.append(heading)
        for row, details in zip(rows, _details(targets, unicode), strict=True):
            lines.append(row)
            for said, style in details:
                lines += [table.paint(line, style, color) for line in table.wrapped(said, width, "    ")]
    elif not status.get("unlisted"):
        finding = mapping(status.get("daemon")).get("state") == "busy"
        lines += table.wrapped(_FINDING if finding else _NO_TARGETS, width, "")
    for said in _omitted(status):
        lines += [table.paint(line, DIM, color) for line in table.wrapped(said, width, "")]
    # What stands under a target already is not said again.
    told = {findings.failed(target) for target in targets}
    problems = [mapping(one) for one in items(status.get("problems"))]
    problems = [one for one in problems if findings.said(one) not in told]
    lines += [""] * bool(problems)
    for one in problems:
        for said, style in findings.problem(one, unicode):
            lines += [table.paint(line, style, color) for line in table.wrapped(said, width, "")]
    lines.append("")
    for said, style in _foot(status, targets, now, unicode):
        lines += [table.paint(line, style, color) for line in table.wrapped(said, width, "")]
    return "\n".join(lines) + "\n"


def _omitted(status: dict[str, Any]) -> Iterator[str]:
    """Of many targets only those are listed that there is something to say of."""
    unshown, unlisted = status.get("unshown"), status.get("unlisted")
    if isinstance(unshown, int) and unshown:
        yield f"and {unshown} more of which there is something to say: `pcvctl status --all` lists them"
    if isinstance(unlisted, int) and unlisted:
        yield f"and {unlisted} that agree: `pcvctl status --all` lists them"


def summary(targets: list[dict[str, Any]], problems: int = 0, *, unicode: bool = False) -> str:
    """One line that counts the targets of a status, each once, and its problems."""
    return standing.summary([Standing.of(target) for target in targets], problems, unicode=unicode)


def _targets(status: dict[str, Any]) -> list[dict[str, Any]]:
    return [target for target in items(status.get("targets")) if isinstance(target, dict)]


# -- the table -------------------------------------------------------------------------------------


def _columns(targets: list[dict[str, Any]], now: float | None, unicode: bool) -> list[Column]:
    standings = [Standing.of(target) for target in targets]
    styles = [one.style for one in standings]
    evidence = [mapping(target.get("evidence")) for target in targets]
    schedules = [mapping(one.get("schedules")) for one in evidence]
    return [
        Column("", [one.mark(unicode) for one in standings], styles),
        Column("target", [table.clean(text(target.get("target"))) for target in targets], floor=24),
        Column("verdict", [one.said for one in standings], styles),
        Column("now", [one.doing for one in standings]),
        Column("differs at", [table.clean(text(target.get("first_stage"))) for target in targets], leaves=6),
        Column("output", [_output(mapping(target.get("output"))) for target in targets], leaves=5),
        Column("schedules", [_under(one) for one in evidence], right=True, leaves=2),
        Column("at once", [_peak(one) for one in schedules], right=True, leaves=3),
        Column("rounds", [_count(one.get("rounds")) for one in evidence], right=True, leaves=1),
        Column(
            "checked",
            [_when(target.get("checked_at"), now) for target in targets],
            [DIM] * len(targets),
            True,
            leaves=4,
        ),
    ]


def _under(evidence: dict[str, Any]) -> str:
    """Under how many schedules the code was tried, as it is now."""
    tried = set(mapping(evidence.get("schedules"))).difference(texts(evidence.get("untraced")))
    return str(len(tried) or "")


def _output(output: dict[str, Any]) -> str:
    if output.get("bitwise") is True:
        return "bit-identical"
    if output.get("within_tolerance") is True:
        return "within tolerance"
    if not output:
        return ""
    return (
        f"off by {figure(output.get('max_abs'))}" if number(output.get("max_abs")) is not None else "differs"
    )


def _peak(schedules: dict[str, Any]) -> str:
    # Of this target; verdicts of an older version know only that of the whole run.
    found = [mapping(one) for one in schedules.values()]
    peaks = [one.get("own_in_flight", one.get("peak_in_flight")) for one in found]
    return str(max((peak for peak in peaks if isinstance(peak, int)), default=""))


def _count(value: object) -> str:
    return str(value) if isinstance(value, int) and value else ""


def _when(checked_at: object, now: float | None) -> str:
    then = moment(checked_at)
    if then is None:
        return ""
    return f"{then:%Y-%m-%d %H:%M} UTC" if now is None else f"{duration(now - then.timestamp())} ago"


# -- under a row -----------------------------------------------------------------------------------


def _details(targets: list[dict[str, Any]], unicode: bool) -> Iterator[list[tuple[str, str]]]:
    """What stands under each row. A failure that several targets share stands under the first of them."""
    sharing: dict[str, list[str]] = {}
    for target in targets:
        sharing.setdefault(findings.failed(target), []).append(text(target.get("target")))
    seen = {""}
    for target in targets:
        sentence = findings.failed(target)
        if not sentence:
            yield list(findings.details(target, unicode))
        elif sentence in seen:
            yield []
        else:
            (said, style), *rest = findings.details(target, unicode)
            yield [(said + _others(sharing[sentence]), style), *rest]
        seen.add(sentence)


def _others(names: list[str]) -> str:
    count = len(names) - 1
    if not count:
        return ""
    files = {name.rpartition(":")[0] for name in names}
    return f" (and {count} more target{'s' * (count != 1)}{' of this file' if len(files) == 1 else ''})"


# -- under the table -------------------------------------------------------------------------------


def _foot(
    status: dict[str, Any], targets: list[dict[str, Any]], now: float | None, unicode: bool
) -> Iterator[tuple[str, str]]:
    problems = len(items(status.get("problems")))
    if status.get("unlisted") or status.get("unshown"):
        yield standing.counted(mapping(status.get("summary")), problems, unicode=unicode), BOLD
    else:
        yield summary(targets, problems, unicode=unicode), BOLD
    if speed := _speed(status, targets):
        times = "\N{MULTIPLICATION SIGN}" if unicode else "x"
        each = ", ".join(f"{name} {value:.2f}{times}" for name, value in speed.items())
        yield f"speed-up over serial: {each}", DIM
    if asking := [table.clean(file) for file in texts(status.get("asking"))]:
        yield _asking(asking), YELLOW
    if daemon := mapping(status.get("daemon")):
        yield _daemon(daemon, now, stale=any(target.get("fresh") is not True for target in targets))


def _speed(status: dict[str, Any], targets: list[dict[str, Any]]) -> dict[str, float]:
    """Speed-ups worth telling: none where the last round's builds were tiny."""
    last = max(targets, key=lambda target: text(target.get("checked_at")), default={})
    serial = mapping(mapping(mapping(last.get("evidence")).get("schedules")).get("serial"))
    if (number(serial.get("wall_s")) or 0.0) < _TINY_S:
        return {}
    return {
        table.clean(name): value
        for name, value in mapping(status.get("speed")).items()
        if number(value) is not None and name not in _UNTIMED
    }


def _asking(files: list[str]) -> str:
    more = f" and {len(files) - _MOST_ASKED} more" if len(files) > _MOST_ASKED else ""
    return f"importing, to see which targets there are: {', '.join(files[:_MOST_ASKED])}{more}"


def _daemon(daemon: dict[str, Any], now: float | None, *, stale: bool) -> tuple[str, str]:
    state = text(daemon.get("state")) or "in an unknown state"
    if state == "down":
        return "daemon: not running" + (
            ": these are the last verdicts (`pcvctl start`)" if stale else ""
        ), DIM
    said = [state]
    if isinstance(daemon.get("pid"), int):
        said.append(f"pid {daemon['pid']}")
    uptime_s = number(daemon.get("uptime_s"))
    if now is not None and uptime_s is not None:
        said.append(f"up {duration(uptime_s)}")
    if text(daemon.get("version")):
        said.append(f"pcv {text(daemon['version'])}")
    return "daemon: " + ", ".join(said), YELLOW if state == "degraded" else DIM
