"""Operators in the classes of SciPy, PyLops and deepinv, as PyTorch modules and JAX functions.

Each library is imported when it is asked for. The classes for SciPy and PyLops are made then, once,
as true subclasses: a library that wraps a stranger instead loses the products with many columns at
a time (``scipy.sparse.linalg.aslinearoperator`` takes `matvec` from it and not `matmat`).
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from homfast.measure.operator import Operator
from homfast.measure.seeded import check_size


def to_scipy(op: Operator) -> Any:
    """`op` as a ``scipy.sparse.linalg.LinearOperator``.

    Real input of any dtype is cast to the dtype of `op`, as SciPy's own operators would: its
    solvers hand over float64 whatever they are given; complex operators cast complex input too.
    Complex input of an operator on real signals is a TypeError. Blocks of columns, and with SciPy
    1.18 batches of rows, are one product each. It pickles as `op` does.

    Raises
    ------
    ImportError
        Without SciPy.
    TypeError
        A batch of operators.
    """
    return _scipy_class()(_single(op))


def to_pylops(op: Operator) -> Any:
    """`op` as a ``pylops.LinearOperator``.

    Input is cast as in `to_scipy`. Blocks of columns are one product each. An operator on real
    signals with complex measurements has ``clinear=False``: its dtype is complex, so that PyLops'
    solvers hand it complex signals, of which it takes the real part, as PyLops' own do.

    Raises
    ------
    ImportError
        Without PyLops.
    TypeError
        A batch of operators.
    """
    return _pylops_class()(_single(op))


def to_torch(op: Operator) -> Any:
    """`op` as a ``torch.nn.Module``: ``module(x)`` and ``module.adjoint(y)`` on rows.

    Tensors in the dtype of `op`, on the CPU, and on a CUDA device where its family has products
    there; nothing is cast or moved. Gradients, to any order, are products with the adjoint;
    ``torch.func`` transforms work. There are no parameters. Each call is the op
    ``homfast::measure``; compiled, exported and traced graphs can call it for as long as the module
    is kept.

    Raises
    ------
    ImportError
        Without PyTorch.
    """
    _import("torch", "to_torch")
    return importlib.import_module("homfast.torch.operators").OperatorModule(op)


def to_jax(op: Operator) -> Any:
    """`op` as a `homfast.jax.Operator`: JAX functions ``A(x)`` and ``A.adjoint(y)`` on rows.

    Raises
    ------
    ImportError
        Without JAX.
    """
    _import("jax", "to_jax")
    return importlib.import_module("homfast.jax").Operator(op)


def to_deepinv(op: Operator, img_size: tuple[int, ...]) -> Any:
    """`op` as a ``deepinv.physics.LinearPhysics`` on images.

    Parameters
    ----------
    op : Operator, shape (m, n)
    img_size : tuple of int
        Shape of one image, (channels, height, width), of n elements. Images (B, *img_size) become
        measurements (B, m), and back. Tensors as in `to_torch`.

    Raises
    ------
    ImportError
        Without deepinv.
    ValueError
        `img_size` does not have n elements.
    TypeError
        A batch of operators.
    """
    _single(op)
    m, n = op.shape
    if not isinstance(img_size, (tuple, list)):
        raise TypeError(f"img_size: got {img_size!r}, wanted (channels, height, width)")
    size = tuple(check_size(s, "img_size", n) for s in img_size)
    if math.prod(size) != n:
        raise ValueError(f"img_size: got {size}, {math.prod(size)} elements, wanted {n} in all")
    physics = _import("deepinv", "to_deepinv").physics
    module = to_torch(op)

    def forward(x: Any, **_: Any) -> Any:
        return module(x.reshape(x.shape[0], n))

    def adjoint(y: Any, **_: Any) -> Any:
        return module.adjoint(y.reshape(y.shape[0], m)).reshape(y.shape[0], *size)

    return physics.LinearPhysics(A=forward, A_adjoint=adjoint, img_size=size)


def _single(op: Operator) -> Operator:
    if op._batch_shape:
        raise TypeError(
            f"got a batch of {op._batch_shape[0]} operators, which no class there stands for; "
            "take one of op.operators"
        )
    return op


def _import(module: str, method: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{method} needs the package {package}; pip install {package} ({error})"
        ) from error


class _CastingProducts:
    """The four products that SciPy and PyLops ask of a subclass."""

    _op: Operator

    def _matvec(self, x: Any) -> np.ndarray:
        return _rows(self._op.forward, self._cast(x, self._op.input_dtype), self._op.shape[1])

    def _rmatvec(self, y: Any) -> np.ndarray:
        return _rows(self._op.adjoint, self._cast(y, self._op.output_dtype), self._op.shape[0])

    def _matmat(self, X: Any) -> np.ndarray:
        rows = np.swapaxes(self._cast(X, self._op.input_dtype), -1, -2)
        return np.swapaxes(self._op.forward(rows), -1, -2)

    def _rmatmat(self, Y: Any) -> np.ndarray:
        rows = np.swapaxes(self._cast(Y, self._op.output_dtype), -1, -2)
        return np.swapaxes(self._op.adjoint(rows), -1, -2)

    def _cast(self, array: Any, dtype: np.dtype) -> np.ndarray:
        return _cast(array, dtype)


def _cast(array: Any, dtype: np.dtype) -> np.ndarray:
    values = np.asarray(array)
    kinds = "biufc" if dtype.kind == "c" else "biuf"
    return values.astype(dtype, copy=False) if values.dtype.kind in kinds else values


def _rows(product: Callable[[np.ndarray], np.ndarray], x: np.ndarray, size: int) -> np.ndarray:
    """Vectors (..., size), or as SciPy before 1.18 also has it, one as (size, 1)."""
    if x.shape == (size, 1):
        return product(x[:, 0])[:, None]
    return product(x)


@functools.cache
def _scipy_class() -> type:
    linalg = _import("scipy.sparse.linalg", "to_scipy")

    class HomfastOperator(_CastingProducts, linalg.LinearOperator):  # type: ignore[misc, name-defined]
        """A homfast operator, ``operator``, for SciPy."""

        def __init__(self, op: Operator):
            super().__init__(op.dtype, op.shape)
            self._op = op

        @property
        def operator(self) -> Operator:
            """The homfast operator."""
            return self._op

        def __reduce__(self) -> tuple[Any, ...]:
            return to_scipy, (self._op,)

    return HomfastOperator


@functools.cache
def _pylops_class() -> type:
    pylops = _import("pylops", "to_pylops")

    class HomfastOperator(_CastingProducts, pylops.LinearOperator):  # type: ignore[misc, name-defined]
        """A homfast operator, ``operator``, for PyLops."""

        def __init__(self, op: Operator):
            linear = op.input_dtype == op.output_dtype  # over the complex numbers
            name = type(op).__name__
            super().__init__(dtype=op.dtype, shape=op.shape, clinear=linear, name=name)
            self._op = op

        def _cast(self, array: Any, dtype: np.dtype) -> np.ndarray:
            values = np.asarray(array)
            real = not self.clinear and dtype.kind == "f"
            return _cast(values.real if real else values, dtype)

        def todense(self, backend: str = "numpy") -> Any:
            """The matrix; PyLops takes a wide one from adjoint products, which may be real."""
            own = not self.clinear and backend == "numpy"
            return self._op.to_dense() if own else super().todense(backend)

        @property
        def operator(self) -> Operator:
            """The homfast operator."""
            return self._op

        def __reduce__(self) -> tuple[Any, ...]:
            return to_pylops, (self._op,)

    return HomfastOperator
