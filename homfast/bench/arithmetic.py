"""The numbers a comparison computes with: their dtype, the precision of products, the rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

DTYPES = ("float32", "float64", "bfloat16")

# bf16 products that a matrix unit takes for one product at each precision.
PRODUCTS = {"highest": 6, "high": 3, "medium": 1}
PRECISIONS = tuple(PRODUCTS)

# What a precision adds to the relative error of a product (README, "The contract").
_PRODUCT_ERROR = {"highest": 0.0, "high": 2.0**-15, "medium": 2.0**-7 + 2.0**-16}


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The dtype called `name`; ImportError says what bfloat16 needs."""
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError("--dtype bfloat16 needs ml_dtypes; install homfast[bench]") from error
    return np.dtype(ml_dtypes.bfloat16)


def wide_dtype(dtype: Any) -> np.dtype[Any]:
    """What sums are taken in: float32 for bfloat16, else `dtype` itself."""
    dtype = np.dtype(dtype)
    return np.dtype(np.float32) if is_bfloat16(dtype) else dtype


def is_bfloat16(dtype: Any) -> bool:
    """Whether `dtype`, or the dtype that it names, is bfloat16."""
    return str(dtype) == "bfloat16"


def widened(array: np.ndarray) -> np.ndarray:
    """`array` in the dtype that sums are taken in; itself, where that is its own."""
    return array.astype(wide_dtype(array.dtype), copy=False)


def sum_rounding(dtype: Any) -> float:
    """Relative error of one rounding in a sum."""
    return float(np.finfo(wide_dtype(dtype)).eps) / 2


def result_rounding(dtype: Any) -> float:
    """Relative error of rounding a finished sum to `dtype`: none but for bfloat16."""
    return 2.0**-8 if is_bfloat16(dtype) else 0.0


def product_error(precision: str, dtype: Any) -> float:
    """Relative error of a product of operands in `dtype`; those of bfloat16 are exact."""
    return _PRODUCT_ERROR[precision] if np.dtype(dtype) == np.float32 else 0.0


def default_precision(dtype: str) -> str:
    """The precision of products where none is asked for."""
    return "medium" if is_bfloat16(dtype) else "highest"


def is_narrow(dtype: str, precision: str | None) -> bool:
    """Whether exact operands must be exact in bf16: "high" leaves out the products of low parts."""
    return is_bfloat16(dtype) or precision in ("high", "medium")
