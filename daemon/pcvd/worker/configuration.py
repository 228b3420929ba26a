"""JAX's configuration, which must stand still while models are traced: it is the whole process's, so what one
model changes then, everything has that is built after it.
"""

from __future__ import annotations

from typing import Any

import jax


class Changed(RuntimeError):
    """A model changed the configuration while it was traced."""


def hold_still() -> None:
    """From now on, have `jax.config.update` with another value raise Changed in whoever calls it."""
    update = jax.config.update

    def checked(name: str, value: Any) -> None:
        present = jax.config.values.get(name)
        if present != value:
            raise Changed(
                f"{name} is set to {value!r} while the model is traced, and whatever its process builds after"
                f" it would have that too: set it when the module is imported, or use a context manager"
            )
        update(name, value)

    jax.config.update = checked
