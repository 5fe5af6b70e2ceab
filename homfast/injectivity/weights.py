"""Weights and networks that are injective by construction."""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import check_memory, real, whole
from homfast.network import ReLUNetwork


def minimal_weight(n: int, seed: int = 0, *, dtype: Any = np.float64) -> np.ndarray:
    """An injective ReLU weight of least size: ``[B; -D B]``, shape (2n, n).

    Parameters
    ----------
    n : int
    seed : int
    dtype : float32 or float64

    Returns
    -------
    array, shape (2n, n)
        B a random orthogonal matrix, D diagonal with entries 1/2, 1 or 2, so that the rows of
        ``-D B`` are exact multiples of those of B.

    Raises
    ------
    MemoryError
        n at which it would not fit 8 GiB while it is made.

    Notes
    -----
    Corollary 6 of Puthawala et al., arXiv 2006.08464: fewer than 2n rows are never injective, and
    2n are if and only if they have this form. Rows may be appended.
    """
    n = whole(n, "n", 1)
    check_memory(6.0 * n * n, "n", f"a random basis of {n} dimensions and its negative")
    dtype = _arrays.check_float_dtype(dtype)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    basis = np.linalg.qr(generator.standard_normal((n, n)))[0].astype(dtype)
    scale = dtype.type(2) ** generator.integers(-1, 2, n).astype(dtype)
    return np.vstack([basis, -scale[:, None] * basis])


def make_injective(net: ReLUNetwork, epsilon: float, *, seed: int = 0) -> ReLUNetwork:
    """The network ``F(x) + epsilon G x`` with G Gaussian: injective for almost every G.

    Parameters
    ----------
    net : ReLUNetwork
        F from R^n to R^m, m >= 2n + 1, `negative_slope` 0.
    epsilon : float
        > 0; the result differs from F by at most ``epsilon |G|_2 |x|_2``.
    seed : int
        Of G, whose entries have variance 1 / m.

    Returns
    -------
    ReLUNetwork
        The depth of F; each hidden layer has 2n units more, which carry x.

    Raises
    ------
    ValueError
        ``m < 2n + 1``, where the theorem fails.

    Notes
    -----
    The approximation behind Theorem 15 of Puthawala et al., arXiv 2006.08464, in a simpler form
    derived here: on each pair of affine pieces the 2n-dimensional family of x != y would have to
    meet m > 2n generic equations.
    """
    if not isinstance(net, ReLUNetwork):
        raise TypeError(f"net: got {type(net).__name__}, wanted a homfast.ReLUNetwork")
    if net.negative_slope:
        raise ValueError(f"net: has negative_slope {net.negative_slope}, wanted 0, ReLU units")
    n, m = net.widths[0], net.widths[-1]
    if m < 2 * n + 1:
        raise ValueError(
            f"net: maps {n} features to {m}, wanted at least 2n + 1 = {2 * n + 1} outputs; widen "
            "its last layer"
        )
    epsilon = real(epsilon, "epsilon", 0.0, strict=True)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    skip = epsilon / np.sqrt(m) * generator.standard_normal((m, n))
    weights = [w.astype(np.float64) for w in net.weights]
    if len(weights) == 1:
        built = [weights[0] + skip]
    else:
        eye = np.eye(n)
        built = [np.vstack([weights[0], eye, -eye])]
        for weight in weights[1:-1]:
            below = np.zeros((2 * n, weight.shape[1]))
            carried = np.hstack([below, np.eye(2 * n)])
            built.append(np.vstack([np.hstack([weight, np.zeros((len(weight), 2 * n))]), carried]))
        built.append(np.hstack([weights[-1], skip, -skip]))
    return ReLUNetwork([w.astype(net.dtype) for w in built], precision=net.precision)


def injective_network(
    n: int, hidden_layers: int, *, width: int | None = None, seed: int = 0, dtype: Any = np.float64
) -> ReLUNetwork:
    """A random injective network whose width doubles once, not with every layer.

    Parameters
    ----------
    n : int
        Input width.
    hidden_layers : int
        Each is a layer ``relu([C; -D C] z)`` behind a Gaussian projection to `width` dimensions.
    width : int, optional
        Output width and that of the projections, at least 2n + 1, the default.
    seed : int
    dtype : float32 or float64

    Returns
    -------
    ReLUNetwork
        Hidden widths 2n, then twice `width`; injective almost surely.

    Raises
    ------
    MemoryError
        A width at which the weights would not fit 8 GiB while they are made.

    Notes
    -----
    Corollary 16 of Puthawala et al., arXiv 2006.08464: generic projections to 2n + 1 dimensions
    keep the image of an injective network apart.
    """
    n, layers = whole(n, "n", 1), whole(hidden_layers, "hidden_layers", 1)
    width = 2 * n + 1 if width is None else whole(width, "width", 2 * n + 1)
    check_memory(8.0 * width * width, "width", f"projections to {width} dimensions")
    dtype = _arrays.check_float_dtype(dtype)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    weights = [minimal_weight(n, int(generator.integers(1 << 32)))]
    for layer in range(1, layers + 1):
        rows = len(weights[-1])
        project = generator.standard_normal((width, rows)) / np.sqrt(width)
        if layer < layers:
            project = minimal_weight(width, int(generator.integers(1 << 32))) @ project
        weights.append(project)
    return ReLUNetwork([w.astype(dtype) for w in weights])
