"""The functions users call: check arguments, widen and round bfloat16, bind the primitive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from homfast import _arrays
from homfast.jax import checks
from homfast.jax.primitives import network_p

Array = jax.Array


def linear(x: Any, weight: Any, *, precision: str | None = None) -> Array:
    """``x @ weight.T``, a JAX function.

    Parameters
    ----------
    x : array of JAX or NumPy, shape (..., in_features), float32, float64 or bfloat16
        Rows are samples. float64 needs JAX's 64-bit mode. bfloat16 is summed in float32 and
        rounded once.
    weight : array, shape (out_features, in_features), dtype of `x`
    precision : {None, "highest", "high", "medium"}
        Accuracy of float32 products, as in `homfast.linear`; None is "highest".

    Returns
    -------
    jax.Array, shape (..., out_features)

    Raises
    ------
    TypeError
        Mixed or unsupported dtypes, lists, a platform that is not the CPU.
    ValueError
        Shapes that do not match.

    Notes
    -----
    The bits of a row depend on that row and the weight alone: not on the batch, and so not on
    ``vmap`` either. They are those of `homfast.ReLUNetwork`, and of `homfast.linear` with
    ``set_batch_invariant(True)``.

    Examples
    --------
    >>> import numpy as np, homfast.jax
    >>> homfast.jax.linear(np.float32([[1, 2]]), np.float32([[3, 4], [5, 6]]))
    Array([[11., 17.]], dtype=float32)
    """
    return _apply(*checks.check_layer(x, weight), 0.0, False, precision)


def linear_relu(
    x: Any, weight: Any, negative_slope: float = 0.0, *, precision: str | None = None
) -> Array:
    """``relu(x @ weight.T)``, a JAX function.

    Parameters
    ----------
    x, weight, precision
        As in `linear`.
    negative_slope : float
        Slope for pre-activations <= 0; 0 is ReLU, others are leaky ReLU. A Python number: it is
        part of what is compiled.

    Returns
    -------
    jax.Array, shape (..., out_features)

    Raises
    ------
    TypeError, ValueError
        As in `linear`.
    """
    return _apply(*checks.check_layer(x, weight), negative_slope, True, precision)


def relu_network(
    x: Any, weights: Sequence[Any], negative_slope: float = 0.0, *, precision: str | None = None
) -> Array:
    """A bias-free ReLU network ``W_L relu(... relu(W_1 x))`` at the rows of `x`, a JAX function.

    Parameters
    ----------
    x : array of JAX or NumPy, shape (..., in_features), float32, float64 or bfloat16
    weights : list or tuple of arrays, each (out_features, in_features), dtype of `x`
        First layer first; the last layer is linear. ``net.weights`` of a `homfast.ReLUNetwork` will
        do.
    negative_slope, precision
        As in `linear_relu`.

    Returns
    -------
    jax.Array, shape (..., out_features)

    Raises
    ------
    TypeError, ValueError
        As in `linear`; the message names the weight.

    Notes
    -----
    To the bit ``homfast.ReLUNetwork(weights)(x)``, under every transformation. Reverse mode keeps
    the layers' inputs and one bit a hidden unit. At a kink the derivative is that of the inactive
    side; second derivatives take the units' bits for constants.
    """
    return _apply(*checks.check_network(x, weights), negative_slope, False, precision)


def _apply(x: Array, weights: list[Array], slope: Any, last_relu: bool, precision: Any) -> Array:
    half = x.dtype == jnp.bfloat16
    options = {
        "slope": _arrays.check_slope(slope),
        "last_relu": last_relu,
        "precision": checks.check_precision(precision, half),
    }
    if not half:
        return network_p.bind(x, *weights, **options)
    y = network_p.bind(x.astype(np.float32), *(w.astype(np.float32) for w in weights), **options)
    return y.astype(jnp.bfloat16)
