"""The project's settings while the daemon runs: edited ones take over; wrong ones are shown, and the former
stay in force.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import structlog

from pcv_config import places
from pcv_config import settings as pcv_settings
from pcv_config.settings import Settings, SettingsError
from pcvd.changes import Changed, Look
from pcvd.core.model import Problem, TargetSpec
from pcvd.watch import Watch

if TYPE_CHECKING:
    from pcvd.files import Files, Stat

log = structlog.get_logger()

_FIELDS = frozenset(field.name for field in fields(Settings))
_ASIDE = frozenset({"source", "watch", "ignore", "settle_ms", "targets", "timeout_s", "memory_mb", "soak"})
"""Settings that say which targets there are and how long they may take, not how they are built."""
_WATCHED = frozenset({"watch", "ignore", "settle_ms"})
"""Settings of the watcher."""
_MEANWHILE = "until it is mended, the daemon builds under the settings from before, and no verdict is fresh"


@dataclass(frozen=True, slots=True)
class Edited:
    """Other settings are in force now; `changed` names those that are not as they were."""

    changed: frozenset[str]

    @property
    def outdates(self) -> bool:
        """Whether targets are built otherwise now."""
        return bool(self.changed - _ASIDE)

    @property
    def rewatches(self) -> bool:
        """Whether the watcher must be another one."""
        return not self.changed.isdisjoint(_WATCHED)


class LiveSettings:
    """The settings in force, and what is wrong with the file that should hold them."""

    def __init__(self, settings: Settings, files: Files) -> None:
        self.current = settings
        self.problem: Problem | None = None
        self._files = files
        self.watch = self._watch()
        """A watcher of the folders that the settings name."""
        self._stats: dict[str, Stat | None] = {}

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """The targets that the settings name."""
        return tuple(
            TargetSpec(target.entry, target.args, self.current.source, target.line)
            for target in self.current.targets
        )

    def _watch(self) -> Watch:
        settings = self.current
        cookies = places.state(settings.root, "cookies")
        return Watch(
            settings.root,
            settings.watch,
            settings.ignore,
            settings.settle_ms,
            self._files.may_declare,
            cookies,
        )

    async def look(self, happened: Changed | Look) -> Edited | None:
        """Read the file again where `happened` gives reason to; None where the settings stay as they were."""
        root = self.current.root.rstrip("/")
        names = [f"{root}/pcv.toml", f"{root}/pyproject.toml"]
        if isinstance(happened, Changed) and happened.paths.isdisjoint(names):
            return None
        before, self._stats = self._stats, await self._files.stats(names)
        if isinstance(happened, Look) and before == self._stats:
            return None
        try:
            settings = await asyncio.to_thread(pcv_settings.load, self.current.root)
        except SettingsError as error:
            log.warning("settings", error=str(error))
            hint = "; ".join(filter(None, (error.hint, _MEANWHILE)))
            self.problem = Problem(error.message, error.file, error.line, hint)
            return None
        self.problem = None
        changed = {name for name in _FIELDS if getattr(settings, name) != getattr(self.current, name)}
        if not changed:
            return None
        log.info("settings", changed=sorted(changed))
        self.current = settings
        self.watch = self._watch()
        return Edited(frozenset(changed))
