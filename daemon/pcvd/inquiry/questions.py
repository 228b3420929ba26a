"""What may be asked of the records: one method for each question, each answered in plain values."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pcv_config import settings as pcv_settings
from pcv_config.settings import SettingsError
from pcvctl import names
from pcvd.core import chronicle, explain
from pcvd.core.case import Case
from pcvd.core.chronicle import Chapter
from pcvd.core.errors import UsageError
from pcvd.inquiry import comparison, reproduction
from pcvd.inquiry.comparison import Wanted
from pcvd.inquiry.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pcvd.blobs import Blobs
    from pcvd.core.case import Pair
    from pcvd.core.explain import Reading
    from pcvd.store import Store

QUESTIONS = ("explain", "diff", "history", "repro")
"""What can be asked; the names of the daemon's routes."""

_EXCERPT_LINES, _EXCERPT_WIDTH = 12, 88
_LONGEST_HISTORY = 10_000


@dataclass(frozen=True, slots=True)
class Now:
    """What only a running daemon knows: which targets it has, and which verdicts are fresh."""

    entries: frozenset[str] = frozenset()
    fresh: frozenset[str] = frozenset()


NOBODY = Now()
"""Without a daemon nothing is fresh."""


class Inquiry:
    """Answers questions about one project. Every question raises UsageError for a target that nobody knows,
    and StoreError where the database cannot be read; artifacts that cannot be read become remarks.
    """

    def __init__(self, root: str, store: Store | None, blobs: Blobs) -> None:
        """`store` is None where nothing has been recorded yet."""
        self._root, self._store = root, store
        self._reader = Reader(blobs)

    async def answer(self, question: str, asked: Mapping[str, str], now: Now = NOBODY) -> dict[str, Any]:
        """The answer to `explain`, `diff`, `history` or `repro`; `asked` are its parameters, as in a URL."""
        target = asked.get("target", "")
        match question:
            case "explain":
                return await self.explain(target, now)
            case "diff":
                form = asked.get("form", "canonical")
                if form not in {"raw", "canonical"}:
                    raise UsageError(f'there is no form "{form}"', hint="raw or canonical")
                chosen = {name: asked.get(name) or None for name in ("stage", "left", "right", "part")}
                whole = asked.get("whole") == "1"
                return await self.diff(target, Wanted(**chosen, raw=form == "raw", whole=whole), now)
            case "history":
                return await self.history(target, _limit(asked.get("limit", "50")), now)
            case "repro":
                return await self.repro(target, now)
        raise UsageError(f'there is no question "{question}"', hint=", ".join(QUESTIONS))

    async def explain(self, target: str, now: Now = NOBODY) -> dict[str, Any]:
        """Why the target's latest verdict is what it is."""
        case, remarks = await self._case(target, now)
        if case is None:
            return explain.unjudged(target)
        readings = await asyncio.to_thread(self._readings, explain.wanted(case))
        return explain.document(case, readings, remarks)

    async def diff(self, target: str, wanted: Wanted, now: Now = NOBODY) -> dict[str, Any]:
        """What differs between two builds of the target. Raises UsageError for a stage, run or part that does
        not exist, too.
        """
        case, _ = await self._case(target, now)
        if case is None:
            return comparison.unjudged(target)
        return await asyncio.to_thread(comparison.compare, case, self._reader, wanted)

    async def history(self, target: str, limit: int = 50, now: Now = NOBODY) -> dict[str, Any]:
        """The target's verdicts, newest first, with what changed between them."""
        await self._known(target, now)
        found = await self._store.verdicts(target, limit + 1) if self._store is not None else []
        chapters = [
            Chapter(
                one.round,
                one.judged_at,
                one.checked_at,
                one.why,
                one.cohort,
                one.environment,
                one.judgement,
            )
            for one in found
        ]
        return chronicle.document(target, chapters, limit)

    async def repro(self, target: str, now: Now = NOBODY) -> dict[str, Any]:
        """Files that show the target's difference without pcv. Raises UsageError where there is none to show,
        or its builds are gone.
        """
        case, _ = await self._case(target, now)
        if case is None:
            raise UsageError(f"{target} was not checked yet", hint="`pcvctl check` does")
        return await asyncio.to_thread(reproduction.files, case, self._reader)

    async def _case(self, target: str, now: Now) -> tuple[Case | None, list[str]]:
        """The target's latest verdict with its builds (None: never judged), and remarks on it."""
        await self._known(target, now)
        one = await self._store.latest(target) if self._store is not None else None
        if one is None or self._store is None:
            return None, []
        tolerate, remarks = await asyncio.to_thread(self._tolerate)
        runs = await self._store.runs(one.round)
        case = Case(
            judgement=one.judgement,
            runs=runs,
            round=one.round,
            checked_at=one.checked_at,
            why=one.why,
            cohort=one.cohort,
            fresh=target in now.fresh,
            tolerate=tolerate,
        )
        return case, remarks

    async def _known(self, target: str, now: Now) -> None:
        """Raise UsageError where nobody knows the target."""
        known = [*(await self._store.entries() if self._store is not None else []), *now.entries]
        if target in known:
            return
        known += await asyncio.to_thread(self._declared)
        # Where nothing was ever found, a target that a model declares cannot be told from a mistyped one.
        if target not in known and known:
            message, hint = names.unknown(target, dict.fromkeys(known))
            raise UsageError(message, hint=hint)
        if not target:
            raise UsageError("no target was named", hint="as in models/mlp.py:forward")

    def _declared(self) -> Iterable[str]:
        try:
            return [target.entry for target in pcv_settings.load(self._root).targets]
        except SettingsError:
            return []

    def _tolerate(self) -> tuple[tuple[str, ...], list[str]]:
        try:
            return pcv_settings.load(self._root).tolerate, []
        except SettingsError:
            usual = pcv_settings.Settings(self._root, "").tolerate
            return usual, ["the settings cannot be read: what is tolerated is told by the default"]

    def _readings(self, pairs: Iterable[Pair]) -> dict[Pair, Reading]:
        return {
            pair: self._reader.glance(
                pair.stage, pair.left, pair.right, lines=_EXCERPT_LINES, width=_EXCERPT_WIDTH
            )
            for pair in pairs
            if pair.left is not None and pair.right is not None
        }


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _LONGEST_HISTORY):
        raise UsageError(f'"{text}" is no number of verdicts', hint=f"1 to {_LONGEST_HISTORY}")
    return int(text)
