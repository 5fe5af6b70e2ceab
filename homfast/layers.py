"""Drop-in calls for one bias-free layer, forward and backward.

Rows are samples, as in ``torch.nn.functional.linear``. A call checks its arguments, chooses the
backend from the array, allocates the result, and runs one kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _arrays, _backends, _bfloat16, _places

_BYTE = np.dtype(np.uint8)


def linear(
    x: Any,
    weight: Any,
    *,
    out: Any = None,
    precision: str | None = None,
    backend: str | None = None,
) -> Any:
    """Product of each row of ``x`` with a weight matrix: ``x @ weight.T``.

    Parameters
    ----------
    x : array, shape (..., in_features), float32, float64 or bfloat16
        Rows are samples. Strided rows are read in place; other layouts are copied once. bfloat16,
        that of ml_dtypes or torch, is summed in float32 and rounded once. It is on the CPU or on a
        CUDA device; `weight` is to be there too, and so is the result.
    weight : array, shape (out_features, in_features), dtype of `x`
    out : array, shape (..., out_features), optional
        Where to write. It may overlap an input; its elements must not overlap each other.
    precision : {None, "highest", "high", "medium"}
        Accuracy of float32 products, in the words of ``torch.set_float32_matmul_precision``;
        None is "highest". Only targets with a bf16 matrix unit compute less than "highest".
    backend : str, optional
        Name of a backend; by default the first that takes `x`.

    Returns
    -------
    array, shape (..., out_features), of the library of `x`

    Raises
    ------
    TypeError
        Mixed or unsupported dtypes, arrays in two places, a list, a masked array.
    ValueError
        Shapes that do not match, an unknown `precision` or `backend`.
    RuntimeError
        A `backend` that is not available; the message says why not and what to do.
    MemoryError
        The device has no room for the result.

    Notes
    -----
    Componentwise, ``|error| <= gamma_K |weight| |x|`` with ``gamma_K = K u / (1 - K u)``, ``u`` the
    unit roundoff. On a bf16 matrix unit "highest" adds ``K 2^-120 max|weight| max|x|``, "high"
    ``2^-15 |weight| |x|`` and "medium" ``(2^-7 + 2^-16) |weight| |x|``. The bits of a row depend on
    that row and the weights alone, see `set_batch_invariant`.

    Examples
    --------
    >>> import numpy as np, homfast
    >>> homfast.linear(np.float32([[1, 2]]), np.float32([[3, 4], [5, 6]]))
    array([[11., 17.]], dtype=float32)
    """
    if precision is None and backend is None:
        result = _backends.short_way(x, weight, False, 0.0, False, out)
        if result is not None:
            return result
    call = _Forward(x, weight, out, precision, backend)
    call.compute(False, 0.0, None)
    return call.result()


def linear_relu(
    x: Any,
    weight: Any,
    *,
    negative_slope: float = 0.0,
    out: Any = None,
    return_mask: bool = False,
    precision: str | None = None,
    backend: str | None = None,
) -> Any:
    """``relu(x @ weight.T)`` in one pass, with the bits its backward needs.

    Parameters
    ----------
    x, weight, out, precision, backend
        As in `linear`.
    negative_slope : float
        Slope for pre-activations <= 0; 0 is ReLU, others are leaky ReLU.
    return_mask : bool
        Also return which units are active.

    Returns
    -------
    y : array, shape (..., out_features)
        ``z`` where the pre-activation ``z`` is > 0 or NaN; elsewhere +0.0, or
        ``negative_slope * z``.
    mask : uint8 array, shape (..., ceil(out_features / 8)), only if `return_mask`
        ``numpy.packbits(~(z <= 0), axis=-1, bitorder="little")``.

    Examples
    --------
    >>> import numpy as np, homfast
    >>> homfast.linear_relu(np.float32([1, 2]), np.float32([[3, -4], [5, 6]]), return_mask=True)
    (array([ 0., 17.], dtype=float32), array([2], dtype=uint8))
    """
    slope = negative_slope
    if type(slope) is not float or slope != 0.0:
        slope = _arrays.check_slope(negative_slope)
    if return_mask is not True and return_mask is not False:
        return_mask = _arrays.check_flag(return_mask, "return_mask")
    if precision is None and backend is None:
        result = _backends.short_way(x, weight, True, slope, return_mask, out)
        if result is not None:
            return result
    call = _Forward(x, weight, out, precision, backend)
    mask = mask_target = None
    if return_mask:
        bytes_of_row = (call.shape[-1] + 7) // 8
        mask = call.place.empty((*call.shape[:-1], bytes_of_row), _BYTE, call.rows)
        mask_target = call.place.reshaped(mask, (call.target.shape[0], bytes_of_row))
    call.compute(True, slope, mask_target)
    if mask is None:
        return call.result()
    return call.result(), call.place.result_like(mask, x)


def linear_relu_backward(
    grad_output: Any,
    x: Any,
    weight: Any,
    mask: Any,
    *,
    negative_slope: float = 0.0,
    precision: str | None = None,
    backend: str | None = None,
) -> tuple[Any, Any]:
    """Gradients of `linear_relu` (or of `linear`, with ``mask=None``).

    Parameters
    ----------
    grad_output : array, shape (..., out_features)
    x : array, shape (..., in_features), or None
        The input of the forward call; None skips ``grad_weight``.
    weight : array, shape (out_features, in_features), or None
        None skips ``grad_input``.
    mask : uint8 array, shape (..., ceil(out_features / 8)), or None
        What the forward call returned; None means a linear layer.
    negative_slope : float
        That of the forward call.
    precision, backend
        As in `linear`.

    Returns
    -------
    grad_input : array, shape (..., in_features), or None
        ``g @ weight`` with ``g`` the masked `grad_output`: a unit whose bit is clear passes +0.0
        (or ``negative_slope`` times its gradient) whatever its gradient holds.
    grad_weight : array, shape (out_features, in_features), or None
        ``g.T @ x``, summed over all rows in one fixed order.
    """
    slope = negative_slope
    if type(slope) is not float or slope != 0.0:
        slope = _arrays.check_slope(negative_slope)
    if precision is None and backend is None:
        result = _backends.short_way_back(grad_output, x, weight, mask, slope)
        if result is not None:
            return result
    _arrays.check_precision(precision)
    plain = type(grad_output) is type(x) is type(weight) is np.ndarray
    place = _places.host if plain else _places.place_of(grad_output, x, weight)
    grad = place.checked_array(grad_output, "grad_output", _arrays.LAYER_DTYPES)
    if grad.ndim == 0:
        raise ValueError("grad_output: got a scalar, wanted shape (..., out_features)")
    out_features = grad.shape[-1]
    chosen = place.resolve(backend, grad)
    mask_bytes = None if mask is None else place.mask_rows(mask, grad)
    grad_rows = place.as_rows(grad)

    grad_input = grad_weight = None
    if weight is not None:
        matrix = place.checked_array(weight, "weight", _arrays.LAYER_DTYPES)
        place.check_same_place(grad, "grad_output", matrix, "weight")
        _arrays.check_matrix(matrix, "weight", "(out_features, in_features)")
        _arrays.check_same_dtype(grad, "grad_output", matrix, "weight")
        if matrix.shape[0] != out_features:
            raise ValueError(
                f"weight: got shape {matrix.shape}, wanted ({out_features}, in_features) to match "
                f"grad_output of shape {grad.shape}"
            )
    if x is not None:
        inputs = place.checked_array(x, "x", _arrays.LAYER_DTYPES)
        place.check_same_place(grad, "grad_output", inputs, "x")
        _arrays.check_same_dtype(grad, "grad_output", inputs, "x")
        if inputs.ndim == 0 or inputs.shape[:-1] != grad.shape[:-1]:
            raise ValueError(
                f"x: got shape {inputs.shape}, wanted the leading axes {grad.shape[:-1]} of "
                "grad_output and then in_features"
            )
        if weight is not None:
            _arrays.check_last_axis(inputs, "x", matrix.shape[1], f"weight {matrix.shape}")

    rows = handle = None
    if weight is not None:
        handle = place.as_kernel_matrix(matrix)
        grad_input = place.empty((grad_rows.shape[0], matrix.shape[1]), grad.dtype, grad_rows)
    if x is not None:
        rows = place.as_rows(inputs)
        grad_weight = place.empty((out_features, inputs.shape[-1]), grad.dtype, grad_rows)
    if grad.dtype == _arrays.BFLOAT16:
        _bfloat16.check_precision(precision)
        _bfloat16.backward(
            chosen, place, grad_rows, rows, handle, mask_bytes, slope, grad_input, grad_weight
        )
    else:
        level = precision or "highest"
        if grad_input is not None:
            chosen.grad_input(grad_rows, handle, mask_bytes, slope, grad_input, level)
        if grad_weight is not None:
            chosen.grad_weight(grad_rows, rows, mask_bytes, slope, grad_weight, level)
    if grad_input is not None:
        shaped = place.reshaped(grad_input, (*grad.shape[:-1], matrix.shape[1]))
        grad_input = place.result_like(shaped, grad_output)
    if grad_weight is not None:
        grad_weight = place.result_like(grad_weight, grad_output)
    return grad_input, grad_weight


class _Forward:
    """A checked forward call: rows, weight and target as kernels take them."""

    __slots__ = (
        "backend", "finish", "half", "place", "precision", "rows", "shape", "source", "target",
        "weight",
    )  # fmt: skip

    def __init__(self, x: Any, weight: Any, out: Any, precision: Any, backend: str | None):
        if precision is not None:
            _arrays.check_precision(precision)
        self.precision = precision or "highest"
        plain = type(x) is np.ndarray and type(weight) is np.ndarray
        self.place = place = _places.host if plain else _places.place_of(x, weight)
        inputs = place.checked_array(x, "x", _arrays.LAYER_DTYPES)
        matrix = place.checked_array(weight, "weight", _arrays.LAYER_DTYPES)
        if not plain:
            place.check_same_place(inputs, "x", matrix, "weight")
        _arrays.check_matrix(matrix, "weight", "(out_features, in_features)")
        _arrays.check_same_dtype(inputs, "x", matrix, "weight")
        if inputs.ndim == 0 or inputs.shape[-1] != matrix.shape[1]:
            hint = ""
            if inputs.ndim and inputs.shape[-1] == matrix.shape[0]:
                hint = "; is weight transposed? pass weight.T"
            raise ValueError(
                f"x: got shape {inputs.shape}, wanted (..., {matrix.shape[1]}) to match weight "
                f"(out_features, in_features) of shape {matrix.shape}{hint}"
            )
        self.source = x
        self.backend = place.resolve(backend, inputs)
        self.shape = (*inputs.shape[:-1], matrix.shape[0])
        self.target, self.finish = place.prepare_out(
            out, self.shape, inputs.dtype, (inputs, matrix)
        )
        self.rows = place.as_rows(inputs)
        self.weight = place.as_kernel_matrix(matrix)
        self.half = inputs.dtype == _arrays.BFLOAT16
        if self.half:
            _bfloat16.check_precision(precision)

    def compute(self, relu: bool, slope: float, mask: Any) -> None:
        """The product, or the layer with ReLU, in `target`."""
        x, weight, out, backend = self.rows, self.weight, self.target, self.backend
        if self.half:
            _bfloat16.linear(backend, self.place, x, weight, relu, slope, out, mask)
        elif relu:
            backend.linear_relu(x, weight, slope, out, mask, self.precision)
        else:
            backend.linear(x, weight, out, self.precision)

    def result(self) -> Any:
        result = self.finish()
        return (
            result
            if type(result) is not np.ndarray
            else self.place.result_like(result, self.source)
        )
