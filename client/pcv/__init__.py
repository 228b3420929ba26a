"""What a model file imports: `@pcv.target` declares a function for pcv to build serially and in parallel.

A decorated function stays the very object it was. No dependencies: a model that imports pcv runs wherever
this package is.
"""

from pcv.declaration import Declaration, declared, target

__all__ = ["Declaration", "declared", "target"]
