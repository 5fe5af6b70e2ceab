"""What is known in closed form of deep linear networks trained with weight decay."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import finite, finite_matrix, real, whole


class NoiseSplit(NamedTuple):
    """The parts of ``W (A x + e) - x``, each an array of row norms, shape (batch,).

    bias : ``|(W A - I) x|``; on_range : ``|W P e|``; off_range : ``|W (I - P) e|``.
    """

    bias: np.ndarray
    on_range: np.ndarray
    off_range: np.ndarray


def product(weights: Sequence[Any]) -> np.ndarray:
    """W_L ... W_1 in float64."""
    return reduce(lambda below, above: above @ below, _factors(weights))


def _factors(weights: Sequence[Any]) -> list[np.ndarray]:
    """The factors in float64, first layer first, each of which takes what the one below gives."""
    if not isinstance(weights, (Sequence, np.ndarray)) or isinstance(weights, str):
        raise TypeError(
            f"weights: got {type(weights).__name__}, wanted a list of matrices, first layer first"
        )
    matrices = [finite_matrix(w, f"weights[{i}]", any_scale=True)[0] for i, w in enumerate(weights)]
    if not matrices:
        raise ValueError("weights: got an empty list, wanted at least one matrix")
    for i, (below, above) in enumerate(itertools.pairwise(matrices)):
        if above.shape[1] != below.shape[0]:
            raise ValueError(
                f"weights[{i + 1}]: got shape {above.shape}, wanted (outputs, {below.shape[0]}) to "
                f"take the outputs of weights[{i}] of shape {below.shape}; first layer first"
            )
    return matrices


def oracle_map(A: Any, basis: Any) -> np.ndarray:
    """The minimum-norm map that solves the problem on a subspace: ``R (A R)^+``, shape (n, m).

    Parameters
    ----------
    A : array or operator, shape (m, n)
    basis : array, shape (n, s)
        Columns R span the subspace of the signals; A must be injective on it.

    Returns
    -------
    array of float64
        It equals ``X Y^+`` for data X = R Z, Y = A X with Z of full row rank, kills what is
        orthogonal to A range(R), and amplifies noise by ``|(A R)^+|_2`` for orthonormal R.

    Notes
    -----
    The limit that Laus et al., arXiv 2502.15522, compare with; the formula is derived here.
    """
    matrix, _ = finite_matrix(A)
    columns, _ = finite_matrix(basis, "basis")
    if columns.shape[0] != matrix.shape[1]:
        raise ValueError(
            f"basis: got shape {columns.shape}, wanted ({matrix.shape[1]}, s) to match A of shape "
            f"{matrix.shape}"
        )
    images = matrix @ columns
    rank = int(np.linalg.matrix_rank(images))
    if rank < columns.shape[1]:
        raise ValueError(
            f"A: maps the {columns.shape[1]} columns of basis to rank {rank}: signals of the "
            "subspace cannot be told apart"
        )
    return columns @ np.linalg.pinv(images)


def range_projection(measurements: Any) -> np.ndarray:
    """The orthogonal projection P onto the span of rows `measurements`, shape (m, m)."""
    array = _arrays.host_array(measurements, "measurements")
    _arrays.check_matrix(array, "measurements", "(batch, m)")
    _, sizes, rows = np.linalg.svd(finite(array, "measurements"), full_matrices=False)
    kept = sizes > max(array.shape) * np.finfo(array.dtype).eps * sizes.max(initial=0.0)
    return rows[kept].T @ rows[kept]


def off_range_decay(
    first_weight: Any, measurements: Any, learning_rate: float, weight_decay: float, steps: int
) -> np.ndarray:
    """``W_1(t) (I - P)`` after t steps of gradient descent: ``(1 - eta lambda)^t W_1(0) (I - P)``.

    Parameters
    ----------
    first_weight : array, shape (width, m)
        W_1(0).
    measurements : array, shape (batch, m)
        The training inputs, rows.
    learning_rate, weight_decay : float
        eta and lambda of `descend`.
    steps : int

    Returns
    -------
    array of float64, shape (width, m)

    Notes
    -----
    Exact whatever the depth and the data, for the gradient of W_1 ends in the data. Without decay
    this part never changes. Derived here.
    """
    weight, _ = finite_matrix(first_weight, "first_weight", any_scale=True)
    projection = range_projection(measurements)
    if len(projection) != weight.shape[1]:
        raise ValueError(
            f"measurements: got rows of {len(projection)} entries, wanted (batch, "
            f"{weight.shape[1]}) to match first_weight of shape {weight.shape}"
        )
    rate = 1.0 - real(learning_rate, "learning_rate", 0.0) * real(weight_decay, "weight_decay", 0.0)
    steps = whole(steps, "steps", 0)
    return rate**steps * (weight - weight @ projection)


def mode_gains(singular_values: Any, weight_decay: float, depth: int) -> np.ndarray:
    """Where the modes of the network end: the root p of ``s (s p - 1) + lambda p^(2/L - 1) = 0``.

    Parameters
    ----------
    singular_values : array, shape (modes,)
        s > 0, those of A R, for white latents (Z Z^T = I).
    weight_decay : float
        lambda >= 0, of the loss ``|W Y - X|_F^2 / 2 + lambda / 2 sum_l |W_l|_F^2``.
    depth : int
        L >= 1.

    Returns
    -------
    array of float64, shape (modes,)
        The largest root, a local minimum of the loss; 0 where there is none and the mode dies. The
        error of a mode is ``1 - s p``, about ``lambda s^(-2/L)``. For s of any size; inf where the
        root is beyond the range of float64.

    Notes
    -----
    Stationarity of ``|W Y - X|_F^2 / 2 + (lambda L / 2) sum_i sigma_i(W)^(2/L)``, the loss over
    balanced factors. Derived here.
    """
    values = finite(_arrays.host_array(singular_values, "singular_values"), "singular_values")
    if values.ndim != 1 or (values <= 0).any():
        raise ValueError("singular_values: wanted one axis of positive numbers")
    decay = real(weight_decay, "weight_decay", 0.0)
    depth = whole(depth, "depth", 1)
    # In q = s p it is q - 1 + mu q^(2/L - 1) = 0, mu = lambda s^(-2/L): of any size s is one.
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        if decay == 0.0:
            return 1.0 / values
        if depth == 1:  # s / (s^2 + lambda)
            return np.where(
                values < 1.0, values / (values * values + decay), 1.0 / (values + decay / values)
            )
        if depth == 2:
            return np.maximum(values - decay, 0.0) / values / values
        return _largest_root(decay * values ** (-2.0 / depth), 1.0 - 2.0 / depth) / values


def _largest_root(mu: np.ndarray, power: float) -> np.ndarray:
    """The larger q with ``q + mu q^-power = 1``, 0 where there is none, 0 < power < 1.

    The left side is least at ``q = (mu power)^(1 / (1 + power))``, which must not exceed
    ``power / (1 + power)`` for it to reach one; beyond that it rises: bisection.
    """
    turn = power / (1.0 + power)
    alive = mu <= turn ** (1.0 + power) / power
    mu = np.where(alive, mu, 0.0)
    low, high = np.full(len(mu), turn), np.ones(len(mu))
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = middle - 1.0 + mu * middle**-power > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(alive, np.where(mu == 0.0, 1.0, 0.5 * (low + high)), 0.0)


def balancedness(weights: Sequence[Any]) -> np.ndarray:
    """``|W_(l+1)^T W_(l+1) - W_l W_l^T|_F`` for each pair of neighbours.

    Under gradient flow with weight decay lambda it falls as ``exp(-2 lambda t)``; derived here.
    """
    gaps = [
        np.linalg.norm(above.T @ above - below @ below.T)
        for below, above in itertools.pairwise(_factors(weights))
    ]
    return np.array(gaps)


def noise_split(weights: Sequence[Any], A: Any, projection: Any, x: Any, noise: Any) -> NoiseSplit:
    """The error of a linear network on ``y = A x + e``, split by where it comes from.

    Parameters
    ----------
    weights : sequence of arrays
        The factors, first layer first.
    A : array or operator, shape (m, n)
    projection : array, shape (m, m)
        P, as from `range_projection`.
    x : array, shape (batch, n)
        Signals of the subspace.
    noise : array, shape (batch, m)

    Returns
    -------
    NoiseSplit
        The error's norm is at most the sum of the three. `bias` is of order lambda, `on_range`
        about ``|(A R)^+| |P e|``, `off_range` falls as ``(1 - eta lambda)^t``. Derived here.
    """
    network = product(weights)
    matrix, _ = finite_matrix(A)
    onto, _ = finite_matrix(projection, "projection")
    signals = finite(_arrays.host_array(x, "x"), "x")
    errors = finite(_arrays.host_array(noise, "noise"), "noise")
    if network.shape != matrix.shape[::-1]:
        raise ValueError(
            f"weights: the product has shape {network.shape}, wanted {matrix.shape[::-1]} to match "
            f"A of shape {matrix.shape}"
        )
    _arrays.check_last_axis(signals, "x", matrix.shape[1], f"A {matrix.shape}")
    _arrays.check_last_axis(errors, "noise", matrix.shape[0], f"A {matrix.shape}")
    wanted = (*signals.shape[:-1], matrix.shape[0])
    if errors.shape != wanted:
        raise ValueError(
            f"noise: got shape {errors.shape}, wanted {wanted}, one row for each signal of x of "
            f"shape {signals.shape}"
        )
    if onto.shape != (matrix.shape[0], matrix.shape[0]):
        raise ValueError(
            f"projection: got shape {onto.shape}, wanted {(matrix.shape[0],) * 2} to match A of "
            f"shape {matrix.shape}"
        )
    on = errors @ onto
    return NoiseSplit(
        np.linalg.norm(signals @ (network @ matrix).T - signals, axis=-1),
        np.linalg.norm(on @ network.T, axis=-1),
        np.linalg.norm((errors - on) @ network.T, axis=-1),
    )
