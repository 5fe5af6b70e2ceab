"""Biased networks made positively homogeneous, and units exchanged for others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import finite, finite_matrix, real, whole
from homfast.construct.certified import differences, pairs, rounded
from homfast.network import ReLUNetwork


def homogenize(
    weights: Sequence[Any],
    biases: Sequence[Any],
    *,
    gauge: Any = "l1",
    activation: tuple[float, float] = (1.0, 0.0),
) -> ReLUNetwork:
    """The bias-free network ``F(y) = s(y) N(y / s(y))`` of a biased network N.

    Parameters
    ----------
    weights : sequence of arrays, each (out_features, in_features)
        Those of N, first layer first, of one dtype, float32 or float64; the last layer is linear.
    biases : sequence of arrays, each (out_features,), or None
        One a layer; None for a layer without.
    gauge : "l1" or array, shape (K, in_features)
        What takes the place of the bias: ``s(y) = |y|_1``, or ``s(y) = sum_k |<v_k, y>|`` for the
        rows v_k of the array, which must span the space; see `random_gauge`.
    activation : (alpha, beta)
        Units of N: ``alpha relu(t) + beta relu(-t)``. ReLU is (1, 0), leaky ReLU (1, -slope).

    Returns
    -------
    ReLUNetwork
        One hidden layer more than N, and s carried through each: exact but for rounding, F(0) = 0.
        Hidden units are doubled where beta is not 0.

    Raises
    ------
    TypeError, ValueError
        Weights that do not chain, biases that do not fit, values that are not finite, a gauge whose
        rows do not span the space.

    Notes
    -----
    The construction behind Theorem 2.5 of Bamberger, Heckel, Krahmer, arXiv 2308.02836: with one
    hidden layer in N it makes two-hidden-layer networks dense in the continuous positively
    homogeneous functions. Other gauges are derived here.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.construct import homogenize
    >>> net = homogenize([np.eye(2), np.ones((1, 2))], [np.ones(2), None])
    >>> net(np.array([[-3.0, 1.0]]))  # 4 (relu(-3/4 + 1) + relu(1/4 + 1))
    array([[6.]])
    """
    matrices, shifts = _checked_layers(weights, biases)
    dtype = matrices[0].dtype
    alpha, beta = _checked_activation(activation)
    projections, left_inverse = _checked_gauge(gauge, matrices[0].shape[1])
    last = max((i for i, b in enumerate(shifts) if b.any()), default=-1)

    built, carried = [pairs(projections)], 0
    for layer, (weight, bias) in enumerate(zip(matrices, shifts, strict=True)):
        weight = weight.astype(np.float64)
        if layer == 0:
            units = weight if left_inverse is None else weight @ left_inverse
            sum_of_all = np.ones((1, 2 * len(projections)))
            units = differences(units)
        else:
            blocks = [alpha * weight] + ([beta * weight] if beta else [])
            width = sum(block.shape[1] for block in blocks)
            units = np.hstack(blocks + ([np.zeros((len(weight), 1))] if carried else []))
            sum_of_all = np.zeros((1, width + carried))
            sum_of_all[0, width:] = 1.0
        rows = units + bias[:, None] * sum_of_all
        if layer < len(matrices) - 1:
            rows = np.vstack([rows, -rows]) if beta else rows
            carried = int(last > layer)
            if carried:
                rows = np.vstack([rows, sum_of_all])
        built.append(rows)
    return ReLUNetwork(rounded(built, dtype, "weights, biases, gauge"))


def random_gauge(in_features: int, projections: int, *, seed: int = 0) -> np.ndarray:
    """Rows v_k with ``sum_k |<v_k, y>|`` near ``|y|_2``, for `homogenize`.

    Parameters
    ----------
    in_features : int
    projections : int
        K >= in_features; the relative deviation from the norm is of order ``K^(-1/2)``.
    seed : int

    Returns
    -------
    array of float64, shape (K, in_features)
        Gaussian rows scaled so that the expectation is the norm. Derived here.
    """
    features = whole(in_features, "in_features", 1)
    count = whole(projections, "projections", features)
    rows = np.random.default_rng(_arrays.check_seed(seed)).standard_normal((count, features))
    return rows * (np.sqrt(np.pi / 2) / count)


def change_activation(net: ReLUNetwork, alpha: float, beta: float) -> ReLUNetwork:
    """The function of a ReLU network in units ``sigma(t) = alpha relu(t) + beta relu(-t)``.

    Parameters
    ----------
    net : ReLUNetwork
        With ``negative_slope`` 0.
    alpha, beta : float
        ``|alpha| != |beta|``.

    Returns
    -------
    ReLUNetwork
        Two sigma units for each hidden unit. It is held as a network with a negative slope, that
        is, with the larger of alpha and beta taken into the weights.

    Raises
    ------
    ValueError
        ``|alpha| = |beta|``: such units make even functions or linear ones only.

    Notes
    -----
    ``relu(t) = (alpha sigma(t) - beta sigma(-t)) / (alpha^2 - beta^2)``; by the activation theorem
    of Bamberger, Heckel, Krahmer, arXiv 2308.02836, no other positively homogeneous unit is
    universal. The identity is derived here.
    """
    if not isinstance(net, ReLUNetwork):
        raise TypeError(f"net: got {type(net).__name__}, wanted a homfast.ReLUNetwork")
    if net.negative_slope:
        raise ValueError(f"net: has negative_slope {net.negative_slope}, wanted 0, ReLU units")
    alpha, beta = real(alpha, "alpha"), real(beta, "beta")
    if abs(alpha) == abs(beta):
        kind = "linear" if alpha == -beta else "even"
        raise ValueError(
            f"alpha, beta: got {alpha}, {beta}, of one size, whose units make only {kind} "
            "functions; wanted |alpha| != |beta|"
        )
    # Divided by the larger one the pair is (1, -slope), if need be with the sign of t turned;
    # both signs of t are there anyway, and the factors cancel in the identity.
    slope = -beta / alpha if abs(alpha) > abs(beta) else -alpha / beta
    scale = 1.0 / (1.0 - slope * slope)
    weights = [w.astype(np.float64) for w in net.weights]
    for layer in range(1, len(weights)):
        weights[layer] = scale * np.hstack([weights[layer], slope * weights[layer]])
    built = [pairs(w) for w in weights[:-1]] + weights[-1:]
    return ReLUNetwork(
        rounded(built, net.dtype, "alpha, beta"), negative_slope=slope, precision=net.precision
    )


def _checked_layers(
    weights: Sequence[Any], biases: Sequence[Any]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    matrices = list(ReLUNetwork(weights).weights)  # says what does not chain
    for i, matrix in enumerate(matrices):
        finite(matrix, f"weights[{i}]")
    if not isinstance(biases, (list, tuple)) or len(biases) != len(matrices):
        came = len(biases) if isinstance(biases, (list, tuple)) else type(biases).__name__
        raise ValueError(f"biases: got {came}, wanted a list of {len(matrices)}, one a weight")
    shifts = []
    for i, (bias, matrix) in enumerate(zip(biases, matrices, strict=True)):
        if bias is None:
            shifts.append(np.zeros(matrix.shape[0]))
            continue
        array = _arrays.host_array(bias, f"biases[{i}]")
        _arrays.check_same_dtype(matrix, f"weights[{i}]", array, f"biases[{i}]")
        if array.shape != (matrix.shape[0],):
            raise ValueError(
                f"biases[{i}]: got shape {array.shape}, wanted ({matrix.shape[0]},) to match "
                f"weights[{i}] of shape {matrix.shape}"
            )
        shifts.append(finite(array, f"biases[{i}]"))
    return matrices, shifts


def _checked_activation(activation: Any) -> tuple[float, float]:
    try:
        alpha, beta = activation
    except (TypeError, ValueError):
        raise TypeError(
            f"activation: got {activation!r}, wanted two numbers (alpha, beta)"
        ) from None
    return real(alpha, "activation[0]"), real(beta, "activation[1]")


def _checked_gauge(gauge: Any, features: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The projections and their left inverse, None for the identity."""
    if isinstance(gauge, str):
        if gauge != "l1":
            raise ValueError(f"gauge: got {gauge!r}, wanted 'l1' or an array of projections")
        return np.eye(features), None
    rows, _ = finite_matrix(gauge, "gauge")
    if rows.shape[1] != features or np.linalg.matrix_rank(rows) < features:
        raise ValueError(
            f"gauge: got shape {rows.shape} of rank {np.linalg.matrix_rank(rows)}, wanted rows "
            f"that span the {features}-dimensional input space"
        )
    return rows, np.linalg.pinv(rows)
