"""Measurements of matrices, and what they make of matrices in factored form."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from homfast import _arrays
from homfast.measure.operator import Operator


class MatrixMeasurements(Operator):
    """Operators whose row i is ``outer(a_i, b_i).ravel()``, so that y_i = a_i^T X b_i.

    A family has `matrix_shape` and the products with the factors a and b, `_left` and `_right`.
    """

    @property
    @abc.abstractmethod
    def matrix_shape(self) -> tuple[int, int]:
        """(d1, d2) of the matrices X; signals are their rows one after the other."""

    @abc.abstractmethod
    def _factor_forward(self, side: int, rows: np.ndarray) -> np.ndarray:
        """(batch, m) products of rows (batch, d) with each a_i (side 0) or b_i (side 1)."""

    @abc.abstractmethod
    def _factor_adjoint(self, side: int, rows: np.ndarray) -> np.ndarray:
        """(batch, d): sums over i of rows (batch, m) times conj(a_i) or conj(b_i)."""

    def _rescale(self, values: np.ndarray) -> None:
        """The scale of the operator, once a finished sum."""

    def forward_factors(self, U: Any, V: Any) -> Any:
        """The measurements of ``X = U V^T``, without forming X.

        Parameters
        ----------
        U, V : arrays, shapes (..., d1, r) and (..., d2, r), dtype of the operator
            With the same leading axes.

        Returns
        -------
        array, shape (..., m), of the library of `U`
            The products of X to rounding, in 2 m r (d1 + d2) operations instead of 2 m d1 d2.

        Raises
        ------
        TypeError
            As `forward`.
        ValueError
            Shapes that do not match.
        """
        u, v, batch = self._check_factors(U, V)
        with np.errstate(all="ignore"):
            left, right = self._factor_products(u, v)
            y = np.zeros((left.shape[0], self.shape[0]), self.dtype)
            for k in range(left.shape[1]):
                y += left[:, k] * right[:, k]
            self._rescale(y)
        return _arrays.result_like(y.reshape(*batch, self.shape[0]), U)

    def vjp_factors(self, U: Any, V: Any, g: Any) -> tuple[Any, Any]:
        """Gradients of ``<g, A(U V^T)>`` in U and V, without forming ``A^H g``.

        Parameters
        ----------
        U, V : arrays, as in `forward_factors`
        g : array, shape (..., m)

        Returns
        -------
        grad_U, grad_V : arrays of the shapes of `U` and `V`
            ``G conj(V)`` and ``G^T conj(U)``, G = A^H g as a matrix.

        Raises
        ------
        TypeError, ValueError
            As `forward_factors`.
        """
        u, v, batch = self._check_factors(U, V)
        grad = self._check_on_host(g, "g", self.dtype)
        if grad.shape != (*batch, self.shape[0]):
            raise ValueError(
                f"g: got shape {grad.shape}, wanted {(*batch, self.shape[0])} to match U and V"
            )
        with np.errstate(all="ignore"):
            weights = grad.reshape(len(u), 1, self.shape[0])
            left, right = self._factor_products(u, v)
            gradients = []
            for side, other, size in ((0, right, u.shape[1]), (1, left, v.shape[1])):
                rows = (weights * np.conj(other)).reshape(len(u) * u.shape[2], self.shape[0])
                found = self._factor_adjoint(side, rows)
                self._rescale(found)
                shape = (*other.shape[:2], size)
                gradients.append(np.swapaxes(found.reshape(shape), 1, 2))
        grad_u, grad_v = (
            _arrays.result_like(np.ascontiguousarray(each).reshape(*batch, *each.shape[1:]), like)
            for each, like in zip(gradients, (U, V), strict=True)
        )
        return grad_u, grad_v

    def _factor_products(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Products with the columns of U and V, (batch, r, m) each."""
        products = []
        for side, factor in ((0, u), (1, v)):
            columns = np.ascontiguousarray(np.swapaxes(factor, 1, 2))
            rows = columns.reshape(len(factor) * factor.shape[2], factor.shape[1])
            found = self._factor_forward(side, rows)
            products.append(found.reshape(*columns.shape[:2], self.shape[0]))
        return products[0], products[1]

    def _check_factors(self, U: Any, V: Any) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
        """U and V with one leading axis, and the leading axes they had."""
        u, v = (self._check_on_host(a, n, self.dtype) for a, n in ((U, "U"), (V, "V")))
        d1, d2 = self.matrix_shape
        for array, name, size in ((u, "U", d1), (v, "V", d2)):
            if array.ndim < 2 or array.shape[-2] != size:
                raise ValueError(f"{name}: got shape {array.shape}, wanted (..., {size}, r)")
        if u.shape[:-2] != v.shape[:-2] or u.shape[-1] != v.shape[-1]:
            raise ValueError(
                f"V: got shape {v.shape}, wanted the leading axes and the rank of U, {u.shape}"
            )
        batch = u.shape[:-2]
        count = int(np.prod(batch, dtype=np.int64))
        r = u.shape[-1]
        return u.reshape(count, d1, r), v.reshape(count, d2, r), batch


def check_matrix_shape(shape: Any) -> tuple[int, int]:
    """`shape` as two positive integers."""
    from homfast.measure.seeded import check_size

    if not isinstance(shape, (tuple, list)) or len(shape) != 2:
        raise TypeError(f"shape: got {shape!r}, wanted (d1, d2), two integers")
    largest = (1 << 31) - 1
    return check_size(shape[0], "d1", largest), check_size(shape[1], "d2", largest)
