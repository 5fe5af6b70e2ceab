"""Positively homogeneous functions from their values: two hidden layers, any continuous target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import finite, point_rows, real, whole
from homfast.construct.certified import CertifiedNetwork, pairs, rounded
from homfast.construct.homogenization import homogenize
from homfast.network import ReLUNetwork


class InterpolantCertificate(NamedTuple):
    """Angular spacing h, and ``|F(y) - f(y)| <= factor L |y|_2`` for an L-Lipschitz f.

    But for rounding, which is divided by h.
    """

    spacing: float
    factor: float


def two_layer_interpolant(
    function: Callable[[np.ndarray], Any], rays: int, *, dtype: Any = np.float64
) -> CertifiedNetwork:
    """The piecewise linear interpolant of a positively homogeneous function on the plane.

    Parameters
    ----------
    function : callable
        f with ``f(t y) = t f(y)``, t >= 0: rows (rays, 2) to rows (rays, k).
    rays : int
        J >= 5 directions, equally spaced from (1, 0).
    dtype : float32 or float64

    Returns
    -------
    CertifiedNetwork
        Hidden widths at most 3 J and J, equal to f on the rays. The certificate is an
        `InterpolantCertificate`: ``factor = h / cos(h / 2)``; the error is of order h^2 where f is
        twice differentiable off 0.

    Notes
    -----
    Hats ``relu(min(a, b))``, a and b linear, 1 at their ray and 0 at its neighbours, with
    ``min(a, b) = relu(a) - relu(-a) - relu(a - b)``. Derived here, for Theorem 2.5 of Bamberger,
    Heckel, Krahmer, arXiv 2308.02836, in the plane.
    """
    count = whole(rays, "rays", 5)
    dtype = _arrays.check_float_dtype(dtype)
    if not callable(function):
        raise TypeError(f"function: got {type(function).__name__}, wanted a callable of rows")
    spacing = 2 * np.pi / count
    angles = spacing * np.arange(count)
    points = np.column_stack([np.cos(angles), np.sin(angles)])
    values = _values(function(points), count)
    normals = np.column_stack([-np.sin(angles), np.cos(angles)]) / np.sin(spacing)
    rising, falling = np.roll(normals, 1, axis=0), -np.roll(normals, -1, axis=0)
    hats = np.hstack([np.eye(count), -np.eye(count), -np.eye(count)])
    weights = [np.vstack([rising, -rising, rising - falling]), hats, values.T]
    certificate = InterpolantCertificate(spacing, float(spacing / np.cos(spacing / 2)))
    return CertifiedNetwork.build(weights, dtype, certificate, "function")


def spike_approximator(points: Any, values: Any, radius: float) -> ReLUNetwork:
    """A network of localised spikes that takes given values on given rays.

    Parameters
    ----------
    points : array, shape (N, m), float32 or float64
        Directions, no two the same; they are scaled to norm one.
    values : array, shape (N, k)
        Of the function at `points`, of their dtype.
    radius : float
        rho: a spike vanishes outside the cone of half-angle arctan(rho) about its point. At least
        ``100 m u``, u = 2^-24 in float32 and 2^-53 in float64: rounding is divided by it.

    Returns
    -------
    ReLUNetwork
        Hidden widths 2 N m and N, dtype of `points`; equal to `values` at `points`, but for
        rounding.

    Raises
    ------
    ValueError
        Two points of one direction to rounding, named; spikes so wide beside the distance of points
        that they do not determine the values, or so narrow that rounding takes a point out of its
        own.

    Notes
    -----
    ``relu(<p, y> - sum_k |<v_k, y>| / rho)``, v_k a basis of the complement of p: two layers can
    localise, one cannot (Bamberger, Heckel, Krahmer, arXiv 2308.02836). Derived here.
    """
    rows, targets, dtype = _samples(points, values)
    rho = real(radius, "radius", 0.0, strict=True)
    count, m = rows.shape
    least = 50 * m * float(np.finfo(dtype).eps)
    if rho < least:
        raise ValueError(
            f"radius: got {rho:.3g}, at which rounding in {dtype} takes points out of their own "
            f"spikes; wanted {least:.3g} or more for {m} coordinates"
        )
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    units = rows / size
    _refuse_alike(units, least)
    bases = np.stack([np.linalg.svd(p[None])[2] for p in units])  # first row: +-p
    bases[:, 0] = units
    first = bases.reshape(count * m, m)
    inner, gate = np.zeros((count, count * m)), np.zeros((count, count * m))
    for i in range(count):
        inner[i, i * m] = 1.0
        gate[i, i * m + 1 : (i + 1) * m] = 1.0 / rho
    second = np.hstack([inner - gate, -inner - gate])
    images = units @ first.T
    spikes = np.maximum(images @ inner.T - np.abs(images) @ gate.T, 0.0)
    if np.linalg.cond(spikes) > float(np.finfo(dtype).eps) ** (-2 / 3):  # errs by eps^(1/3)
        raise ValueError(
            f"radius: got {rho}, at which spikes at some of the {count} points are alike; wanted "
            "a smaller one, or points farther apart"
        )
    coefficients = np.linalg.solve(spikes, targets / size)
    return ReLUNetwork(rounded([pairs(first), second, coefficients.T], dtype, "points, values"))


def random_feature_approximator(
    points: Any, values: Any, width: int, *, ridge: float = 1e-8, seed: int = 0
) -> ReLUNetwork:
    """A network of homogenised random features and a linear part, fitted to samples by ridge.

    Parameters
    ----------
    points : array, shape (N, m), float32 or float64
        No row zero.
    values : array, shape (N, k)
        Of a positively homogeneous function at `points`, of their dtype.
    width : int
        Random features.
    ridge : float
        Relative to the mean square of the features.
    seed : int

    Returns
    -------
    ReLUNetwork
        Hidden widths 2m and ``width + 2m``, dtype of `points`.

    Notes
    -----
    Features ``relu(<w, y> + b |y|_1)``, with kinks between 0 and samples. A weak baseline for
    sparse signals of two or more entries. Derived here.
    """
    rows, targets, dtype = _samples(points, values)
    width, ridge = whole(width, "width", 1), real(ridge, "ridge", 0.0)
    m = rows.shape[1]
    sizes = np.abs(rows).sum(axis=1, keepdims=True)
    rows, targets = rows / sizes, targets / sizes
    generator = np.random.default_rng(_arrays.check_seed(seed))
    features = generator.standard_normal((width, m))
    chosen = rows[generator.integers(0, len(rows), width)]
    shifts = -generator.random(width) * np.einsum("ij,ij->i", features, chosen)
    inner = np.vstack([features, np.eye(m), -np.eye(m)])
    biases = np.concatenate([shifts, np.zeros(2 * m)])
    design = np.maximum(rows @ inner.T + biases, 0.0)
    scale = np.sqrt(ridge * np.mean(design**2) * len(rows))
    stacked = np.vstack([design, scale * np.eye(design.shape[1])])
    wanted = np.vstack([targets, np.zeros((design.shape[1], targets.shape[1]))])
    if scale > 0:
        orthogonal, factor = np.linalg.qr(stacked)
        solution = np.linalg.solve(factor, orthogonal.T @ wanted)
    else:
        solution = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
    *last, biases = rounded([inner, solution.T, biases], dtype, "points, values")
    return homogenize(last, [biases, None])


def _refuse_alike(units: np.ndarray, least: float) -> None:
    """ValueError that names two unit rows nearer than the least radius that tells rows apart."""
    for i, row in enumerate(units[:-1]):
        apart = np.linalg.norm(units[i + 1 :] - row, axis=1)
        if apart.min() < least:
            raise ValueError(
                f"points: rows {i} and {i + 1 + int(apart.argmin())} have one direction, and so "
                "one value; drop one"
            )


def _values(values: Any, count: int) -> np.ndarray:
    array = finite(np.asarray(values), "function")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or len(array) != count:
        raise ValueError(f"function: gave shape {array.shape}, wanted ({count}, k)")
    return array


def _samples(points: Any, values: Any) -> tuple[np.ndarray, np.ndarray, np.dtype]:
    array = _arrays.host_array(points, "points")
    _arrays.check_matrix(array, "points", "(N, m)")
    rows = point_rows(array, "points", array.shape[1])
    wanted = _arrays.host_array(values, "values")
    _arrays.check_same_dtype(array, "points", wanted, "values")
    if wanted.ndim != 2 or len(wanted) != len(rows):
        raise ValueError(f"values: got shape {wanted.shape}, wanted ({len(rows)}, k)")
    zero = np.flatnonzero(~rows.any(axis=1))
    if len(zero):
        raise ValueError(f"points: row {zero[0]} is zero, which has no direction; drop it")
    targets = finite(wanted, "values")
    sizes, heights = np.abs(rows).max(axis=1), np.abs(targets).max(axis=1, initial=0.0)
    with np.errstate(over="ignore"):
        steep = np.flatnonzero(~np.isfinite(heights / sizes))
    if len(steep):
        raise ValueError(
            f"values: row {steep[0]} reaches {heights[steep[0]]:.3g} at a point of size "
            f"{sizes[steep[0]]:.3g}, and their ratio leaves the range of float64; wanted other "
            "scales"
        )
    return rows, targets, array.dtype
