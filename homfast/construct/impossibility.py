"""What no network of one hidden layer can do on symmetric sets of signals."""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast.construct.arguments import finite_matrix, point_rows
from homfast.construct.exact_rank import largest_rank
from homfast.network import ReLUNetwork


def one_hidden_layer_bound(A: Any, points: Any = None) -> float:
    """A worst-case error that no bias-free network f of one hidden layer can undercut.

    Parameters
    ----------
    A : array or operator, shape (m, n)
    points : array, shape (N, n), optional
        Rows x_1 .. x_N; by default the unit vectors.

    Returns
    -------
    float
        ``b`` with ``max_i max(|f(A x_i) - x_i|_2, |f(-A x_i) + x_i|_2) >= b``: the root of
        ``sum_{k > rank A} sigma_k(X)^2 / N``. For the unit vectors, ``sqrt(1 - rank(A) / n)``. The
        rank is that of the very numbers of A, not one to rounding: a matrix of low rank that was
        rounded has a larger one, and a smaller bound, which a network of huge weights may attain.
        Measurements and f are exact here: what rounding of ``A x`` reveals of x is not counted.

    Notes
    -----
    Theorem 2.3 and Corollary 2.1 of Bamberger, Heckel, Krahmer, arXiv 2308.02836. With
    ``relu(t) - relu(-t) = t`` the odd part of f is a linear map of rank at most rank A. The bound
    is attained by ``f(y) = A^T y`` where A has orthonormal rows and columns of one norm.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.construct import one_hidden_layer_bound
    >>> bool(abs(one_hidden_layer_bound(np.ones((1, 4))) ** 2 - 0.75) < 1e-12)
    True
    """
    matrix, _ = finite_matrix(A)
    rank = largest_rank(matrix)
    n = matrix.shape[1]
    if points is None:
        return float(np.sqrt((n - rank) / n))
    rows = point_rows(points, "points", n)
    values = np.linalg.svd(rows, compute_uv=False)
    # Computed values may exceed the true ones by rounding, which is no error that any network has.
    values = np.maximum(values - max(rows.shape) * np.finfo(np.float64).eps * values[0], 0.0)
    return float(np.sqrt(np.sum(values[rank:] ** 2) / len(rows)))


def one_hidden_layer_witness(net: ReLUNetwork, A: Any, points: Any = None) -> np.ndarray:
    """A signal at which a network of one hidden layer errs by the bound at least.

    Parameters
    ----------
    net : ReLUNetwork
        From R^m to R^n, with one hidden layer at most.
    A : array or operator, shape (m, n)
    points : array, shape (N, n), optional
        As in `one_hidden_layer_bound`.

    Returns
    -------
    array of float64, shape (n,)
        The x among ``+-points`` of largest ``|net(A x) - x|_2``; measurements are rounded to the
        dtype of the network.

    Raises
    ------
    ValueError
        More hidden layers: the bound does not hold for those. Shapes that do not match.
    """
    if not isinstance(net, ReLUNetwork):
        raise TypeError(f"net: got {type(net).__name__}, wanted a homfast.ReLUNetwork")
    matrix, _ = finite_matrix(A)
    m, n = matrix.shape
    if len(net.widths) > 3:
        raise ValueError(
            f"net: has {len(net.widths) - 2} hidden layers, wanted one at most: with two a network "
            "can recover sparse signals, see one_sparse_decoder"
        )
    if (net.widths[0], net.widths[-1]) != (m, n):
        raise ValueError(
            f"net: maps {net.widths[0]} features to {net.widths[-1]}, wanted {m} to {n} to match "
            f"A of shape {matrix.shape}"
        )
    rows = np.eye(n) if points is None else point_rows(points, "points", n)
    signals = np.vstack([rows, -rows])
    output = net((signals @ matrix.T).astype(net.dtype))
    errors = np.linalg.norm(output - signals, axis=1)
    return signals[int(np.argmax(errors))]
