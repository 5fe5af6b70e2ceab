"""How a compiled JAX function reaches homfast's kernels.

Through XLA's foreign function interface the passes of a network are called as C++, on XLA's own
buffers, without Python. That needs the headers of jaxlib when homfast is built, which an isolated
build (a wheel) has not. Then, and where another backend than `native` was asked for, XLA calls the
same passes back through ``jax.pure_callback``: the same bits, one more copy, and Python each time.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from homfast import _backends
from homfast._backends import native

_logger = logging.getLogger("homfast")


@functools.cache
def _targets() -> dict[str, str]:
    """Names under which the passes are registered with XLA; none without its interface."""
    handlers = native._native.xla_handlers() if native._native is not None else {}
    for name, handler in handlers.items():
        jax.ffi.register_ffi_target(f"homfast_{name}", handler, platform="cpu")
    _logger.debug("JAX reaches the kernels through %s", "the FFI" if handlers else "pure_callback")
    return {name: f"homfast_{name}" for name in handlers}


def transport() -> str:
    """How XLA calls the passes of a network, and if not directly, why.

    Returns
    -------
    str
        "ffi", or "pure_callback: " and the reason. Measurement operators are Python objects, which
        are always called back.
    """
    if native._native is None:
        return f"pure_callback: {native.why_unavailable()}"
    if _backends.automatic().name != "native":
        return f"pure_callback: CPU arrays go to the {_backends.automatic().name} backend"
    if not _targets():
        return "pure_callback: homfast was built without the headers of jaxlib"
    return "ffi"


def call(
    name: str,
    kernel: Callable[..., Sequence[np.ndarray]],
    results: Sequence[jax.ShapeDtypeStruct],
    operands: Sequence[jax.Array],
    **options: Any,
) -> list[jax.Array]:
    """The pass called `name` at `operands`; `kernel` is the same on NumPy arrays."""
    if transport() == "ffi":
        options = {k: _attribute(v) for k, v in options.items() if k not in _CALLBACK_ONLY}
        return list(jax.ffi.ffi_call(_targets()[name], list(results))(*operands, **options))
    return list(call_back(functools.partial(kernel, **options), list(results), *operands))


def call_back(function: Callable[..., Any], results: Any, *operands: jax.Array) -> Any:
    """`function` on NumPy arrays, from Python; NotImplementedError for symbolic shapes."""
    for operand in operands:
        if not all(isinstance(size, int) for size in operand.shape):
            raise NotImplementedError(
                f"got the symbolic shape {operand.shape}, and JAX cannot export what is called "
                "back in Python: measurement operators, and networks unless "
                "homfast.jax.transport() is 'ffi'"
            )
    return jax.pure_callback(function, results, *operands, vmap_method="sequential")


# What the C++ side reads off its results.
_CALLBACK_ONLY = frozenset({"hidden", "apart"})


def _attribute(value: Any) -> Any:
    return np.float64(value) if isinstance(value, float) else value
