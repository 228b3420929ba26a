"""From an entry to a function, and from model files to the entries they declare."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pcv
from pcvd.core.model import Failure, Problem, Read, TargetSpec
from pcvd.worker.blame import Rejected, blame, relative

if TYPE_CHECKING:
    from types import ModuleType

    from pcvd.worker.modules import Modules
    from pcvd.worker.reads import Ledger


@dataclass(frozen=True, slots=True)
class Entry:
    """A target as the worker holds it: its function, and its arguments as declared."""

    spec: TargetSpec
    function: Any
    args: Any
    module: ModuleType


def resolve(spec: TargetSpec, modules: Modules) -> Entry:
    """The function that `spec` names. Raises Rejected, or whatever importing its file raises."""
    module = modules.load(spec.path)
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


def value_of(entry: str, modules: Modules) -> Any:
    """What an entry (`models/mlp.py:init_params`) names; for arguments. Raises like `resolve`."""
    spec = TargetSpec(entry)
    return _attribute(modules.load(spec.path), spec)


def discover(
    files: list[str], modules: Modules, ledger: Ledger, root: str
) -> tuple[list[TargetSpec], list[Problem], dict[str, list[Read]]]:
    """The targets that `files` declare with `@pcv.target`, the files that can't be imported, and what each
    file read.
    """
    targets: list[TargetSpec] = []
    problems: list[Problem] = []
    reads: dict[str, list[Read]] = {}
    for file in files:
        owner = f"discovery of {file}"
        try:
            with ledger.owner(owner):
                module = modules.load(file)
        except BaseException as error:  # a model may even call sys.exit(); the next file is innocent
            failure = blame("import", error, root)
            problems.append(Problem(failure.message, failure.file or file, failure.line, failure.hint))
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


def _declared(module: ModuleType, function: str) -> pcv.Declaration | None:
    return next(
        (one for one in pcv.declared() if one.module == module.__name__ and one.name == function), None
    )


def _attribute(module: ModuleType, spec: TargetSpec) -> Any:
    found: Any = module
    for name in spec.function.split("."):
        if not hasattr(found, name):
            names = [each for each in dir(found) if not each.startswith("__")]
            near = difflib.get_close_matches(name, names, 1)
            raise Rejected(
                Failure(
                    "missing",
                    f"{spec.path} has no {spec.function!r}"
                    + (f", declared at {spec.file}:{spec.line}" if spec.file else ""),
                    spec.path,
                    hint=f"did you mean {near[0]!r}?"
                    if near
                    else f"it defines {', '.join(names[:8]) or 'nothing'}",
                )
            )
        found = getattr(found, name)
    return found
