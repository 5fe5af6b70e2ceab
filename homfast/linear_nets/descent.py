"""Gradient descent with weight decay on deep linear networks, by the package's kernels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays, _backends
from homfast.construct.arguments import finite, real, whole
from homfast.layers import linear, linear_relu_backward


class Descent(NamedTuple):
    """What `descend` returns.

    Attributes
    ----------
    weights : list of arrays
        The factors after the last step, first layer first.
    loss : array of float64, shape (steps,)
        ``|W Y - X|_F`` before each step.
    off_range : array of float64, shape (steps,)
        ``|W (I - P)|_F`` before each step, P the projection onto the span of the inputs; empty
        unless it was asked for.
    """

    weights: list[np.ndarray]
    loss: np.ndarray
    off_range: np.ndarray


def initialize(
    in_features: int, out_features: int, depth: int, width: int, *, seed: int = 0, dtype: Any = None
) -> list[np.ndarray]:
    """Gaussian factors of a deep linear network, entries of variance 1 / out_features of the layer.

    Parameters
    ----------
    in_features, out_features : int
        m and n of the map from measurements to signals.
    depth : int
        Number of factors L.
    width : int
        Hidden width.
    seed : int
    dtype : float32 or float64
        float64 by default.

    Returns
    -------
    list of arrays, first layer first
    """
    depth = whole(depth, "depth", 1)
    ends = whole(in_features, "in_features", 1), whole(out_features, "out_features", 1)
    widths = [ends[0], *[whole(width, "width", 1)] * (depth - 1), ends[1]]
    kind = _arrays.check_float_dtype(np.float64 if dtype is None else dtype)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    return [
        (generator.standard_normal((b, a)) / np.sqrt(b)).astype(kind)
        for a, b in itertools.pairwise(widths)
    ]


def descend(
    weights: Sequence[Any],
    measurements: Any,
    signals: Any,
    *,
    steps: int,
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    projection: Any = None,
) -> Descent:
    """Gradient descent on ``|W_L ... W_1 Y - X|_F^2 / 2 + lambda / 2 sum_l |W_l|_F^2``.

    Parameters
    ----------
    weights : sequence of arrays, each (out_features, in_features)
        Where to start, first layer first, of one dtype; they are copied. See `initialize`.
    measurements, signals : arrays, shapes (batch, m), (batch, n)
        The rows of Y^T and X^T, of the dtype of the weights.
    steps : int
    learning_rate : float, optional
        eta; by default ``0.1 / (L sigma_max(Y)^2)``.
    weight_decay : float
        lambda.
    projection : array, shape (m, m), optional
        P of `range_projection`: record how much of the network is off the range.

    Returns
    -------
    Descent

    Raises
    ------
    FloatingPointError
        The loss is no longer finite: the learning rate is too large.
    TypeError, ValueError
        Arguments that do not match.

    Notes
    -----
    ``W_l <- (1 - eta lambda) W_l - eta grad_l``, the setting of Laus et al., arXiv 2502.15522. To
    push the part off the range below epsilon takes about ``log(1 / epsilon) / (eta lambda)`` steps.
    """
    factors = _checked_factors(weights)
    inputs, targets = _checked_data(factors, measurements, signals)
    steps, decay = whole(steps, "steps", 0), real(weight_decay, "weight_decay", 0.0)
    if learning_rate is None:
        largest = float(np.linalg.norm(inputs, 2))
        if largest == 0.0:
            raise ValueError("measurements: are all zero; pass a learning_rate")
        rate = 0.1 / (len(factors) * largest**2)
    else:
        rate = real(learning_rate, "learning_rate", 0.0)
    away = None
    if projection is not None:
        onto = finite(_arrays.host_array(projection, "projection"), "projection")
        if onto.shape != (inputs.shape[1],) * 2:
            raise ValueError(
                f"projection: got shape {onto.shape}, wanted {(inputs.shape[1],) * 2}, (m, m)"
            )
        away = np.ascontiguousarray((np.eye(len(onto)) - onto).astype(inputs.dtype))
    update = _backends.resolve(None, inputs).sgd_update
    losses, off_range = np.empty(steps), np.empty(steps if away is not None else 0)
    for step in range(steps):
        values = [inputs]
        for factor in factors:
            values.append(linear(values[-1], factor))
        grad = values[-1] - targets
        losses[step] = np.sqrt(np.einsum("ij,ij->", grad, grad, dtype=np.float64))
        if not np.isfinite(losses[step]):
            raise FloatingPointError(
                f"descend: the loss is {losses[step]} at step {step}; lower the learning rate"
            )
        if away is not None:
            rows = away
            for factor in factors:
                rows = linear(rows, factor)
            off_range[step] = np.linalg.norm(rows.astype(np.float64))
        gradients = []
        for layer in reversed(range(len(factors))):
            below, gradient = linear_relu_backward(
                grad, values[layer], factors[layer] if layer else None, None
            )
            gradients.append(gradient)
            grad = below
        for factor, gradient in zip(factors, reversed(gradients), strict=True):
            update(factor, gradient, rate, decay)
    return Descent(factors, losses, off_range)


def _checked_factors(weights: Sequence[Any]) -> list[np.ndarray]:
    from homfast.network import ReLUNetwork

    factors = [np.array(w) for w in ReLUNetwork(weights).weights]
    for i, factor in enumerate(factors):
        finite(factor, f"weights[{i}]")
    return factors


def _checked_data(
    factors: list[np.ndarray], measurements: Any, signals: Any
) -> tuple[np.ndarray, np.ndarray]:
    inputs = _arrays.host_array(measurements, "measurements")
    targets = _arrays.host_array(signals, "signals")
    for array, name, features in (
        (inputs, "measurements", factors[0].shape[1]),
        (targets, "signals", factors[-1].shape[0]),
    ):
        _arrays.check_same_dtype(factors[0], "weights[0]", array, name)
        _arrays.check_matrix(array, name, "(batch, features)")
        _arrays.check_last_axis(array, name, features, "the weights")
        finite(array, name)
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise ValueError(
            f"signals: got {len(targets)} rows beside {len(inputs)} of measurements, wanted as "
            "many, at least one"
        )
    return np.ascontiguousarray(inputs), np.ascontiguousarray(targets)
