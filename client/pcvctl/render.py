"""A status JSON as a table for people. Pure; the daemon uses it too.

It shows whatever it is given: a field that is missing or of another kind becomes a dash, never an exception,
since the status of a broken project is the one that must be readable.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pcvctl import table
from pcvctl.table import BOLD, CYAN, DIM, GREEN, MAGENTA, RED, YELLOW, Column

if TYPE_CHECKING:
    from collections.abc import Iterator

VERDICTS = ("agree", "equivalent", "diverged", "unstable", "inconclusive")

_STYLES = {"agree": GREEN, "equivalent": CYAN, "diverged": RED, "unstable": MAGENTA, "inconclusive": YELLOW}
_MARKS = {"agree": "=", "equivalent": "~", "diverged": "x", "unstable": "x", "inconclusive": "?"}
_UNICODE_MARKS = {"agree": "✓", "equivalent": "≈", "diverged": "✗", "unstable": "✗", "inconclusive": "?"}

_NO_TARGETS = (
    'No targets yet: name one in pcv.toml ([[target]], entry = "models/mlp.py:forward")'
    " or put @pcv.target(...) on a function."
)


def render(
    status: dict[str, Any], *, now: float, width: int = 100, color: bool = False, unicode: bool = False
) -> str:
    """The whole answer as text that ends with a newline.

    `now` is the time in seconds since the epoch, `width` the terminal's columns; `color` allows ANSI colours
    and `unicode` marks beyond ASCII.
    """
    targets = [target for target in _list(status.get("targets")) if isinstance(target, dict)]
    lines: list[str] = []
    if targets:
        heading, *rows = table.lines(_columns(targets, now, unicode), width, color=color, unicode=unicode)
        lines.append(heading)
        for target, row in zip(targets, rows, strict=True):
            lines.append(row)
            for text, style in _details(target, unicode):
                lines += [table.paint(line, style, color) for line in table.wrapped(text, width, "    ")]
    else:
        lines += table.wrapped(_NO_TARGETS, width, "")
    problems = _list(status.get("problems"))
    lines += [""] * bool(problems)
    for problem in problems:
        for text, style in _problem(_dict(problem), unicode):
            lines += [table.paint(line, style, color) for line in table.wrapped(text, width, "")]
    lines.append("")
    for text, style in _foot(status, targets, unicode):
        lines += [table.paint(line, style, color) for line in table.wrapped(text, width, "")]
    return "\n".join(lines) + "\n"


def _columns(targets: list[dict[str, Any]], now: float, unicode: bool) -> list[Column]:
    marks = _UNICODE_MARKS if unicode else _MARKS
    verdicts = [_text(target.get("verdict")) for target in targets]
    fresh = [target.get("fresh") is True for target in targets]
    styles = [_STYLES.get(verdict, YELLOW) for verdict in verdicts]
    evidence = [_dict(target.get("evidence")) for target in targets]
    schedules = [_dict(one.get("schedules")) for one in evidence]
    return [
        Column("", [marks.get(verdict, "?") for verdict in verdicts], styles),
        Column("target", [table.clean(_text(target.get("target"))) for target in targets], floor=24),
        Column(
            "verdict",
            [_standing(target) for target in targets],
            [style if new else f"{DIM};{style}" for style, new in zip(styles, fresh, strict=True)],
        ),
        Column("differs at", [table.clean(_text(target.get("first_stage"))) for target in targets]),
        Column("output", [_output(_dict(target.get("output"))) for target in targets]),
        Column("rounds", [_count(one.get("rounds")) for one in evidence], right=True, leaves=1),
        Column("sched", [str(len(one) or "") for one in schedules], right=True, leaves=2),
        Column("peak", [_peak(one) for one in schedules], right=True, leaves=3),
        Column(
            "age",
            [_age(target.get("checked_at"), now) for target in targets],
            [DIM] * len(targets),
            True,
            leaves=4,
        ),
    ]


def _standing(target: dict[str, Any]) -> str:
    verdict = table.clean(_text(target.get("verdict")))
    state = _text(target.get("state"))
    note = "stale" if verdict and target.get("fresh") is not True else ""
    if state in ("queued", "building"):
        note = state
    return ", ".join(filter(None, (verdict, note))) or "not checked"


def _output(output: dict[str, Any]) -> str:
    if output.get("bitwise") is True:
        return "bit-identical"
    if output.get("within_tolerance") is True:
        return "within tolerance"
    if not output:
        return ""
    return f"off by {figure(output.get('max_abs'))}" if _is_number(output.get("max_abs")) else "different"


def _peak(schedules: dict[str, Any]) -> str:
    peaks = [_dict(one).get("peak_in_flight") for one in schedules.values()]
    return str(max((peak for peak in peaks if isinstance(peak, int)), default=""))


def _age(checked_at: object, now: float) -> str:
    try:
        moment = datetime.fromisoformat(_text(checked_at))
        # Without a zone it is UTC by contract, wherever it is read.
        return duration(now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return ""


def _details(target: dict[str, Any], unicode: bool) -> Iterator[tuple[str, str]]:
    """What stands under a target's line: (text, style), the most telling first."""
    style = _STYLES.get(_text(target.get("verdict")), YELLOW)
    failure, cause = _dict(target.get("failure")), _dict(target.get("cause"))
    if failure:
        yield from _problem(failure, unicode, style)
    reason = _text(target.get("reason"))
    if reason and reason not in _sentence(failure):
        yield reason, style
    if cause:
        extras = [f"{key} {_text(cause.get(key))}" for key in ("kernel", "pass") if _text(cause.get(key))]
        said = ": ".join(filter(None, (_text(cause.get("kind")), _text(cause.get("text")))))
        yield _where(cause) + said + (f" ({', '.join(extras)})" if extras else ""), style
    yield from ((text, DIM) for text in _differences(target))
    output = _dict(target.get("output"))
    if output and output.get("bitwise") is not True and _is_number(output.get("max_abs")):
        within = "within" if output.get("within_tolerance") is True else "beyond"
        relative = f", {figure(output['max_rel'])} relative" if _is_number(output.get("max_rel")) else ""
        yield f"outputs differ by at most {figure(output['max_abs'])}{relative}: {within} tolerance", DIM


def _differences(target: dict[str, Any]) -> Iterator[str]:
    """One line per set of stages, with the schedules under which just these differ."""
    tolerated = " (tolerated)" if target.get("verdict") == "equivalent" else ""
    under: dict[str, list[str]] = {}
    for schedule, one in _dict(_dict(target.get("evidence")).get("schedules")).items():
        stages = ", ".join(map(str, _list(_dict(one).get("differing_stages"))))
        if stages:
            under.setdefault(stages, []).append(schedule)
    for stages, schedules in under.items():
        yield f"{stages} differ{'' if ', ' in stages else 's'} under {', '.join(schedules)}{tolerated}"
    if not under and (stages := ", ".join(map(str, _list(target.get("differing"))))):
        yield f"{stages} differ{'' if ', ' in stages else 's'}{tolerated}"


def _problem(problem: dict[str, Any], unicode: bool, style: str = RED) -> Iterator[tuple[str, str]]:
    yield _sentence(problem) or "a problem that was not described", style
    if hint := _text(problem.get("hint")):
        yield f"  {'→' if unicode else '->'} {hint}", DIM


def _sentence(problem: dict[str, Any]) -> str:
    return _where(problem) + _text(problem.get("message")) if problem else ""


def _where(place: dict[str, Any]) -> str:
    file, line = _text(place.get("file")), place.get("line")
    return f"{file}:{line}: " if file and isinstance(line, int) else f"{file}: " if file else ""


def _foot(status: dict[str, Any], targets: list[dict[str, Any]], unicode: bool) -> Iterator[tuple[str, str]]:
    yield summary(targets, len(_list(status.get("problems")))), BOLD
    speed = {
        name: value
        for name, value in _dict(status.get("speed")).items()
        if _is_number(value) and name != "serial"  # the measure itself
    }
    if speed:
        times = "\N{MULTIPLICATION SIGN}" if unicode else "x"
        yield (
            "speed-up over serial: "
            + ", ".join(f"{name} {value:.2f}{times}" for name, value in speed.items()),
            DIM,
        )
    daemon = _dict(status.get("daemon"))
    if daemon:
        yield _daemon(daemon, any(target.get("fresh") is not True for target in targets))


def summary(targets: list[dict[str, Any]], problems: int = 0) -> str:
    """One line that counts verdicts, stale targets and problems."""
    verdicts = [_text(target.get("verdict")) for target in targets]
    counted = [(name, verdicts.count(name)) for name in VERDICTS]
    counted.append(("not checked", verdicts.count("")))
    counted.append(("unknown", len(verdicts) - sum(number for _, number in counted)))
    counted.append(
        ("stale", sum(target.get("fresh") is not True and bool(target.get("verdict")) for target in targets))
    )
    said = [f"{number} {name}" for name, number in counted if number]
    if problems:
        said.append(f"{problems} problem{'s' * (problems != 1)}")
    return f"{len(targets)} target{'s' * (len(targets) != 1)}" + (": " + ", ".join(said) if said else "")


def _daemon(daemon: dict[str, Any], stale: bool) -> tuple[str, str]:
    state = _text(daemon.get("state")) or "in an unknown state"
    if state == "down":
        return "daemon: not running" + (
            ": these are the last verdicts (`pcvctl start`)" if stale else ""
        ), DIM
    said = [state]
    if isinstance(daemon.get("pid"), int):
        said.append(f"pid {daemon['pid']}")
    if _is_number(daemon.get("uptime_s")):
        said.append(f"up {duration(daemon['uptime_s'])}")
    if _text(daemon.get("version")):
        said.append(f"pcv {_text(daemon['version'])}")
    return "daemon: " + ", ".join(said), YELLOW if state == "degraded" else DIM


def duration(seconds: float) -> str:
    """A time span in one short figure; a negative one (clocks differ) counts as none."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(max(seconds, 0))} s"


def figure(value: object) -> str:
    """A measured difference: `0`, `1.2e-07`, `inf`."""
    return ("0" if value == 0 else f"{value:.1e}") if isinstance(value, (int, float)) else "-"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> str:
    return str(value) if isinstance(value, int) else ""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
