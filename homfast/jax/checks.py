"""What users can get wrong about JAX's arrays, each with what came, what was wanted and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from homfast import _arrays

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(jnp.bfloat16))


def check_network(x: Any, weights: Any) -> tuple[jax.Array, list[jax.Array]]:
    """`x` and `weights` as JAX's arrays; ValueError or TypeError unless they fit together."""
    if not isinstance(weights, (list, tuple)):
        raise TypeError(
            f"weights: got {_arrays._type_name(weights)}, wanted a list of matrices, one a layer"
        )
    if not weights:
        raise ValueError("weights: got an empty list, wanted at least one matrix")
    names = [f"weights[{index}]" for index in range(len(weights))]
    return _check_layers(x, weights, names)


def check_layer(x: Any, weight: Any) -> tuple[jax.Array, list[jax.Array]]:
    """`x` and `weight` as JAX's arrays, as `check_network` does."""
    return _check_layers(x, [weight], ["weight"])


def _check_layers(
    x: Any, weights: Sequence[Any], names: list[str]
) -> tuple[jax.Array, list[jax.Array]]:
    rows = as_jax(x, "x", _FLOATS)
    found: list[jax.Array] = []
    for name, weight in zip(names, weights, strict=True):
        matrix = as_jax(weight, name, _FLOATS)
        _arrays.check_matrix(matrix, name, "(out_features, in_features)")
        _arrays.check_same_dtype(rows, "x", matrix, name)
        found.append(matrix)
    _arrays.check_chain(found, names)
    first = found[0]
    if rows.ndim == 0 or rows.shape[-1] != first.shape[1]:
        hint = ""
        if rows.ndim and rows.shape[-1] == first.shape[0]:
            hint = f"; is {names[0]} transposed? pass {names[0]}.T"
        raise ValueError(
            f"x: got shape {rows.shape}, wanted (..., {first.shape[1]}) to match {names[0]} of "
            f"shape {first.shape}{hint}"
        )
    return rows, found


def as_jax(value: Any, name: str, dtypes: tuple[np.dtype, ...]) -> jax.Array:
    """A JAX or NumPy array, or what stands for one under a transformation, of one of `dtypes`."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: got a masked array, whose mask would be lost; pass a plain array, "
            f"for instance {name}.filled(0)"
        )
    if not isinstance(value, (jax.Array, np.ndarray)):
        raise TypeError(
            f"{name}: got {_arrays._type_name(value)}, wanted a JAX or NumPy array; convert with "
            f"jax.numpy.asarray({name}, dtype=jax.numpy.float32)"
        )
    if value.dtype not in dtypes:
        wanted = " or ".join(
            filter(None, (", ".join(str(d) for d in dtypes[:-1]), str(dtypes[-1])))
        )
        raise TypeError(
            f"{name}: got dtype {value.dtype}, wanted {wanted}; pass {name}.astype({dtypes[0]!s}) "
            "if that loses nothing you need"
        )
    if jax.dtypes.canonicalize_dtype(value.dtype) != value.dtype:
        single = np.result_type(np.float32, *((np.complex64,) if value.dtype.kind == "c" else ()))
        raise TypeError(
            f"{name}: got {value.dtype} while JAX's 64-bit mode is off, in which it would become "
            f"{single}; call jax.config.update('jax_enable_x64', True) first, or pass "
            f"{name}.astype('{single}')"
        )
    return jnp.asarray(value)


def check_precision(precision: Any, half: bool) -> str:
    """The word that kernels take; ValueError for what is none, or none for bfloat16."""
    _arrays.check_precision(precision)
    if not half:
        return precision or "highest"
    if precision not in (None, "medium"):
        raise ValueError(
            f"precision: got {precision!r} for bfloat16 arrays, whose products are 'medium'; "
            "pass None, or widen the arrays to float32"
        )
    return "medium"


def refuse_platform(*_: Any, **__: Any) -> Any:
    """The lowering for everything that is not a CPU."""
    raise TypeError(
        "homfast.jax computes on the CPU only, and this function is compiled for another platform; "
        "put its arrays on a CPU device, for instance jax.device_put(x, jax.devices('cpu')[0]), "
        "homfast never moves them"
    )
