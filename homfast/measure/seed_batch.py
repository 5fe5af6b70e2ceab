"""A batch of different operators of one family, one a seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from homfast import _arrays
from homfast.measure.operator import Operator
from homfast.measure.seeded import SeededOperator, check_version
from homfast.measure.seeded_matrix import SeededMatrix
from homfast.measure.views import RealInput


class SeedBatch(Operator):
    """B operators that differ in their seed: ``forward(x)[b] = A_b x[b]`` for x (B, ..., n).

    What the constructors of seeded operators return for ``seed=`` an integer array (B,). Shape and
    dtype are those of one operator; `seed` is the array; `to_dense` has shape (B, m, n) and `norm`
    (B,); ``@`` takes columns (B, n, K). Matrices are made on the fly unless ``store`` is given. To
    the bit, each operator gives what it gives alone.

    Parameters
    ----------
    family : type
        A seeded operator, for instance `Gaussian`.
    arguments : tuple
        Positional arguments of the family.
    seed : integer array (B,), or list of int
        B >= 1, each 0 <= seed < 2^64.
    keywords : dict
        Keyword arguments of the family, but for the seed.

    Raises
    ------
    TypeError, ValueError
        As the family; seeds that are no integers, out of range, none, or not one axis.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.measure import Gaussian
    >>> op = Gaussian(10, 40, seed=np.arange(5))
    >>> op.to_dense().shape
    (5, 10, 40)
    """

    def __init__(
        self,
        family: type[SeededOperator],
        arguments: tuple[Any, ...],
        seed: Any,
        keywords: dict[str, Any],
    ):
        if not (isinstance(family, type) and issubclass(family, SeededOperator)):
            name = getattr(family, "__name__", repr(family))
            raise TypeError(f"family: got {name}, wanted a seeded operator, for instance Gaussian")
        seeds = _check_seeds(seed)
        keywords = dict(keywords)
        real_input = _arrays.check_flag(keywords.pop("real_input", False), "real_input")
        if issubclass(family, SeededMatrix):
            keywords.setdefault("store", False)
        operators = [family(*arguments, seed=int(s), **keywords) for s in seeds]
        first = operators[0]
        self._setup(operators, real_input)
        self._recipe = (
            family,
            first._arguments(),
            {"dtype": first.dtype.name, "normalize": first._normalize, **first._options()}
            | ({"real_input": True} if real_input else {}),
        )
        self._range = (0, first.shape[0])

    def _setup(self, operators: list[Any], real_input: bool) -> None:
        self._operators = [RealInput(op) for op in operators] if real_input else operators
        super().__init__(operators[0].shape, operators[0].dtype)

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators, one a seed."""
        return tuple(self._operators)

    def _member(self, b: int) -> Operator:
        return self._operators[b]

    @property
    def input_dtype(self) -> np.dtype:
        """The dtype of x in ``A x``."""
        return self._operators[0].input_dtype

    @property
    def seed(self) -> np.ndarray:
        """The seeds, uint64 (B,), a new array."""
        return np.array([op.seed for op in self._operators], np.uint64)

    @property
    def _batch_shape(self) -> tuple[int, ...]:
        return (len(self._operators),)

    def _each(self, *arrays: np.ndarray) -> Iterator[tuple[Any, ...]]:
        """Each operator with its part of the rows; all parts have one size."""
        count = arrays[0].shape[0] // len(self._operators)
        for b, op in enumerate(self._operators):
            yield op, *(array[b * count : (b + 1) * count] for array in arrays)

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        for op, x, y in self._each(rows, out):
            op._forward_rows(x, y)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        for op, y, x in self._each(rows, out):
            op._adjoint_rows(y, x)

    def _gram_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        for op, x, result in self._each(rows, out):
            op._gram_rows(x, result)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        for op, part, result in self._each(rows, out):
            op._device_rows(at, part, adjoint, result)

    def _forward_sparse_rows(
        self, indices: np.ndarray, values: np.ndarray, out: np.ndarray
    ) -> None:
        for op, where, x, y in self._each(indices, values, out):
            op._forward_sparse_rows(where, x, y)

    def to_dense(self) -> np.ndarray:
        """The matrices, a new array of shape (B, m, n)."""
        return np.stack([op.to_dense() for op in self._operators])

    def rows(self, i0: int, i1: int) -> SeedBatch:
        """The operators of rows i0 <= i < i1 of each, with the scale of these."""
        i0, i1 = self._check_range(i0, i1)
        family, arguments, keywords = self._recipe
        part = SeedBatch(family, arguments, self.seed, keywords)
        part._operators = [op.rows(i0, i1) for op in self._operators]
        part._shape = (i1 - i0, self.shape[1])
        part._range = (self._range[0] + i0, self._range[0] + i1)
        return part

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, SeedBatch) and self._operators == other._operators

    def __hash__(self) -> int:
        return hash((SeedBatch, tuple(self._operators)))

    def __reduce__(self) -> tuple[Any, ...]:
        family, arguments, keywords = self._recipe
        return _restore, (family, family.version, arguments, self.seed, keywords, self._range)

    def __repr__(self) -> str:
        family, arguments, keywords = self._recipe
        seeds = [op.seed for op in self._operators]
        whole = f"SeedBatch({family.__name__}, {arguments!r}, {seeds!r}, {keywords!r})"
        whole_range = (0, arguments[0])
        return whole if self._range == whole_range else f"{whole}.rows{self._range}"


def _restore(
    family: type[SeededOperator],
    version: int,
    arguments: tuple[Any, ...],
    seed: np.ndarray,
    keywords: dict[str, Any],
    rows: tuple[int, int],
) -> SeedBatch:
    """What a pickle calls."""
    check_version(family, version)
    whole = SeedBatch(family, arguments, seed, keywords)
    return whole if rows == whole._range else whole.rows(*rows)


def _check_seeds(seed: Any) -> list[int]:
    array = np.asarray(seed)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"seed: got shape {array.shape}, wanted (B,), B >= 1 seeds")
    if isinstance(seed, np.ma.MaskedArray) or (array.dtype.kind not in "iu" and array is seed):
        raise TypeError(f"seed: got dtype {array.dtype}, wanted integers, 0 <= seed < 2**64")
    return [_arrays.check_seed(each) for each in (seed if array is not seed else array.tolist())]
