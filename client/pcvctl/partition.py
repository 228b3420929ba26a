"""What a status and an explanation say of the kernels that a target was cut into. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pcvctl.values import figure, items, listed, mapping, number, text, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINKED = "linked"
_MOST_NAMED = 3


def note(kernels: dict[str, Any]) -> str:
    """All of it in one line: `5 kernels, 49 steps: agree`; "" where the target was not cut."""
    if not kernels:
        return ""
    verdict, reason = text(kernels.get("verdict")), text(kernels.get("reason"))
    if verdict == "inconclusive":
        return f"{_counted(kernels)}: not compared: {reason or 'nobody says why'}"
    return f"{_counted(kernels)}: {verdict or 'unknown'}" + (f": {_differing(kernels)}" if reason else "")


def hint(kernels: dict[str, Any]) -> str:
    """What to do about kernels that could not be built, where somebody knows."""
    return text(mapping(kernels.get("failure")).get("hint"))


def name(kernel: dict[str, Any]) -> str:
    """A kernel's name and where it comes from."""
    if text(kernel.get("name")) == _LINKED:
        return "the program linked of all kernels"
    file, line = text(kernel.get("file")), kernel.get("line")
    place = f"{file}:{line}" if file and isinstance(line, int) else file
    where = " ".join(filter(None, (place, text(kernel.get("function")))))
    return text(kernel.get("name")) + (f" ({where})" if where else "")


def details(kernel: dict[str, Any]) -> Iterator[str]:
    """What is known of a kernel that differs: where, how often it is used, who alone has it."""
    stages = mapping(kernel.get("runs"))
    for run, differing in stages.items():
        yield f"{run}: {', '.join(texts(differing))}"
    only = {"serial": "only serial has it", "others": "serial does not have it"}
    if said := only.get(text(kernel.get("only")), ""):
        yield said
    if (uses := number(kernel.get("uses"))) and text(kernel.get("name")) != _LINKED:
        yield f"used in {uses:g} step{'s' * (uses != 1)}"


def linked(kernels: dict[str, Any]) -> str:
    """How the linked program's results compare; "" where that is not known."""
    found = mapping(kernels.get("linked"))
    if not found:
        return ""
    same = "the same bits" if found.get("bitwise") is True else "not the same bits"
    return f"linked and run: {same} under every schedule; {_against(mapping(found.get('against_whole')))}"


def _against(whole: dict[str, Any]) -> str:
    if whole.get("bitwise") is True:
        return "equal to those of the whole program"
    apart = [
        f"{figure(whole.get(key))} {unit}"
        for key, unit in (("max_ulps", "ULPs"), ("max_abs", "absolute"), ("max_rel", "relative"))
        if number(whole.get(key)) is not None
    ]
    within = "within" if whole.get("within_tolerance") is True else "beyond"
    return f"at most {', '.join(apart) or '?'} from the whole program, {within} tolerance"


def _counted(kernels: dict[str, Any]) -> str:
    counts = [(number(kernels.get(key)), noun) for key, noun in (("kernels", "kernel"), ("steps", "step"))]
    told = [f"{count:g} {noun}{'s' * (count != 1)}" for count, noun in counts if count]
    return ", ".join(told) or "kernels"


def _differing(kernels: dict[str, Any]) -> str:
    found = [mapping(one) for one in items(kernels.get("differing"))]
    told = [f"{', '.join(texts(one.get('stages')))} of {name(one)}" for one in found[:_MOST_NAMED]]
    more = len(found) - len(told) + int(number(kernels.get("more")) or 0)
    return listed([*told, *([f"{more} more"] if more > 0 else [])])
