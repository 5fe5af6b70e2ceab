"""Measurement operators as JAX functions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

from homfast import _arrays
from homfast.jax import checks
from homfast.jax.lowering import call_back
from homfast.jax.primitives import register, zero_along
from homfast.measure.operator import Operator as _Operator


class Operator:
    """A measurement operator of `homfast.measure` as JAX functions ``A(x)`` and ``A.adjoint(y)``.

    Parameters
    ----------
    op : homfast.measure operator, shape (m, n)
        ``op.to_jax()`` makes this too.

    Raises
    ------
    TypeError
        `op` is no linear operator.

    Notes
    -----
    Both act on rows, as `op` does, to the bit, and take part in ``jit``, ``grad``, ``jvp`` and
    ``vmap``.
    Derivatives are products with the adjoint, or for complex operators, in JAX's convention,
    with the transpose. XLA calls them back through ``jax.pure_callback``, on the CPU. Two of these
    are one to JAX's caches if they are the same object.

    Examples
    --------
    >>> import jax, numpy as np, homfast.measure
    >>> A = homfast.measure.Dense(np.float32([[1, 2], [3, 4]])).to_jax()
    >>> jax.grad(lambda x: A(x).sum())(np.float32([1, 1]))
    Array([4., 6.], dtype=float32)
    """

    def __init__(self, op: Any):
        if not isinstance(op, _Operator):
            raise TypeError(
                f"op: got {_arrays._type_name(op)}, wanted a linear operator of homfast.measure; "
                "for Magnitude and Intensity take jax.numpy.abs of their op's product"
            )
        self._op = op

    @property
    def operator(self) -> _Operator:
        """The homfast operator."""
        return self._op

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return self._op.shape

    def __call__(self, x: Any) -> jax.Array:
        """``A x`` for each row of x (..., n), an array of JAX or NumPy, dtype of the operator.

        Raises
        ------
        TypeError, ValueError
            As ``op(x)``, and for float64 outside of JAX's 64-bit mode.
        """
        return self._product(x, "x", False)

    def adjoint(self, y: Any) -> jax.Array:
        """``A^H y`` for each row of y (..., m)."""
        return self._product(y, "y", True)

    def __repr__(self) -> str:
        return f"Operator({self._op!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Operator, (self._op,)

    def _product(self, array: Any, name: str, adjoint: bool) -> jax.Array:
        size, dtype = self._op._spaces[adjoint]
        real = _arrays.real_dtype(dtype)
        values = checks.as_jax(array, name, (dtype, real) if dtype != real else (dtype,))
        if values.ndim == 0 or values.shape[-1] != size:
            raise ValueError(
                f"{name}: got shape {values.shape}, wanted (..., {size}) to match the operator of "
                f"shape {self.shape}"
            )
        self._op._check_batch(values.shape[:-1], name)
        return product_p.bind(values.astype(dtype), operator=self, adjoint=adjoint)

    def _compute(self, adjoint: bool, x: Any) -> np.ndarray:
        rows = np.asarray(x)
        return self._op.adjoint(rows) if adjoint else self._op.forward(rows)


product_p = Primitive("homfast_product")  # x -> A x, or A^H x


def _shape(x: Any, *, operator: Operator, adjoint: bool) -> Any:
    size, dtype = operator._op._spaces[not adjoint]
    return ShapedArray((*x.shape[:-1], size), dtype)


def _compute(x: jax.Array, *, operator: Operator, adjoint: bool) -> jax.Array:
    result = _shape(x, operator=operator, adjoint=adjoint)
    return call_back(
        jax.tree_util.Partial(operator._compute, adjoint),
        jax.ShapeDtypeStruct(result.shape, result.dtype),
        x,
    )


def _jvp(primals: Any, tangents: Any, **params: Any) -> Any:
    y = product_p.bind(*primals, **params)
    (v,) = tangents
    if type(v) is ad.Zero:
        return y, zero_along(y)
    return y, product_p.bind(v, **params)


def _transpose(cotangent: Any, x: Any, *, operator: Operator, adjoint: bool) -> list[Any]:
    """JAX's transpose does not conjugate, ours does: so before it and after it."""
    if type(cotangent) is ad.Zero:
        return [ad.Zero(x.aval)]
    grad = product_p.bind(jnp.conj(cotangent), operator=operator, adjoint=not adjoint)
    return [jnp.conj(grad)]


def _batch(operands: Any, dims: Any, **params: Any) -> tuple[Any, int]:
    """The batch is one more leading axis, after that of a batch of operators."""
    place = len(params["operator"]._op._batch_shape)
    return product_p.bind(jnp.moveaxis(operands[0], dims[0], place), **params), place


ad.primitive_jvps[product_p] = _jvp
ad.primitive_transposes[product_p] = _transpose
batching.primitive_batchers[product_p] = _batch
register(product_p, _shape, _compute)
