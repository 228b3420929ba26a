"""A process that compiles kernels. Run as a script by `processes`, and never imported: it needs JAX only, in
whichever interpreter pcv is used, installed there or not.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any


def main() -> None:
    """Answer one order after the other, until there is no one who sends them."""
    # What a compiler prints must not get between the frames.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    orders = sys.stdin.buffer
    # Frames as `processes` writes them.
    head = b"pcv-kernel:"
    while orders.read(len(head)):
        order = pickle.loads(orders.read(int.from_bytes(orders.read(8), "big")))  # noqa: S301  # from the parent
        try:
            answer: bytes | str = compiled(order)
        except Exception as error:  # noqa: BLE001  # the reason is the answer
            answer = f"{type(error).__name__}: {error}"
        data = pickle.dumps(answer)
        answers.write(head + len(data).to_bytes(8, "big") + data)
        answers.flush()


def compiled(order: dict[str, Any]) -> bytes:
    """The serialized executable of an exported program."""
    import jax
    from jax.experimental import serialize_executable

    jax.config.update("jax_enable_x64", order["x64"])
    exported = pickle.loads(order["program"])  # noqa: S301  # from the parent

    def kernel(*arguments: Any) -> Any:
        return exported.call(*arguments)

    kernel.__name__ = kernel.__qualname__ = order["name"]
    jitted = jax.jit(kernel, donate_argnums=order["donated"], keep_unused=True)
    arguments = [
        jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type) for aval in exported.in_avals
    ]
    executable = jitted.lower(*arguments).compile(compiler_options=order["options"] or None)
    payload, _, _ = serialize_executable.serialize(executable)
    return bytes(payload)


if __name__ == "__main__":
    main()
