"""Operators that are pure functions of a seed: what all their families share.

A family is a subclass that says which dtypes it has, what its scale is, and how it multiplies. The
rest is here: checking arguments, ranges of rows, equality, repr, and pickles that hold the few
numbers which determine the operator.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, cast

import numpy as np

from homfast import _arrays
from homfast.measure import normal
from homfast.measure.operator import Operator
from homfast.measure.sparse_input import multiply
from homfast.measure.views import RealInput


class _Seedable(Operator):
    """What a call of a family makes: a base of its own, so that tools show its arguments."""

    def __new__(
        cls, *arguments: Any, seed: Any = 0, real_input: bool = False, **keywords: Any
    ) -> Any:
        if isinstance(seed, np.ndarray) and seed.ndim:
            from homfast.measure.seed_batch import SeedBatch

            return SeedBatch(
                cast("type[SeededOperator]", cls),
                arguments,
                seed,
                {**keywords, "real_input": real_input},
            )
        if isinstance(seed, (list, tuple)):
            raise TypeError(
                f"seed: got {seed!r}, wanted an integer, or an integer array (B,) for a batch of B "
                f"operators; pass np.array({seed!r})"
            )
        if _arrays.check_flag(real_input, "real_input"):
            return RealInput(cls(*arguments, seed=seed, **keywords))
        return super().__new__(cls)


class SeededOperator(_Seedable):
    """Some rows of an m x n operator that its arguments determine."""

    version: ClassVar[int] = normal.VERSION
    dtypes: ClassVar[tuple[np.dtype, ...]] = _arrays.FLOATS
    largest: ClassVar[tuple[int, int]] = ((1 << 63) - 1, (1 << 63) - 1)  # m and n

    def __init__(
        self,
        m: int,
        n: int,
        *,
        seed: int = 0,
        dtype: Any = np.float32,
        normalize: bool = True,
        real_input: bool = False,  # `__new__` has made a RealInput of it
    ):
        dtype = _arrays.check_float_dtype(dtype, self.dtypes)
        rows = check_size(m, "m", self.largest[0])
        super().__init__((rows, check_size(n, "n", self.largest[1])), dtype)
        self._seed = _arrays.check_seed(seed)
        self._normalize = _arrays.check_flag(normalize, "normalize")
        self._m = rows  # of the operator these rows are part of, which sets the scale
        self._first = 0
        self._check_shape()

    def _check_shape(self) -> None:
        """ValueError where the shape is beyond what the family has."""

    def _scaling(self) -> float:
        """What finished sums of unscaled entries are multiplied by."""
        variance = 2 if self.dtype.kind == "c" else 1  # of an unscaled entry
        return 1.0 / math.sqrt(self._m * variance if self._normalize else variance)

    @property
    def seed(self) -> int:
        """The seed, 0 <= seed < 2^64."""
        return self._seed

    @property
    def _row_range(self) -> range:
        return range(self._first, self._first + self.shape[0])

    @property
    def _scale(self) -> float:
        """`_scaling`, rounded to the precision of the operator."""
        return float(_arrays.real_dtype(self.dtype).type(self._scaling()))

    def _rescale(self, values: np.ndarray) -> None:
        """The scale, once a finished sum, in the dtype of the operator."""
        scale = self._scale
        if scale != 1.0:
            multiply(values, scale)

    # The operator as a value ---------------------------------------------------------------------

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of rows i0 <= i < i1, with the scale of this one."""
        i0, i1 = self._check_range(i0, i1)
        return self._part(self._first + i0, self._first + i1)

    def _part(self, first: int, last: int) -> SeededOperator:
        part = type(self)(
            *self._arguments(),
            seed=self._seed,
            dtype=self.dtype,
            normalize=self._normalize,
            **self._options(),
        )
        part._first = first
        part._shape = (last - first, self.shape[1])
        return part

    def _arguments(self) -> tuple[Any, ...]:
        """The positional arguments of the whole operator."""
        return self._m, self.shape[1]

    def _options(self) -> dict[str, Any]:
        """The keyword arguments beyond the common ones that are not the default."""
        return {}

    def _state(self) -> tuple[Any, ...]:
        """What determines the entries and the scale; `store` does not."""
        span = self._row_range
        options = tuple((k, v) for k, v in self._options().items() if k != "store")
        head = self.version, *self._arguments(), self._seed, self.dtype.name, self._normalize
        return (*head, span.start, span.stop, *options)

    def __eq__(self, other: Any) -> bool:
        """Whether the other has the same entries and scale by construction, stored or not."""
        return type(other) is type(self) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash((type(self), self._state()))

    def __reduce__(self) -> tuple[Any, ...]:
        span = self._row_range
        state = self._arguments(), self._seed, self.dtype.name, self._normalize
        return _restore, (
            type(self),
            self.version,
            *state,
            span.start,
            span.stop,
            self._options(),
        )

    def __repr__(self) -> str:
        words = [*map(repr, self._arguments()), f"seed={self._seed}", f"dtype={self.dtype.name!r}"]
        if not self._normalize:
            words.append("normalize=False")
        words += [f"{name}={value!r}" for name, value in self._options().items()]
        whole = f"{type(self).__name__}({', '.join(words)})"
        span = self._row_range
        return whole if len(span) == self._m else f"{whole}.rows({span.start}, {span.stop})"


def _restore(
    family: type[SeededOperator],
    version: int,
    arguments: tuple[Any, ...],
    seed: int,
    dtype: str,
    normalize: bool,
    first: int,
    last: int,
    options: dict[str, Any],
) -> SeededOperator:
    """What a pickle calls."""
    check_version(family, version)
    whole = family(*arguments, seed=seed, dtype=dtype, normalize=normalize, **options)
    return whole._part(first, last)


def check_version(family: type[SeededOperator], version: int) -> None:
    """ValueError for a pickle of entries that this homfast would not make."""
    if version != family.version:
        raise ValueError(
            f"pickle: got version {version} of the {family.__name__} stream, wanted "
            f"{family.version}; use the homfast that wrote it"
        )


def check_size(value: Any, name: str, largest: int, why: str = "") -> int:
    """`value` as an integer from 1 to `largest`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: got {value!r}, wanted an integer")
    if not 1 <= value <= largest:
        raise ValueError(f"{name}: got {value}, wanted 1 <= {name} <= {largest}{why}")
    return int(value)
