"""A JAX library by itself: cuts a program into kernels, compiles each distinct one once, several at a time,
and links them.

    program ──▶ policies ──▶ extract ──▶ compile ──▶ link
    (flat        (where       (distinct    (threads,    (one callable
     equations)   to cut)      kernels,     processes,   again)
                               recompute)   a cache)

`compile_kernels` goes all the way. `cut_traced` and `cut_jaxpr` stop at the graph of kernels, for those who
build or compare them, and `document` says in JSON what there is to draw; `compile.compile_kernels` and
`link.Linked` are the other halves.
"""

from pcvd.kernels.document import document
from pcvd.kernels.errors import (
    CompilerDied,
    CutRefused,
    KernelFailed,
    NoSuchCut,
    NotTraceable,
    WrongArguments,
)
from pcvd.kernels.library import LinkedFunction, compile_kernels, cut_jaxpr, cut_traced
from pcvd.kernels.shelf import FolderCache
from pcvd.kernels.shelf import usual as usual_cache

__all__ = [
    "CompilerDied", "CutRefused", "FolderCache", "KernelFailed", "LinkedFunction", "NoSuchCut",
    "NotTraceable", "WrongArguments", "compile_kernels", "cut_jaxpr", "cut_traced", "document", "usual_cache",
]  # fmt: skip
