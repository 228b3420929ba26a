"""The page that a reproduction comes with: what it shows, under which conditions, and how to run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcvd.core import telling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pcvd.core.case import Case


def text(case: Case, manifest: dict[str, Any], remarks: list[str]) -> str:
    """The page in Markdown."""
    lines = [
        f"# {case.target}: {_title(case, manifest)}",
        "",
        *(f"* {sentence}" for sentence in _facts(case)),
        "",
        "```sh",
        "python repro.py    # exit status 1 where the difference shows",
        "```",
        "",
        *_contents(manifest),
    ]
    workaround = (case.judgement.cause or {}).get("workaround")
    if workaround:
        lines += ["", f"With `{workaround}` in the environment it should not show."]
    for remark in remarks:
        lines += ["", f"Note: {remark}"]
    return "".join(f"{line}\n" for line in lines)


def _title(case: Case, manifest: dict[str, Any]) -> str:
    if manifest["shows"] == "tracing":
        return "tracing it gives different programs"
    return f"one program, and {telling.NAMES[case.stage or 'hlo']} differs"


def _facts(case: Case) -> Iterator[str]:
    says = telling.sentences(case)
    yield from says["what"]
    yield from says["why"]
    if says["where"]:
        yield f"at {says['where']}"


def _contents(manifest: dict[str, Any]) -> list[str]:
    if manifest["shows"] == "tracing":
        return [
            "`reference.mlir` and `other.mlir` are the StableHLO of one function, traced twice under other",
            "conditions. The difference comes of tracing (the model, or JAX), not of XLA.",
        ]
    program = manifest["programs"][manifest["subject"]]["file"]
    return [
        "`programs/` holds StableHLO, in the order in which one process compiled it. `repro.py` compiles it",
        "in fresh processes, in this order and under other conditions, and compares what comes of",
        f"`{program}`: optimized HLO, LLVM IR, object files. It needs `jax` and `numpy`; nothing is run.",
        "",
        f"Recorded with {manifest['versions']}.",
    ]
