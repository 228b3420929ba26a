"""What a status JSON says about each schedule over all targets, as a table for people. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcvctl import table
from pcvctl.values import figure, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE = "serial"
_UNTIMED = (REFERENCE, "control")  # serial builds: nothing to be quicker than


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule's evidence over all targets.

    `wall_s` and `peak` are those of the run, which its targets share. `same` and `other` are the stages equal
    to the reference's in every target, and those that differ in at least one; `bitwise` whether all outputs
    are equal byte for byte, `max_abs` the largest distance between outputs; `stored` counts the artifacts
    read back from the store and `stored_same` tells whether they are the reference's. None: not known.
    """

    name: str
    wall_s: float | None
    speed_up: float | None
    same: tuple[str, ...]
    other: tuple[str, ...]
    bitwise: bool | None
    max_abs: float | None
    stored: int | None
    stored_same: bool | None
    peak: int | None


def of(status: dict[str, Any]) -> list[Schedule]:
    """The schedules of a status, in the order in which its targets name them."""
    evidence: dict[str, list[dict[str, Any]]] = {}
    for target in status.get("targets") or []:
        for name, one in ((target.get("evidence") or {}).get("schedules") or {}).items():
            evidence.setdefault(name, []).append(one)
    speed = status.get("speed") or {}
    return [_combined(name, ones, speed.get(name)) for name, ones in evidence.items()]


def _combined(name: str, ones: list[dict[str, Any]], speed_up: float | None) -> Schedule:
    other = _stages(ones, "differing_stages")
    stored = [one["stored"] for one in ones if one.get("stored")]
    bitwise = [one.get("output_bitwise") for one in ones]
    distances = [one["max_abs"] for one in ones if one.get("max_abs") is not None]
    own = [one["speed_up"] for one in ones if one.get("speed_up") is not None]
    return Schedule(
        name=name,
        wall_s=max((one["wall_s"] for one in ones if one.get("wall_s") is not None), default=None),
        speed_up=speed_up if speed_up is not None else min(own, default=None),
        same=tuple(stage for stage in _stages(ones, "identical_stages") if stage not in other),
        other=other,
        # One target that does not say is enough not to claim it for all.
        bitwise=False if False in bitwise else None if None in bitwise else True,
        max_abs=max(distances, default=None),
        stored=sum(one.get("artifacts", 0) for one in stored) if stored else None,
        stored_same=all(one.get("identical") is True for one in stored) if len(stored) == len(ones) else None,
        peak=max(
            (one["peak_in_flight"] for one in ones if one.get("peak_in_flight") is not None), default=None
        ),
    )


def _stages(ones: list[dict[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stage for one in ones for stage in one.get(key) or []))


def lines(
    schedules: Sequence[Schedule], width: int, *, color: bool = False, unicode: bool = False
) -> list[str]:
    """The schedules as a table, one line each."""
    challengers = [schedule.name != REFERENCE for schedule in schedules]
    columns = [
        table.Column("schedule", [schedule.name for schedule in schedules]),
        table.Column("wall", [_said(schedule.wall_s, "{:.2f} s") for schedule in schedules], right=True),
        table.Column("speed-up", [_speed_up(schedule, unicode) for schedule in schedules], right=True),
        table.Column(
            "stages identical",
            [_identical(schedule) for schedule in schedules],
            _styles(schedules),
        ),
        table.Column(
            "outputs",
            [
                _yes(schedule.bitwise, "same bytes", "differ") * new
                for schedule, new in zip(schedules, challengers, strict=True)
            ],
        ),
        table.Column(
            "max diff",
            [
                figure(schedule.max_abs) if new and schedule.max_abs is not None else ""
                for schedule, new in zip(schedules, challengers, strict=True)
            ],
            right=True,
        ),
        table.Column("stored", [_stored(schedule) for schedule in schedules], right=True),
        table.Column("at once", [_said(schedule.peak, "{}") for schedule in schedules], right=True),
    ]
    return table.lines(columns, width, color=color, unicode=unicode)


def notes(schedules: Sequence[Schedule]) -> list[str]:
    """Which stages were compared, and a line for each set of them that differs under some schedules."""
    said: list[str] = []
    compared = dict.fromkeys(stage for schedule in schedules for stage in (*schedule.same, *schedule.other))
    if compared:
        said.append(f"The stages: {', '.join(compared)}.")
    under: dict[tuple[str, ...], list[str]] = {}
    for schedule in schedules:
        if schedule.other:
            under.setdefault(schedule.other, []).append(schedule.name)
    return said + [
        f"Not identical under {listed(names)}: {', '.join(other)}." for other, names in under.items()
    ]


def _speed_up(schedule: Schedule, unicode: bool) -> str:
    times = "\N{MULTIPLICATION SIGN}" if unicode else "x"
    return "" if schedule.name in _UNTIMED else _said(schedule.speed_up, "{:.2f}" + times)


def _identical(schedule: Schedule) -> str:
    if schedule.name == REFERENCE:
        return "reference"
    if not schedule.same and not schedule.other:
        return ""
    if not schedule.other:
        return f"all {len(schedule.same)}"
    return f"{len(schedule.same)} of {len(schedule.same) + len(schedule.other)}"


def _styles(schedules: Sequence[Schedule]) -> list[str]:
    return [
        table.DIM if schedule.name == REFERENCE else table.YELLOW if schedule.other else table.GREEN
        for schedule in schedules
    ]


def _stored(schedule: Schedule) -> str:
    if schedule.stored is None:
        return ""
    if schedule.name == REFERENCE:
        return f"{schedule.stored}"
    return f"{schedule.stored} {_yes(schedule.stored_same, 'same', 'differ')}".rstrip()


def _yes(value: bool | None, yes: str, no: str) -> str:
    return "" if value is None else yes if value else no


def _said(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
