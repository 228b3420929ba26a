"""Leisure: what the daemon does while there is nothing to do. Have workers waiting, gather evidence where the
machine is idle, and after a long while without work give everything back.
"""

from __future__ import annotations

import math
import os
from enum import Enum
from pathlib import Path

_REST_AFTER_S = 600.0
"""After this long without work, waiting workers and zygotes are given back."""
_SOAK_AFTER_S = 30.0
"""After this long without work, evidence is gathered."""
_PAUSE = 10.0
"""How many times longer than it took a soak's round is followed by nothing."""
_BUSY = 0.5
"""Processes that want to run, for each CPU, above which the machine is not idle."""
_POWER = Path("/sys/class/power_supply")


class Errand(Enum):
    """What is done at leisure."""

    PREPARE = "prepare"
    SOAK = "soak"
    REST = "rest"


class Leisure:
    """When to run which errand. Times are seconds of one monotonic clock."""

    def __init__(self, now: float, *, soak: bool) -> None:
        self.soak = soak
        self.worked(now)

    def worked(self, now: float) -> None:
        """Something was built that somebody wanted."""
        self._prepare_at, self._rest_at, self._soak_at = now, now + _REST_AFTER_S, now + _SOAK_AFTER_S

    def soaked(self, now: float, took: float) -> None:
        """Evidence was gathered, for `took` seconds. What had been given back before is given back again."""
        self._soak_at = now + max(_SOAK_AFTER_S, _PAUSE * took)
        if math.isinf(self._rest_at):
            self._rest_at = now

    def postpone(self, now: float) -> None:
        """The machine has other things to do than to gather evidence."""
        self._soak_at = now + _SOAK_AFTER_S

    def done(self, errand: Errand) -> None:
        """The errand was run; nothing more of it before something happens."""
        match errand:
            case Errand.PREPARE:
                self._prepare_at = math.inf
            case Errand.SOAK:
                self._soak_at = math.inf
            case Errand.REST:
                self._rest_at = math.inf

    def next(self) -> tuple[float | None, Errand]:
        """The next errand, and when; never is None."""
        soak_at = self._soak_at if self.soak else math.inf
        dates = ((self._prepare_at, Errand.PREPARE), (soak_at, Errand.SOAK), (self._rest_at, Errand.REST))
        at, errand = min(dates, key=lambda date: date[0])
        return (None if math.isinf(at) else at), errand


def machine_is_idle() -> bool:
    """Whether others leave the machine alone, and it is not running on its battery."""
    return os.getloadavg()[0] < _BUSY * (os.cpu_count() or 1) and not on_battery(_POWER)


def on_battery(supplies: Path) -> bool:
    """Whether the supplies that Linux lists in this folder say that none but a battery feeds the machine.

    See https://docs.kernel.org/power/power_supply_class.html. Where there is no such folder, nothing is known
    of a battery, and there is none.
    """
    kinds = {path.parent: _word(path) for path in supplies.glob("*/type")}
    mains = [_word(supply / "online") == "1" for supply, kind in kinds.items() if kind in {"Mains", "USB"}]
    return "Battery" in kinds.values() and bool(mains) and not any(mains)


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
