"""What a model file imports: `@pcv.target` declares a function for pcv to build serially and in parallel,
`@pcv.kernel` a part of one as a unit of compilation, and `pcv.compile_kernels` compiles one by such units.

A function declared as a target stays the very object it was. No dependencies: a model that imports pcv runs
wherever this package is.
"""

from pcv.boundary import kernel
from pcv.declaration import Declaration, declared, target
from pcv.door import compile_kernels

__all__ = ["Declaration", "compile_kernels", "declared", "kernel", "target"]
