"""Dumps: the files that XLA writes after its passes, and what their names tell.

XLA writes a dump where a pipeline starts and after each pass that changed the module; a file's name holds a
number, the pipeline, the pass, and the pass that comes next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

INPUT, OUTPUT = "before_optimizations", "after_optimizations"
"""What stands in place of a pass where a dump holds the module that the first pass gets, or what became of
it.
"""

START = "pipeline-start"

_PREFIX = r"(?:module_(\d+)\.(?:.*\.)?|(\d{1,3})\.)?"
_PASS = re.compile(_PREFIX + r"(\d{4,})\.([^.]+)\.after_([^.]+)(?:\.before_([^.]+))?\.txt$")
_END = re.compile(rf"{_PREFIX}(?:[^/]*_)?({INPUT}|{OUTPUT})\.txt$")  # `sm_9.0_gpu_after_optimizations.txt`
_LAST = 1 << 62  # behind every number that a pass may have
# XLA 0.12 counts the runs of one pass through the whole process: `apply-xla-transforms-9`.
_COUNTER = re.compile(r"-\d+$")


@dataclass(frozen=True, slots=True)
class Dump:
    """What a dump's file name tells. `before` is empty where a pass dumps in the middle of its own work:
    `after` then names the step, and `pipeline` the pass.
    """

    file: str
    module: int
    number: int
    pipeline: str
    after: str
    before: str

    @property
    def name(self) -> str:
        """Pipeline and pass; equal for equal builds, unlike numbers."""
        after = _COUNTER.sub("", self.after)
        return f"{self.pipeline}/{after}" if self.pipeline else after

    @property
    def pass_name(self) -> str:
        """The pass after which it was dumped, as `xla_disable_hlo_passes` wants it; empty where a pipeline or
        the compilation starts or ends.
        """
        if not self.pipeline or self.after == START:
            return ""
        return _COUNTER.sub("", self.after) if self.before else self.pipeline


def parse(file: str) -> Dump | None:
    """What the name of a dump tells; None for a file that holds no module."""
    if found := _PASS.match(file):
        number, pipeline, after, before = int(found[3]), found[4], found[5], found[6] or ""
    elif found := _END.match(file):
        number, pipeline, after, before = (-1 if found[3] == INPUT else _LAST), "", found[3], ""
    else:
        return None
    return Dump(file, int(found[1] or found[2] or 0), number, pipeline, after, before)


def in_order(files: Iterable[str]) -> list[Dump]:
    """The dumps among `files`, in the order in which they were written, module by module."""
    dumps = [dump for file in files if (dump := parse(file)) is not None]
    return sorted(dumps, key=lambda dump: (dump.module, dump.number))
