"""Measurements of matrices, and what they make of matrices in factored form."""

from __future__ import annotations

import abc
import math
from typing import Any

import numpy as np

from homfast import _arrays, _places
from homfast.measure import on_device
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

    @abc.abstractmethod
    def _device_factor(self, at: Any, side: int, rows: Any, adjoint: bool, out: Any) -> None:
        """`_factor_forward`, or `_factor_adjoint`, on the device of `at`, into `out`."""

    @property
    def _scale(self) -> float:
        """What finished sums are multiplied by, for devices."""
        return 1.0

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
        if (place := _places.place_of(U, V)).on_device:
            return _OnDevice(self, U, V, place).forward()
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
        if (place := _places.place_of(U, V, g)).on_device:
            return _OnDevice(self, U, V, place).vjp(g)
        u, v, batch = self._check_factors(U, V)
        grad = self._check(g, "g", self.dtype)
        self._check_gradient(grad.shape, batch)
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
        u, v = (self._check(a, n, self.dtype) for a, n in ((U, "U"), (V, "V")))
        batch = self._check_factor_shapes(u, v)
        count = math.prod(batch)
        return u.reshape(count, *u.shape[-2:]), v.reshape(count, *v.shape[-2:]), batch

    def _check_factor_shapes(self, u: Any, v: Any) -> tuple[int, ...]:
        """The leading axes of factors, which must match."""
        d1, d2 = self.matrix_shape
        for array, name, size in ((u, "U", d1), (v, "V", d2)):
            if array.ndim < 2 or array.shape[-2] != size:
                raise ValueError(f"{name}: got shape {array.shape}, wanted (..., {size}, r)")
        if u.shape[:-2] != v.shape[:-2] or u.shape[-1] != v.shape[-1]:
            raise ValueError(
                f"V: got shape {v.shape}, wanted the leading axes and the rank of U, {u.shape}"
            )
        return tuple(u.shape[:-2])

    def _check_gradient(self, shape: tuple[int, ...], batch: tuple[int, ...]) -> None:
        if shape != (*batch, self.shape[0]):
            raise ValueError(
                f"g: got shape {shape}, wanted {(*batch, self.shape[0])} to match U and V"
            )


class _OnDevice:
    """`forward_factors` and `vjp_factors` of one call on a device."""

    def __init__(self, op: MatrixMeasurements, U: Any, V: Any, place: Any):
        named = (U, "U"), (V, "V")
        u, v = (on_device.check(op, array, name, op.dtype, place) for array, name in named)
        place.check_same_place(u, "U", v, "V")
        self._op, self._factors, self._place = op, (u, v), place
        self._batch = op._check_factor_shapes(u, v)
        self._count, self._rank = math.prod(self._batch), u.shape[-1]
        self._at = on_device.Device(u)

    def forward(self) -> Any:
        """(..., m)"""
        op, at = self._op, self._at
        with self._place.current(self._factors[0]):
            y = at.empty((self._count, op.shape[0]), op.dtype)
            at.backend.sum_weighted_rows(self._product(0), self._product(1), False, y)
            at.scale(y, op._scale)
            return self._place.reshaped(y, (*self._batch, op.shape[0]))

    def vjp(self, g: Any) -> tuple[Any, Any]:
        """Two of the shapes of the factors."""
        op = self._op
        grad = on_device.check(op, g, "g", op.dtype, self._place)
        self._place.check_same_place(self._factors[0], "U", grad, "g")
        op._check_gradient(grad.shape, self._batch)
        with self._place.current(grad):
            rows = self._place.reshaped(
                self._place.contiguous(grad.array), (self._count, op.shape[0])
            )
            return self._gradient(0, rows), self._gradient(1, rows)

    def _product(self, side: int) -> Any:
        """(count r, m): the products with the columns of U or V."""
        op, place, factor = self._op, self._place, self._factors[side]
        d = op.matrix_shape[side]
        stacked = place.reshaped(place.contiguous(factor.array), (self._count, d, self._rank))
        rows = self._count * self._rank
        found = self._at.empty((rows, op.shape[0]), op.dtype)
        columns = place.reshaped(place.swapped(stacked), (rows, d))
        op._device_factor(self._at, side, columns, False, found)
        return found

    def _gradient(self, side: int, grad: Any) -> Any:
        op, at, place = self._op, self._at, self._place
        weighted, d = self._product(1 - side), op.matrix_shape[side]
        at.conjugate(weighted)
        at.backend.weigh_rows(grad, weighted, weighted)
        found = at.empty((self._count * self._rank, d), op.dtype)
        op._device_factor(at, side, weighted, True, found)
        at.scale(found, op._scale)
        stacked = place.swapped(place.reshaped(found, (self._count, self._rank, d)))
        return place.reshaped(stacked, (*self._batch, d, self._rank))


def check_matrix_shape(shape: Any) -> tuple[int, int]:
    """`shape` as two positive integers."""
    from homfast.measure.seeded import check_size

    if not isinstance(shape, (tuple, list)) or len(shape) != 2:
        raise TypeError(f"shape: got {shape!r}, wanted (d1, d2), two integers")
    largest = (1 << 31) - 1
    return check_size(shape[0], "d1", largest), check_size(shape[1], "d2", largest)
