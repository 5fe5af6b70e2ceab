"""Bias-free ReLU layers, networks and measurement operators for JAX.

`linear`, `linear_relu` and `relu_network` are JAX functions: they take part in ``jit``, ``vmap``,
``scan`` and differentiation, reverse and forward, to any order. `Operator` is a measurement
operator as one. All compute on the CPU, in homfast's kernels; `transport` says how XLA calls them.

Needs JAX 0.10 or newer, which is in the extra ``jax``; ``import homfast`` does not import it.
"""

try:
    import jax as _jax  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"homfast.jax needs the package jax ({error}); pip install 'homfast[jax]'"
    ) from error

from homfast.jax.lowering import transport
from homfast.jax.operators import Operator
from homfast.jax.ops import linear, linear_relu, relu_network

__all__ = ["Operator", "linear", "linear_relu", "relu_network", "transport"]
