"""From an entry to a function, and from model files to the entries they declare."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pcv
from pcvd.core.frames import relative
from pcvd.core.model import Failure, Problem, Read, TargetSpec
from pcvd.worker.blame import Rejected, blame

if TYPE_CHECKING:
    from pcvd.worker.modules import Modules
    from pcvd.worker.reads import Ledger


@dataclass(frozen=True, slots=True)
class Entry:
    """A target as the worker holds it: its function, and its arguments as declared."""

    spec: TargetSpec
    function: Any
    args: Any
    module: ModuleType


def target_spec(message: dict[str, Any]) -> TargetSpec:
    """A declaration as a job brings it."""
    args = message["args"]
    return TargetSpec(
        message["entry"], tuple(args) if isinstance(args, list) else args, message["file"], message["line"]
    )


def resolve(spec: TargetSpec, modules: Modules) -> Entry:
    """The function that `spec` names. Raises Rejected, or whatever importing its file raises."""
    module = _module(spec, modules)
    declared = _declared(module, spec.function)
    function = _attribute(module, spec) if declared is None else declared.function
    if not callable(function):
        raise Rejected(
            Failure("missing", f"{spec.entry} is {type(function).__name__}, not a function", spec.path)
        )
    args: Any = spec.args
    if args is None:
        args = () if declared is None else declared.args
    return Entry(spec, function, args, module)


def value_of(spec: TargetSpec, modules: Modules) -> Any:
    """What `spec` names, for arguments: a function that makes one, or a value. Raises like `resolve`."""
    return _attribute(_module(spec, modules), spec)


def discover(
    files: list[str], modules: Modules, ledger: Ledger, root: str
) -> tuple[list[TargetSpec], dict[str, Problem], dict[str, list[Read]]]:
    """The targets that `files` declare with `@pcv.target`, what kept files from being imported, and what
    each file read.
    """
    targets: list[TargetSpec] = []
    problems: dict[str, Problem] = {}
    reads: dict[str, list[Read]] = {}
    for file in files:
        owner = f"discovery of {file}"
        try:
            with ledger.owner(owner):
                module = modules.load(file)
        except BaseException as error:  # a model may even call sys.exit(); the next file is innocent
            failure = blame("import", error, root)
            problems[file] = Problem(failure.message, failure.file or file, failure.line, failure.hint)
        else:
            targets += [
                TargetSpec(
                    f"{file}:{declaration.name}", None, relative(declaration.file, root), declaration.line
                )
                for declaration in pcv.declared()
                if declaration.module == module.__name__
            ]
        reads[file] = ledger.of(owner)
    return targets, problems, reads


def _module(spec: TargetSpec, modules: Modules) -> ModuleType:
    try:
        return modules.load(spec.path)
    except Rejected as rejected:
        if rejected.failure.file is not None:
            raise
        # There is no file to point at: what can be mended is the declaration.
        raise Rejected(replace(rejected.failure, file=spec.file, line=spec.line)) from None


def _declared(module: ModuleType, function: str) -> pcv.Declaration | None:
    return next(
        (one for one in pcv.declared() if one.module == module.__name__ and one.name == function), None
    )


def _attribute(module: ModuleType, spec: TargetSpec) -> Any:
    found: Any = module
    for name in spec.function.split("."):
        if not hasattr(found, name):
            names = [
                each
                for each, value in vars(found).items()
                if not each.startswith("__") and not isinstance(value, ModuleType)
            ]
            near = difflib.get_close_matches(name, names, 1)
            raise Rejected(
                Failure(
                    "missing",
                    f"there is no {spec.function!r} in this file"
                    + (f", though {spec.file}:{spec.line} names it" if spec.file else ""),
                    spec.path,
                    hint=f"did you mean {near[0]!r}?"
                    if near
                    else f"it defines {', '.join(names[:8]) or 'nothing'}",
                )
            )
        found = getattr(found, name)
    return found
