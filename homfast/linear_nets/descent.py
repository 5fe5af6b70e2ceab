"""Gradient descent with weight decay on deep linear networks, by the package's kernels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays, _backends
from homfast.construct.arguments import whole
from homfast.layers import linear, linear_relu_backward
from homfast.linear_nets.runs import (
    checked_data,
    checked_factors,
    checked_numbers,
    checked_projection,
    common_runs,
)


class Descent(NamedTuple):
    """What `descend` returns.

    Attributes
    ----------
    weights : list of arrays, each (out_features, in_features)
        The factors after the last step, first layer first.
    loss : array of float64, shape (steps,)
        ``|W Y - X|_F`` before each step.
    off_range : array of float64, shape (steps,)
        ``|W (I - P)|_F`` before each step, P the projection onto the span of the inputs; empty
        unless it was asked for.

    All have a leading axis (runs,) where several runs were asked for.
    """

    weights: list[np.ndarray]
    loss: np.ndarray
    off_range: np.ndarray


def initialize(
    in_features: int,
    out_features: int,
    depth: int,
    width: int,
    *,
    seed: Any = 0,
    dtype: Any = None,
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
    seed : int, or integer array (runs,), or list of int
        An array gives as many networks, for `descend` to run at once.
    dtype : float32 or float64
        float64 by default.

    Returns
    -------
    list of arrays, first layer first
        Each (out_features, in_features), or (runs, out_features, in_features).
    """
    depth = whole(depth, "depth", 1)
    ends = whole(in_features, "in_features", 1), whole(out_features, "out_features", 1)
    widths = [ends[0], *[whole(width, "width", 1)] * (depth - 1), ends[1]]
    kind = _arrays.check_float_dtype(np.float64 if dtype is None else dtype)
    if not isinstance(seed, (np.ndarray, list)):
        return _gaussian(widths, _arrays.check_seed(seed), kind)
    if np.ndim(seed) != 1 or len(seed) == 0:
        raise ValueError(f"seed: got shape {np.shape(seed)}, wanted (runs,), runs >= 1 seeds")
    nets = [_gaussian(widths, _arrays.check_seed(each), kind) for each in seed]
    return [np.stack(layer) for layer in zip(*nets, strict=True)]


def _gaussian(widths: list[int], seed: int, dtype: np.dtype) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [
        (generator.standard_normal((b, a)) / np.sqrt(b)).astype(dtype)
        for a, b in itertools.pairwise(widths)
    ]


def descend(
    weights: Sequence[Any],
    measurements: Any,
    signals: Any,
    *,
    steps: int,
    learning_rate: Any = None,
    weight_decay: Any = 0.0,
    projection: Any = None,
) -> Descent:
    """Gradient descent on ``|W_L ... W_1 Y - X|_F^2 / 2 + lambda / 2 sum_l |W_l|_F^2``.

    Each argument may have a leading axis (runs,), as long as the others that have one: so many
    networks of one shape are trained in one call, from several seeds, at several decays or rates,
    on several data. What has no such axis is common to all runs.

    Parameters
    ----------
    weights : sequence of arrays, each (out_features, in_features) or (runs, ...)
        Where to start, first layer first, of one dtype; they are copied. See `initialize`.
    measurements, signals : arrays, shapes (batch, m), (batch, n), or (runs, ...)
        The rows of Y^T and X^T, of the dtype of the weights.
    steps : int
    learning_rate : float or array (runs,), optional
        eta; by default ``0.1 / (L sigma_max(Y)^2)``.
    weight_decay : float or array (runs,)
        lambda.
    projection : array, shape (m, m) or (runs, m, m), optional
        P of `range_projection`: record how much of the network is off the range.

    Returns
    -------
    Descent
        Of each run the numbers that it has alone, to the bit.

    Raises
    ------
    FloatingPointError
        The loss is no longer finite: the learning rate is too large. Names the run.
    TypeError, ValueError
        Arguments that do not match.

    Notes
    -----
    ``W_l <- (1 - eta lambda) W_l - eta grad_l``, the setting of Laus et al., arXiv 2502.15522. To
    push the part off the range below epsilon takes about ``log(1 / epsilon) / (eta lambda)`` steps.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.linear_nets import descend, initialize
    >>> start = initialize(3, 4, 2, 5, seed=np.arange(6))  # six seeds
    >>> y, x = np.eye(3)[:2], np.eye(4)[:2]
    >>> run = descend(start, y, x, steps=10, learning_rate=0.1, weight_decay=1e-3)
    >>> run.weights[0].shape, run.loss.shape
    ((6, 5, 3), (6, 10))
    """
    factors = checked_factors(weights)
    inputs, targets = checked_data(factors, measurements, signals)
    steps = whole(steps, "steps", 0)
    decays = checked_numbers(weight_decay, "weight_decay")
    rates = None if learning_rate is None else checked_numbers(learning_rate, "learning_rate")
    onto = None if projection is None else checked_projection(projection, inputs)
    runs = common_runs(factors, inputs, targets, rates, decays, onto)

    def of(array: np.ndarray, index: int, axes: int) -> np.ndarray:
        return array if array.ndim == axes else array[index]

    count = 1 if runs is None else runs
    shapes = [(count, *factor.shape[-2:]) for factor in factors]
    found = [np.empty(shape, factors[0].dtype) for shape in shapes]
    losses = np.empty((count, steps))
    off_range = np.empty((count, 0 if onto is None else steps))
    for index in range(count):
        own = [layer[index] for layer in found]
        for layer, factor in zip(own, factors, strict=True):
            layer[...] = of(factor, index, 2)
        y = np.ascontiguousarray(of(inputs, index, 2))
        x = np.ascontiguousarray(of(targets, index, 2))
        rate = _default_rate(y, len(own)) if rates is None else float(of(rates, index, 0))
        decay = float(of(decays, index, 0))
        away = None
        if onto is not None:
            away = (np.eye(y.shape[1]) - of(onto, index, 2)).astype(y.dtype)
        where = "" if runs is None else f"run {index}: "
        losses[index], off_range[index] = _run(own, y, x, steps, rate, decay, away, where)
    if runs is None:
        return Descent([layer[0] for layer in found], losses[0], off_range[0])
    return Descent(found, losses, off_range)


def _run(
    factors: list[np.ndarray],
    inputs: np.ndarray,
    targets: np.ndarray,
    steps: int,
    rate: float,
    decay: float,
    away: np.ndarray | None,
    where: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Change the factors in place; losses and parts off the range, of which `away` is I - P.

    `where` says in messages which run it is.
    """
    update = _backends.resolve(None, inputs).sgd_update
    losses, off_range = np.empty(steps), np.empty(0 if away is None else steps)
    for step in range(steps):
        values = [inputs]
        for factor in factors:
            values.append(linear(values[-1], factor))
        grad = values[-1] - targets
        losses[step] = np.sqrt(np.einsum("ij,ij->", grad, grad, dtype=np.float64))
        if not np.isfinite(losses[step]):
            raise FloatingPointError(
                f"descend: {where}the loss is {losses[step]} at step {step}; lower the learning "
                f"rate, {rate:.3g}"
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
    return losses, off_range


def _default_rate(inputs: np.ndarray, depth: int) -> float:
    largest = float(np.linalg.norm(inputs, 2))
    if largest == 0.0:
        raise ValueError("measurements: are all zero; pass a learning_rate")
    return 0.1 / (depth * largest**2)
