"""Rank-one measurements of matrices: random bilinear and quadratic forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from homfast._backends.streams import RANK_ONE_LEFT, RANK_ONE_RIGHT, stream_word
from homfast.measure import normal
from homfast.measure.low_rank import MatrixMeasurements, check_matrix_shape
from homfast.measure.packed import PackedMatrix
from homfast.measure.seeded import SeededOperator

_CHUNK = 1 << 20  # elements of temporaries in a product
_DEVICE_CHUNK = 1 << 25  # likewise on a device, where a part is a few launches


class RankOne(SeededOperator, MatrixMeasurements):
    """y_i = <a_i b_i^T, X> = a_i^T X b_i, with independent normal a_i and b_i.

    Parameters
    ----------
    m : int
        Measurements, at least 1.
    shape : (int, int)
        (d1, d2) of the matrices X; signals are ``X.ravel()``, n = d1 d2.
    seed : int, 0 <= seed < 2^64, or integer array (B,) for a batch of B operators
    symmetric : bool
        a_i = b_i: the quadratic forms a_i^T X a_i of PhaseLift and covariance sketching; d1 = d2.
    dtype : float32 or float64
        The two have entries of their own.
    normalize : bool
        Scale by 1/sqrt(m): a finished sum is multiplied by it once. Then E[A^H A] = I, but where
        `symmetric`: there it maps X to X + X^T + tr(X) I, as fourth moments of normals do.

    Raises
    ------
    TypeError
        As `Gaussian`; `shape` is not two integers.
    ValueError
        As `Gaussian`; `symmetric` and d1 != d2.

    Notes
    -----
    Rows are ``outer(a_i, b_i).ravel()`` times the scale. The entries of a_i and b_i are pure
    functions of (seed, i, column, dtype), so operators of one seed are nested in m. The factors are
    kept from the first product on, m (d1 + d2) numbers; on a device each product makes them anew.
    Products take 2 m d1 d2 operations, of factors 2 m r (d1 + d2): `forward_factors`,
    `vjp_factors`. Cai and Zhang, Ann. Statist. 43, 2015; Candes, Strohmer, Voroninski, Comm. Pure
    Appl. Math. 66, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.measure import RankOne
    >>> op = RankOne(50, (6, 4), seed=3)
    >>> op.forward_factors(np.ones((6, 1), np.float32), np.ones((4, 1), np.float32)).shape
    (50,)
    """

    def __init__(
        self,
        m: int,
        shape: tuple[int, int],
        *,
        seed: int = 0,
        symmetric: bool = False,
        dtype: Any = np.float32,
        normalize: bool = True,
    ):
        from homfast import _arrays

        self._matrix_shape = check_matrix_shape(shape)
        d1, d2 = self._matrix_shape
        super().__init__(m, d1 * d2, seed=seed, dtype=dtype, normalize=normalize)
        self._symmetric = _arrays.check_flag(symmetric, "symmetric")
        if self._symmetric and d1 != d2:
            raise ValueError(f"shape: got {(d1, d2)}, wanted d1 = d2 with symmetric=True")
        self._packed: tuple[PackedMatrix, PackedMatrix] | None = None

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(d1, d2) of the matrices X."""
        return self._matrix_shape

    @property
    def symmetric(self) -> bool:
        """Whether a_i = b_i."""
        return self._symmetric

    @property
    def factors(self) -> tuple[np.ndarray, np.ndarray]:
        """(a, b), shapes (m, d1) and (m, d2), unscaled; new arrays."""
        left, right = self._factors()
        return left.array.copy(), right.array.copy()

    def _factors(self) -> tuple[PackedMatrix, PackedMatrix]:
        if self._packed is None:
            d1, d2 = self._matrix_shape
            span = self._row_range
            left = PackedMatrix(
                normal.normal_block(RANK_ONE_LEFT, self._seed, span, range(d1), self.dtype)
            )
            right = left
            if not self._symmetric:
                right = PackedMatrix(
                    normal.normal_block(RANK_ONE_RIGHT, self._seed, span, range(d2), self.dtype)
                )
            self._packed = left, right
        return self._packed

    def _arguments(self) -> tuple[Any, ...]:
        return self._m, self._matrix_shape

    def _options(self) -> dict[str, Any]:
        return {"symmetric": True} if self._symmetric else {}

    def _parts(self, batch: int, chunk: int = _CHUNK) -> Iterator[tuple[slice, slice]]:
        """Ranges of samples, and of the rows of X: sums over rows run in ascending order."""
        d1, d2 = self._matrix_shape
        widest = max(self.shape[0], d2)
        samples = max(1, chunk // (d1 * widest))
        step = min(d1, max(1, chunk // widest))
        for s in range(0, batch, samples):
            for k in range(0, d1, step):
                yield slice(s, s + samples), slice(k, min(k + step, d1))

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        left, right = self._factors()
        d1, d2 = self._matrix_shape
        m = self.shape[0]
        weights = np.ascontiguousarray(left.array.T)  # (d1, m)
        out[...] = 0
        for samples, span in self._parts(len(rows)):
            target = out[samples]
            part = np.ascontiguousarray(rows[samples].reshape(-1, d1, d2)[:, span])
            products = np.empty((len(target), part.shape[1], m), self.dtype)
            right.forward_rows(part.reshape(-1, d2), products.reshape(-1, m))
            for k in range(part.shape[1]):
                target += products[:, k] * weights[span.start + k]
        self._rescale(out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        left, right = self._factors()
        d2, m = self._matrix_shape[1], self.shape[0]
        weights = np.ascontiguousarray(left.array.T)
        for samples, span in self._parts(len(rows)):
            weighted = rows[samples, None] * weights[span]
            count = weighted.shape[0] * weighted.shape[1]
            found = np.empty((count, d2), self.dtype)
            right.adjoint_rows(weighted.reshape(count, m), found)
            columns = slice(span.start * d2, span.stop * d2)
            out[samples, columns] = found.reshape(weighted.shape[0], -1)
        self._rescale(out)

    def _factor_forward(self, side: int, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), self.shape[0]), self.dtype)
        self._factors()[side].forward_rows(rows, out)
        return out

    def _factor_adjoint(self, side: int, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), self._matrix_shape[side]), self.dtype)
        self._factors()[side].adjoint_rows(rows, out)
        return out

    def _stream(self, side: int) -> int:
        kind = RANK_ONE_RIGHT if side and not self._symmetric else RANK_ONE_LEFT
        return stream_word(kind, self.dtype.itemsize)

    def _device_factor(self, at: Any, side: int, rows: Any, adjoint: bool, out: Any) -> None:
        at.backend.gaussian_product(self._seed, self._stream(side), self._first, rows, adjoint, out)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        m, d2, place = self.shape[0], self._matrix_shape[1], at.place
        kept: tuple[slice, Any] | None = None
        for samples, span in self._parts(rows.shape[0], _DEVICE_CHUNK):
            if kept is None or kept[0] != span:
                kept = span, self._device_weights(at, span)
            columns = slice(span.start * d2, span.stop * d2)
            matrices, measured = (out, rows) if adjoint else (rows, out)
            matrices, measured = matrices[samples][:, columns], measured[samples]
            count = matrices.shape[0] * (span.stop - span.start)
            products = at.empty((count, m), self.dtype)
            if adjoint:
                at.backend.weigh_rows(measured, kept[1], products)
                found = at.empty((count, d2), self.dtype)
                self._device_factor(at, 1, products, True, found)
                place.assign(matrices, place.reshaped(found, matrices.shape))
            else:
                part = place.reshaped(place.contiguous(matrices), (count, d2))
                self._device_factor(at, 1, part, False, products)
                at.backend.sum_weighted_rows(products, kept[1], span.start > 0, measured)
        at.scale(out, self._scale)

    def _device_weights(self, at: Any, span: slice) -> Any:
        """Some columns of a, as rows."""
        m, d = self.shape[0], span.stop - span.start
        block = at.empty((m, d), self.dtype)
        at.backend.gaussian_block(self._seed, self._stream(0), self._first, span.start, block)
        columns = at.place.swapped(at.place.reshaped(block, (1, m, d)))
        return at.place.reshaped(columns, (d, m))

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, d1 d2)."""
        self._check_dense()
        left, right = self._factors()
        matrix = (left.array[:, :, None] * right.array[:, None, :]).reshape(self.shape)
        self._rescale(matrix)
        return matrix
