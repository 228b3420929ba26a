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
from pcvd.core.canonical import Context, canonicalize
from pcvd.core.model import LINES, LOCATIONS, PASSES, Artifact, Part
from pcvd.worker import identity

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
        made = [self._try("jaxpr", lambda: self._jaxpr(product.traced))]
        if detail:
            made.append(self._try(LINES, lambda: self._lines(product.traced)))
        if product.lowered is None:
            return made
        made.append(self._text("stablehlo", "module.mlir", product.lowered.as_text))
        made.append(self._text(LOCATIONS, "locations.mlir", lambda: product.lowered.as_text(debug_info=True)))
        if product.compiled is not None:
            made += self._compiled(product, detail=detail)
        return made

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

    def _jaxpr(self, traced: Any) -> list[Part]:
        jaxpr = traced.jaxpr
        # The text leaves out which functions it refers to, and how the function is called.
        parts = [
            self._part("jaxpr", "jaxpr.txt", str(jaxpr).encode(errors="backslashreplace")),
            self._value("signature.txt", identity.signature(traced).encode(errors="backslashreplace")),
        ]
        named = identity.callables(jaxpr)
        if named:
            parts.append(self._value("callables.txt", named.encode(errors="backslashreplace")))
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
        return [self._part(LINES, "jaxpr.txt", text.encode())]

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
