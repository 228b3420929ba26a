"""Localisation: where a difference begins. Builds a target again in two ways that differ, with the compiler's
passes and the model's lines told, and follows the difference to a line, a kernel, a compiler pass.

A pass counts as found when it is proved: with it, both ways differ; with that pass left out they give the
same, and do so often enough for that to be no coincidence. Then leaving it out is offered as a workaround. A
pass that is only suspected is a remark.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from pcvd.core import locate as places
from pcvd.core import passes
from pcvd.core.builds import LINES, LOCATIONS, PASSES
from pcvd.core.dump import OUTPUT
from pcvd.core.errors import PcvError
from pcvd.core.evidence import canonical_digest, unequal_parts
from pcvd.core.kernel import kernel_of
from pcvd.core.model import digest

if TYPE_CHECKING:
    from pcvd.blobs import Blobs
    from pcvd.builders.protocol import Builders, Carried, Order
    from pcvd.core.builds import Build, Part, Run
    from pcvd.core.chance import Tally
    from pcvd.core.locate import Place

log = structlog.get_logger()

_PROVE_FOR_S = 15.0
"""After this long no further pass is suspected."""
_COINCIDENCE = 0.01
"""How likely it may be that a difference went away by itself, and not with a pass."""
_MOST_PAIRS = 8
"""What takes more pairs of builds to prove is not proved."""
_REPRODUCED = 3
"""Pairs of builds within which the difference must show again."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A target, the stage at which it first differs, two orders that build it so that it differs, and two
    builds that did; `seen` are comparisons that were made of builds as these orders make them, empty where
    builds of the left one differ among themselves.
    """

    target: str
    stage: str
    left: Order
    right: Order
    reference: Build
    differing: Build
    seen: Tally


class Rebuilds:
    """Orders carried out again and again, for searches in targets that the same processes build: what one
    search had built serves the next one as well, time by time.
    """

    def __init__(self, builders: Builders) -> None:
        self._builders = builders
        self._carried: dict[tuple[Order, int], asyncio.Task[Carried]] = {}

    async def run(self, order: Order, nth: int) -> Run:
        """What came of `order` when it was carried out for the `nth` time, counted from zero. What failed is
        tried again for whoever asks next: it may have failed by chance.
        """
        task = self._carried.get((order, nth))
        if task is None:
            task = self._carried[order, nth] = asyncio.create_task(self._builders.carry_out(order))
        failed = True
        try:
            run = (await task).run
            failed = any(build.failure is not None for build in run.builds)
        finally:
            if failed:
                self._carried.pop((order, nth), None)
        return run


async def locate(rebuilds: Rebuilds, blobs: Blobs, root: str, scene: Scene) -> dict[str, Any]:
    """What is known of the place, as fields of a cause: `kernel`, `pass`, `file`, `line`, `place` (a
    sentence), `workaround`, `remarks`. Whatever could not be found out is a remark.
    """
    search = _Search(rebuilds, blobs, root, scene)
    try:
        if scene.stage == "jaxpr":
            await search.in_jaxpr()
        elif scene.stage == "stablehlo":
            await search.in_stablehlo()
        elif scene.stage == "hlo":
            await search.in_hlo()
        elif scene.stage in {"llvm", "object", "executable"}:
            await search.in_kernel()
    except (PcvError, OSError) as error:
        # A place that is not found leaves the cause as it is.
        log.warning("not located", target=scene.target, error=str(error))
        search.remarks.append(f"the place could not be looked for: {error}")
    except Exception as error:
        # Nor may a text that no reader foresaw cost the causes of all that are investigated together.
        log.exception("not located", target=scene.target)
        search.remarks.append(
            f"the place could not be looked for, by a fault inside pcv: {type(error).__name__}: {error}"
        )
    return search.found()


class _Search:
    """One search: what was found so far, and how to build the target again."""

    def __init__(self, rebuilds: Rebuilds, blobs: Blobs, root: str, scene: Scene) -> None:
        self._rebuilds, self._blobs, self._root, self._scene = rebuilds, blobs, root, scene
        self._times: Counter[Order] = Counter()
        self._place: Place | None = None
        self._pass: str | None = None
        self._kernel: str | None = None
        self._seen = scene.seen
        self._reproduced: bool | None = None
        self.remarks: list[str] = []

    def found(self) -> dict[str, Any]:
        """The fields of the cause."""
        place = self._place
        return {
            "kernel": self._kernel,
            "pass": self._pass,
            "file": place.file if place is not None else None,
            "line": place.line if place is not None else None,
            "instruction": place.instruction if place is not None else None,
            "place": place.text if place is not None else None,
            "workaround": f"XLA_FLAGS=--xla_disable_hlo_passes={self._pass}" if self._pass else None,
            "remarks": self.remarks,
        }

    async def in_jaxpr(self) -> None:
        """The first equation that differs, or the first constant."""
        left, right = await self._both(until="jaxpr", detail=True)
        theirs = self._text(right, LINES)
        if self._agree(left, right):
            # A race that was not lost this time: what was built then has no lines, but the same equations.
            right, theirs = self._scene.differing, self._text(self._scene.differing, "jaxpr")
        unequal = self._unequal(left, right)
        constants = [name for name in unequal if name.startswith("constant")]
        if constants and constants == unequal:
            label = next(part.label for part in _parts(left, "jaxpr") if part.name == constants[0])
            self._place = places.in_constants(constants[0], self._text(left, LINES), self._root, label)
        elif unequal == ["signature.txt"]:
            self.remarks.append(
                "the equations are the same; what the function returns has another structure or type"
            )
        else:
            self._place = places.in_jaxpr(self._text(left, LINES), theirs, self._root)

    async def in_stablehlo(self) -> None:
        """The first operation that differs."""
        left, right = await self._both(until="stablehlo", detail=True)
        if self._agree(left, right):
            right = self._scene.differing
        texts = self._text(left, LOCATIONS), self._text(right, LOCATIONS)
        self._place = places.in_stablehlo(*texts, self._root)

    async def in_hlo(self) -> None:
        """The first pass after which the modules differ, and the first instruction of what they came to."""
        left, right = await self._both(until="hlo", detail=True)
        difference = passes.first_difference(self._dumps(left), self._dumps(right))
        if difference is None:
            self.remarks.append("built again with every pass told, both came out alike")
        elif difference.pass_name and await self._prove(difference.pass_name):
            self._pass = difference.pass_name
        elif difference.pass_name:
            self.remarks.append(f"after the pass {difference.pass_name} the modules differ first")
        if self._agree(left, right):
            right = self._scene.differing
        if not self._agree(left, right):
            # As the compiler gave them: the names of instructions lead to their lines.
            raw = self._raw(left, "hlo"), self._raw(right, "hlo")
            texts = self._text(left, "hlo"), self._text(right, "hlo")
            self._place = places.in_hlo(texts, raw, self._optimized(left), self._root)

    async def in_kernel(self) -> None:
        """The kernel whose code differs, the instructions it is, and the pass that makes the difference."""
        scene = self._scene
        unequal = self._unequal(scene.reference, scene.differing)
        left = (await self._build(scene.left, until="hlo", detail=True))[0]
        if scene.stage != "executable" and unequal:
            self._kernel = kernel_of(unequal[0])
            self._place = places.in_kernel(unequal[0], self._optimized(left), self._root)
        began = time.monotonic()
        for suspect in passes.suspects(self._texts(left), self._kernel or ""):
            if await self._prove(suspect):
                self._pass = suspect
                return
            if not self._reproduced:
                return
            if time.monotonic() - began > _PROVE_FOR_S:
                self.remarks.append("not every compiler pass was tried")
                return
        self.remarks.append("no single compiler pass that can be left out makes the difference")

    async def _prove(self, suspect: str) -> bool:
        """Whether both ways differ, and give the same when the compiler leaves `suspect` out, so often that
        this is no coincidence. Where it might be one, a remark says so.
        """
        if not await self._reproduce():
            return False
        await self._see_more()
        needed = self._seen.needed(_COINCIDENCE, _MOST_PAIRS)
        for _ in range(needed or _MOST_PAIRS):
            try:
                if await self._differ(without=(suspect,)):
                    return False
            except _NotBuilt:
                return False  # XLA needs the pass
        if needed is None:
            self.remarks.append(
                f"the pass {suspect} is suspected: without it no difference showed in {_MOST_PAIRS} pairs"
                f" of builds, with it in {self._seen.differs} of {self._seen.made}, which may be chance"
            )
        return needed is not None

    async def _see_more(self) -> None:
        """Hold the pass against more pairs of builds that have it, as long as that spares others."""
        for _ in range(_MOST_PAIRS):
            if not self._seen.pays(_COINCIDENCE, _MOST_PAIRS):
                return
            try:
                self._seen = self._seen.plus(differs=await self._differ())
            except _NotBuilt:
                return  # it was reproduced before: that has to do

    async def _reproduce(self) -> bool:
        """Whether the difference shows again when it is built as it was."""
        if self._reproduced is None and not self._seen.made:
            self._reproduced = False
            self.remarks.append("it differs with nothing changed, so no compiler pass was looked for")
        if self._reproduced is None:
            for _ in range(_REPRODUCED):
                self._reproduced = await self._differ()
                self._seen = self._seen.plus(differs=self._reproduced)
                if self._reproduced:
                    break
            else:
                self.remarks.append(
                    f"the difference did not show again in {_REPRODUCED} pairs of builds,"
                    " so no compiler pass could be proved to make it"
                )
        return bool(self._reproduced)

    async def _differ(self, **changes: Any) -> bool:
        """Whether a new pair of builds, one each way, differs."""
        changes |= {"until": self._scene.stage}
        sides = await asyncio.gather(
            self._build(self._scene.left, **changes), self._build(self._scene.right, **changes)
        )
        digests = {canonical_digest(build, self._scene.stage) for side in sides for build in side}
        return len(digests) != 1 or None in digests

    async def _both(self, **changes: Any) -> tuple[Build, Build]:
        """The target built both ways; of several copies on the right, one that differs."""
        (left, *_), others = await asyncio.gather(
            self._build(self._scene.left, **changes), self._build(self._scene.right, **changes)
        )
        return left, next((other for other in others if not self._agree(left, other)), others[-1])

    async def _build(self, order: Order, **changes: Any) -> tuple[Build, ...]:
        """The target as `order` builds it, but for `changes` of the manner. Raises _NotBuilt."""
        order = order.made(**changes)
        nth = self._times[order]
        self._times[order] += 1
        builds = (await self._rebuilds.run(order, nth)).of(self._scene.target)
        failed = [build.failure for build in builds if build.failure is not None]
        if failed or not builds:
            raise _NotBuilt(failed[0].sentence() if failed else "it was not built again")
        return builds

    def _agree(self, left: Build, right: Build) -> bool:
        stage = self._scene.stage
        return canonical_digest(left, stage) == canonical_digest(right, stage)

    def _unequal(self, left: Build, right: Build) -> list[str]:
        """The names of the parts that differ at the stage."""
        stage = self._scene.stage
        return sorted(unequal_parts(_parts(left, stage), _parts(right, stage)))

    def _text(self, build: Build, stage: str) -> str:
        """The canonical text of the first part at a stage; empty where there is none."""
        return next((self._read(part) for part in _parts(build, stage)), "")

    def _raw(self, build: Build, stage: str) -> str:
        first = next(iter(_parts(build, stage)), None)
        return self._blobs.get(first.raw).decode(errors="replace") if first is not None else ""

    def _texts(self, build: Build) -> list[tuple[str, str]]:
        return [(part.name, self._read(part)) for part in _parts(build, PASSES)]

    def _dumps(self, build: Build) -> list[tuple[str, str]]:
        return [
            (part.name, digest(passes.canonical(self._blobs.get(part.raw)))) for part in _parts(build, PASSES)
        ]

    def _optimized(self, build: Build) -> str:
        """The optimized HLO with its metadata, as the compiler dumped it; empty where it did not."""
        named = (part for part in _parts(build, PASSES) if part.name.endswith(f"{OUTPUT}.txt"))
        return next((self._blobs.get(part.raw).decode(errors="replace") for part in named), "")

    def _read(self, part: Part) -> str:
        return self._blobs.get(part.canonical).decode(errors="replace")


class _NotBuilt(PcvError):
    """A target that was to be built again was not."""


def _parts(build: Build, stage: str) -> tuple[Part, ...]:
    artifact = build.artifact(stage)
    return artifact.parts if artifact is not None else ()
