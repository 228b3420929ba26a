"""From a finished build to its artifacts: the bytes of every stage, their digests, and the reason where
there are none.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from pcvd import jaxnames
from pcvd.core import mlir
from pcvd.core.builds import BY_TYPE, LINES, LOCATIONS, PASSES, Artifact, Part
from pcvd.core.canonical import Context, canonicalize
from pcvd.core.programs import Program, digest_of
from pcvd.worker import environment, identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pcvd.blobs import Blobs
    from pcvd.worker.build import Product

_DUMPED = re.compile(r"^module_(\d+)\.(.+)$")
_HLO_NAME = re.compile(rb"^HloModule ([^\s,]+)")
_LLVM = (".ll",)
_PASS = (".txt",)
_OBJECT = (".o", ".ptx", ".cubin", ".hsaco")
_NO_CONTEXT = Context("", "")


class Collector:
    """Collects the artifacts of builds into the blob store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def artifacts(self, product: Product, *, detail: bool = False) -> list[Artifact]:
        """Everything up to the executable that was made; outputs come from running it.

        With `detail` also what tells where a difference comes from: the jaxpr with its source lines, and the
        HLO after every compiler pass.
        """
        made = [*self._programs(product)]
        if detail:
            made.append(self._try(LINES, lambda: self._lines(product.traced)))
        if product.lowered is None:
            return made
        made.append(self._text(LOCATIONS, "locations.mlir", lambda: product.lowered.as_text(debug_info=True)))
        if product.compiled is not None:
            made += self._compiled(product, detail=detail)
        return made

    def program(self, target: str, inputs: str, product: Product) -> Program:
        """What a build that was lowered has come to; `inputs` is the digest of the argument values."""
        jaxpr, stablehlo = product.program = self._programs(product)
        closed = not mlir.calls_back(product.lowered.as_text())
        config = digest_of(environment.configuration())
        return Program(target, jaxpr.canonical, stablehlo.canonical, inputs, config, closed)

    def _programs(self, product: Product) -> tuple[Artifact, ...]:
        """What there is before anything is compiled: the jaxpr and, where it was lowered, the StableHLO."""
        if product.program:
            return product.program
        jaxpr = self._try("jaxpr", lambda: self._jaxpr(product.traced, product.options))
        if product.lowered is None:
            return (jaxpr,)
        return jaxpr, self._text("stablehlo", "module.mlir", product.lowered.as_text)

    def _compiled(self, product: Product, *, detail: bool) -> list[Artifact]:
        loaded = product.compiled.runtime_executable()
        modules = jaxnames.optimized_hlo(loaded)
        name = _module_name(modules)
        context = Context(product.dump_folder, name)
        dumped = _dumped(product.dump_folder, name)
        if not dumped:
            # The compiler wrote nothing: the executable came out of a cache, and comparing it would compare
            # nothing.
            raise RuntimeError(
                "the compiler was never run: JAX answered from a cache (is a compilation cache switched on?)"
            )
        hlo = [self._part("hlo", f"module_{n}.hlo", text, context) for n, text in enumerate(modules)]
        no_llvm = "this version of XLA does not dump LLVM IR by default"
        made = [
            Artifact.of("hlo", hlo),
            self._files("llvm", dumped, _LLVM, no_llvm, context),
            self._files("object", dumped, _OBJECT, "the compiler wrote no object file", context),
            self._try(
                "executable", lambda: [self._part("executable", "executable", loaded.serialize(), context)]
            ),
        ]
        if detail:
            made.append(self._files(PASSES, dumped, _PASS, "the compiler dumped no pass", context))
        return made

    def part(self, stage: str, name: str, data: bytes, label: str = "") -> Part:
        """Store `data` as one part of an artifact that has no context (outputs)."""
        return self._part(stage, name, data, label=label)

    def _part(
        self, stage: str, name: str, data: bytes, context: Context = _NO_CONTEXT, label: str = ""
    ) -> Part:
        canonical, rules = canonicalize(stage, data, context)
        raw_digest = self._blobs.put(data)
        canonical_digest = self._blobs.put(canonical) if rules else raw_digest
        return Part(name, raw_digest, canonical_digest, len(data), label, rules)

    def _text(self, stage: str, name: str, text: Callable[[], str]) -> Artifact:
        return self._try(stage, lambda: [self._part(stage, name, text().encode())])

    def _try(self, stage: str, make: Callable[[], list[Part] | Artifact]) -> Artifact:
        try:
            made = make()
        except Exception as error:  # whatever the compiler says becomes the reason; the verdict weighs it
            return Artifact.missing(stage, f"{type(error).__name__}: {error}"[:500])
        return made if isinstance(made, Artifact) else Artifact.of(stage, made)

    def _jaxpr(self, traced: Any, options: tuple[tuple[str, Any], ...]) -> list[Part]:
        jaxpr = traced.jaxpr
        called = identity.signature(traced)
        # What the function wants of the compiler is in no later text, and makes other code of the same one.
        called += "".join(f"compiler option {name} = {value!r}\n" for name, value in options)
        # The text leaves out which functions it refers to, and how the function is called.
        parts = [
            self._part("jaxpr", "jaxpr.txt", str(jaxpr).encode(errors="backslashreplace")),
            self._value("signature.txt", called.encode(errors="backslashreplace")),
        ]
        named, by_type = identity.callables(jaxpr)
        if named:
            label = f"{by_type}{BY_TYPE}" if by_type else ""
            parts.append(self._value("callables.txt", named.encode(errors="backslashreplace"), label))
        # The text leaves array constants out: two traces that drew different random numbers would look alike.
        constants = [
            constant for inner in jaxnames.inner_jaxprs(jaxpr) for constant in getattr(inner, "consts", ())
        ]
        for place, constant in enumerate(constants):
            label, data = leaf_bytes(constant)
            parts.append(self._value(f"constant_{place:04d}", data, label))
        return parts

    def _value(self, name: str, data: bytes, label: str = "") -> Part:
        """A part that no rule may touch: a constant's bytes may well look like text with an address in it."""
        stored = self._blobs.put(data)
        return Part(name, stored, stored, len(data), label)

    def _lines(self, traced: Any) -> list[Part]:
        text = jaxnames.with_source_lines(traced.jaxpr)
        # By the jaxpr's rules: an address, or a set's order, is no more of a difference with lines beside it.
        return [self._part("jaxpr", "jaxpr.txt", text.encode(errors="backslashreplace"))]

    def _files(
        self,
        stage: str,
        dumped: Iterable[tuple[str, str]],
        endings: tuple[str, ...],
        none: str,
        context: Context,
    ) -> Artifact:
        parts = []
        for name, path in dumped:
            if f".{name}".endswith(endings):  # a GPU's whole module is a file called `module_0001.jit_f.ptx`
                with open(path, "rb") as file:
                    parts.append(self._part(stage, name, file.read(), context))
        return Artifact.of(stage, parts) if parts else Artifact.missing(stage, none)


def leaf_bytes(leaf: Any) -> tuple[str, bytes]:
    """What a leaf is (`f32[2,3]`) and its bytes in row-major order; keys by their data, anything else by
    its text and its name.
    """
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = np.asarray(jax.random.key_data(leaf))
        return f"{leaf.dtype}{list(leaf.shape)}".replace(" ", ""), data.tobytes()
    try:
        value = np.asarray(leaf)
    except Exception:  # a constant may be any object (a mesh, a state reference): its text must do
        return type(leaf).__name__, identity.described(leaf).encode(errors="backslashreplace")
    if value.dtype == object:
        return type(leaf).__name__, identity.described(leaf).encode(errors="backslashreplace")
    return f"{value.dtype}{list(value.shape)}".replace(" ", ""), value.tobytes()


def _module_name(modules: list[bytes]) -> str:
    matched = _HLO_NAME.match(modules[0]) if modules else None
    return matched.group(1).decode() if matched else ""


def _dumped(folder: str, module: str) -> list[tuple[str, str]]:
    """The dumped files of the build: a name without the process-wide counter, and the path.

    Where a compilation dumps several modules (a GPU's autotuner compiles candidates), each keeps its rank.
    """
    found = []
    for file in sorted(os.listdir(folder)):
        matched = _DUMPED.match(file)
        if matched:
            found.append(
                (
                    int(matched.group(1)),
                    matched.group(2).removeprefix(f"{module}."),
                    os.path.join(folder, file),
                )
            )
    ranks = {number: rank for rank, number in enumerate(sorted({number for number, _, _ in found}))}
    several = len(ranks) > 1
    return [(f"{ranks[number]}.{name}" if several else name, path) for number, name, path in found]
