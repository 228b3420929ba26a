"""What a status says of one target in words: a short paragraph under its row, and what to do next. Pure.

First comes what differs first and under which schedules, then what a second serial build says of it, then how
far outputs are apart, then the cause where one was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcvctl import partition
from pcvctl.standing import Standing
from pcvctl.table import DIM, RED, YELLOW
from pcvctl.values import figure, items, listed, mapping, number, text, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

_STAGES = {
    "jaxpr": "the jaxpr",
    "stablehlo": "the StableHLO",
    "hlo": "the optimized HLO",
    "llvm": "the LLVM IR",
    "object": "the object code",
    "executable": "the serialized executable",
    "output": "the output",
}
_TRACED = ("jaxpr", "stablehlo")
_CONTROL = "control"
_KERNEL = "kernel"
"""The kind of a cause that is a kernel alone, and not the target in one piece."""

# Causes that only tell what the paragraph says anyway: whether a second serial build differs as well.
_UNEXPLAINED = ("", "schedule", "process", "run", "unknown")

_COMPILER = (
    "the compiler was given the same program each time: report it to XLA; or accept it, with the stage under "
    "`tolerate` in pcv.toml"
)
_RUN = "the executables are equal: look for callbacks and other effects in the model"
_NEXT = {
    "diverged": (
        "look for what the function reads while it is traced and another thread or order changes: a global, "
        "a counter, a cache, a `with` block around the caller"
    ),
    "unstable": (
        "look for what changes from one process to the next while the function is traced: the order of a "
        "set, hash(), random numbers, the time"
    ),
}


def details(target: dict[str, Any], unicode: bool) -> Iterator[tuple[str, str]]:
    """Paragraphs about one target and what to do next, each with its style; the most telling first."""
    standing = Standing.of(target)
    style = standing.style
    if failure := mapping(target.get("failure")):
        yield failed(target), style
        yield from hint(failure, unicode)
    if failure or not standing.verdict:
        return
    told = " ".join(_paragraph(target))
    if told or text(target.get("reason")):
        yield told or text(target.get("reason")), style
    if standing.verdict in {"agree", "equivalent"} and (before := _differed_before(target)):
        yield before, YELLOW
    cause = mapping(target.get("cause"))
    if _explains(cause):
        yield _cause(cause), style
        yield from ((remark, DIM) for remark in texts(cause.get("remarks")))
    kernels = mapping(target.get("kernels"))
    if told := partition.note(kernels):
        yield told, YELLOW if text(kernels.get("verdict")) == "inconclusive" else DIM
        yield from hint({"hint": partition.hint(kernels)}, unicode)
    if standing.fresh:
        yield from ((arrow(step, unicode), DIM) for step in _steps(target))


def failed(target: dict[str, Any]) -> str:
    """Where and why a target could not be built, in a sentence; "" where it could."""
    sentence, reason = said(mapping(target.get("failure"))), text(target.get("reason"))
    # The reason repeats the failure, and may add under which schedules it came.
    return reason if sentence and reason.startswith(sentence) else sentence


def said(problem: dict[str, Any]) -> str:
    """Where and what: `models/mlp.py:12: no such name`."""
    if not problem:
        return ""
    place = _place(problem)
    return (f"{place}: " if place else "") + (
        text(problem.get("message")) or "a problem that was not described"
    )


def problem(one: dict[str, Any], unicode: bool) -> Iterator[tuple[str, str]]:
    """What is wrong with the project, and what to do about it."""
    yield said(one) or "a problem that was not described", RED
    yield from hint(one, unicode)


def hint(one: dict[str, Any], unicode: bool) -> Iterator[tuple[str, str]]:
    """What to do about a problem or a failure, where it says so."""
    if step := text(one.get("hint")):
        yield arrow(step, unicode), DIM


def arrow(step: str, unicode: bool) -> str:
    """A next step, as a line of its own."""
    return f"  {'→' if unicode else '->'} {step}"


def _differed_before(target: dict[str, Any]) -> str:
    """That a target which agrees has differed, with nothing edited since; "" where it has not."""
    evidence = mapping(target.get("evidence"))
    rounds, agreed = number(evidence.get("rounds")), number(evidence.get("agreed"))
    if rounds is None or agreed is None or agreed >= rounds:
        return ""
    return f"It agreed in {agreed:g} of {rounds:g} rounds over these sources, and differed in the others."


# -- the paragraph ---------------------------------------------------------------------------------


def _paragraph(target: dict[str, Any]) -> list[str]:
    """What differs, as sentences; none where nothing does or the status does not tell."""
    verdict = target.get("verdict")
    evidence = mapping(target.get("evidence"))
    found = {
        name: stages
        for name, one in mapping(evidence.get("schedules")).items()
        if (stages := texts(mapping(one).get("differing_stages")))
    }
    stages = texts(target.get("differing")) or list(
        dict.fromkeys(stage for one in found.values() for stage in one)
    )
    if not stages or verdict not in {"equivalent", "diverged", "unstable"}:
        return []
    if verdict == "equivalent":
        return [_equivalent(stages, found)]
    first = _first(target, stages)
    if verdict == "unstable":
        sentences = _unstable(first, stages, found)
    else:
        controlled = _CONTROL in mapping(evidence.get("schedules"))
        blamed = not _explains(mapping(target.get("cause")))
        sentences = [*_diverged(first, stages, found), _controlled(found, controlled, blamed)]
    output = mapping(target.get("output"))
    if text(mapping(target.get("cause")).get("kind")) == _KERNEL and output.get("bitwise") is True:
        return sentences  # of the target in one piece: what is linked of its kernels may have other bits
    return [*sentences, *_outputs(output)]


def _equivalent(stages: list[str], found: dict[str, list[str]]) -> str:
    under = f" under {listed(list(found))}" if found else ""
    verb = "differs" if len(stages) == 1 else "differ"
    rest = "" if "output" in stages else ", the output's bits included"
    return f"Only {_named(stages)} {verb}{under}, which is tolerated; all else is equal{rest}."


def _first(target: dict[str, Any], stages: list[str]) -> str:
    """The first stage that differs, with its kernel where that is known and the cause does not tell."""
    cause = mapping(target.get("cause"))
    if text(cause.get("kind")) == _KERNEL:
        return f"{_named(stages[:1])} of its kernels"
    kernel = "" if _explains(cause) else text(cause.get("kernel"))
    return _named(stages[:1]) + (f" of the kernel {kernel}" if kernel else "")


def _diverged(first: str, stages: list[str], found: dict[str, list[str]]) -> Iterator[str]:
    begins: dict[str, list[str]] = {}
    for schedule, differing in found.items():
        if schedule != _CONTROL:
            begins.setdefault(differing[0], []).append(schedule)
    under = f"Under {listed(begins.pop(stages[0]))} " if stages[0] in begins else ""
    yield _capital(f"{under}{first} differs{_then(stages[1:])}.")
    for stage, schedules in begins.items():
        yield f"Under {listed(schedules)} it begins with {_named([stage])}."


def _controlled(found: dict[str, list[str]], controlled: bool, blamed: bool) -> str:
    """What the second serial build says; `blamed`: nothing is known yet but that building in parallel does
    it, which variations may show to be something else about those builds.
    """
    if not controlled:
        return "There is no second serial build (the control) to compare with yet."
    if _CONTROL in found:
        only = f"differs from the first only in {_named(found[_CONTROL])}, which is tolerated"
        return f"A second serial build (the control) {only}" + (
            ": the rest comes of building in parallel." if blamed else "."
        )
    return "A second serial build (the control) equals the first" + (
        ": it comes of building in parallel." if blamed else "."
    )


def _unstable(first: str, stages: list[str], found: dict[str, list[str]]) -> list[str]:
    blameless = "does not reproduce itself, so building in parallel is not to blame."
    if _CONTROL not in found:
        return ["One executable, run again on the same inputs, gave other bits.", f"It {blameless}"]
    if found[_CONTROL][0] != stages[0]:
        first = _named(found[_CONTROL][:1])
    others = [name for name in found if name != _CONTROL]
    verb = "differs" if len(others) == 1 else "differ"
    also = f"{listed(others)} {verb} as well" if others else "the concurrent builds equal the first"
    return [
        f"In a second serial build (the control) {first} differs{_then(found[_CONTROL][1:])}; {also}.",
        f"The build {blameless}",
    ]


def _then(stages: list[str]) -> str:
    return f", and after it {_named(stages)}" if stages else ""


def _outputs(output: dict[str, Any]) -> Iterator[str]:
    if output.get("bitwise") is True:
        yield "The output's bits are equal."
    elif number(output.get("max_abs")) is not None:
        within = "within" if output.get("within_tolerance") is True else "beyond"
        relative = output.get("max_rel")
        also = f" ({figure(relative)} relative)" if number(relative) is not None else ""
        yield f"Outputs are at most {figure(output['max_abs'])} apart{also}, {within} tolerance."
    if count := number(output.get("unmeasured")):
        yield f"How far {count:g} of their leaves {'is' if count == 1 else 'are'} apart is not known."


# -- the cause -------------------------------------------------------------------------------------


def _explains(cause: dict[str, Any]) -> bool:
    return bool(text(cause.get("text"))) and (
        text(cause.get("kind")) not in _UNEXPLAINED or bool(items(cause.get("evidence")))
    )


def _cause(cause: dict[str, Any]) -> str:
    sentence = text(cause.get("text")).rstrip(".")
    extras = [
        f"{key} {name}"
        for key in ("kernel", "pass")
        if (name := text(cause.get(key))) and name not in sentence
    ]
    place = _place(cause)
    return (
        f"Cause: {sentence}"
        + (f" ({', '.join(extras)})" if extras else "")
        + (f", at {place}" if place and place not in sentence else "")
    )


def _steps(target: dict[str, Any]) -> list[str]:
    """What to do next: what the cause advises, else what is likeliest where this stage differs first."""
    cause = mapping(target.get("cause"))
    workaround = text(cause.get("workaround"))
    advice = [text(cause.get("hint")), f"avoid it with: {workaround}" if workaround else ""]
    if any(advice):
        return list(filter(None, advice))
    verdict = text(target.get("verdict"))
    first = text(cause.get("stage")) or text(target.get("first_stage"))  # which may be a tolerated one
    if verdict not in _NEXT or first not in _STAGES:
        return []
    return [_NEXT[verdict] if first in _TRACED else _RUN if first == "output" else _COMPILER]


def _named(stages: list[str]) -> str:
    """Stages as people call them; only the first keeps its article."""
    names = [_STAGES.get(stage, stage) for stage in stages]
    return listed([names[0], *(name.removeprefix("the ") for name in names[1:])])


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _place(where: dict[str, Any]) -> str:
    file, line = text(where.get("file")), where.get("line")
    return f"{file}:{line}" if file and isinstance(line, int) else file
