"""Products with rows that are given by their nonzeros, as indices and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from homfast import _arrays
from homfast.measure.products import RowProducts

_CHUNK_BYTES = 1 << 24  # of dense rows, or of gathered columns, at a time


def check_indices(indices: Any, shape: tuple[int, ...], n: int) -> np.ndarray:
    """`indices` as int64 of that shape, in [0, n)."""
    array = np.asarray(indices)
    if array.dtype.kind not in "iu" or isinstance(indices, np.ma.MaskedArray):
        raise TypeError(f"indices: got dtype {array.dtype}, wanted an array of integers")
    if not shape:
        raise ValueError("values: got shape (), wanted (..., s), s values a row")
    if array.shape != shape:
        raise ValueError(f"indices: got shape {array.shape}, wanted {shape}, that of values")
    if array.size and not (array.min() >= 0 and array.max() < n):
        wrong = array[(array < 0) | (array >= n)].ravel()[0]
        raise ValueError(f"indices: got {wrong}, wanted 0 <= index < {n}")
    return array.astype(np.int64, copy=False)


def through_dense_rows(
    op: RowProducts, indices: np.ndarray, values: np.ndarray, out: np.ndarray
) -> None:
    """For operators with a fast product and no columns at hand."""
    n = op.shape[1]
    step = max(1, _CHUNK_BYTES // (max(1, n) * values.itemsize))
    if op._batch_shape:  # which operator a row belongs to shows in all rows together
        step = max(1, len(values))
    for i in range(0, len(values), step):
        part = values[i : i + step]
        dense = np.zeros((len(part), n), values.dtype)
        np.add.at(dense, (np.arange(len(part))[:, None], indices[i : i + step]), part)
        op._forward_rows(dense, out[i : i + step])


def through_columns(
    columns: Callable[[np.ndarray], np.ndarray],
    indices: np.ndarray,
    values: np.ndarray,
    out: np.ndarray,
) -> None:
    """For operators that know their columns.

    Parameters
    ----------
    columns : callable
        From distinct ascending indices (k,) to these columns as rows, (k, m).
    indices, values, out
        As in ``Operator._forward_sparse_rows``.
    """
    out[...] = 0
    if not indices.size or not out.size:
        return
    step = max(1, _CHUNK_BYTES // (indices.shape[1] * out.shape[1] * out.itemsize))
    for i in range(0, len(values), step):
        part, target = values[i : i + step], out[i : i + step]
        distinct, inverse = np.unique(indices[i : i + step], return_inverse=True)
        inverse = inverse.reshape(part.shape)
        gathered = columns(distinct)
        for k in range(part.shape[1]):
            add_product(part[:, k, None], gathered[inverse[:, k]], target)


def add_product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out += a b, elementwise; complex products in real ones, each rounded once.

    NumPy's complex product may contract some lanes of a vector and not others, so that an element
    would depend on where it stands.
    """
    if out.dtype.kind == "f":
        out += a * b
        return
    out.real += a.real * b.real - a.imag * b.imag
    out.imag += a.real * b.imag + a.imag * b.real


def multiply(values: np.ndarray, factor: complex) -> None:
    """values *= factor, in place, in the precision of the values; see `add_product`."""
    real = _arrays.real_dtype(values.dtype).type
    if values.dtype.kind == "f" or not complex(factor).imag:
        view = _arrays.real_view(values)
        np.multiply(view, real(complex(factor).real), out=view)
        return
    product = np.zeros_like(values)
    add_product(values, values.dtype.type(factor), product)
    values[...] = product
