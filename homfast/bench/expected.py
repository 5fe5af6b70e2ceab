"""What a contender must return before it is timed.

Two checks: on exact data, results equal the reference to the bit; on the data of the clock, sampled
rows lie within the componentwise bound of the precision (`homfast.linear`, Notes), "highest" for
all peers: ``|error| <= gamma_K |W| |x|`` a layer. In bfloat16 the rounding of a layer's result is
on top: most libraries round hidden values too, and ours does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from homfast._backends import reference
from homfast._backends.device_library import is_on_device
from homfast._places import place_of
from homfast.bench import arithmetic
from homfast.bench.arithmetic import widened
from homfast.bench.data import LayerData, NetworkData

_SAMPLED_ROWS = 64


class WrongResult(ArithmeticError):
    """A contender returned something else than the reference, so it is not timed."""


def arrays_of(result: Any) -> list[np.ndarray]:
    """The arrays in a result: one array or tensor, or nested tuples and lists of them."""
    if isinstance(result, (tuple, list)):
        return [array for part in result for array in arrays_of(part)]
    if type(result) is not np.ndarray and is_on_device(result):
        host = place_of(result).to_host(result)
        narrow = host.dtype.names is not None  # the package's own name for bfloat16
        return [host.view(arithmetic.numpy_dtype("bfloat16")) if narrow else host]
    if hasattr(result, "detach"):
        result = result.detach()
        if arithmetic.is_bfloat16(str(result.dtype).removeprefix("torch.")):
            bits = importlib.import_module("torch").int16  # NumPy's side knows no tensor of these
            return [result.contiguous().view(bits).numpy().view(arithmetic.numpy_dtype("bfloat16"))]
    return [np.asarray(result)]


def check_equal(name: str, result: Any, expected: Sequence[np.ndarray]) -> None:
    """Raise WrongResult unless the arrays in `result` are those expected, zeros of either sign."""
    arrays = arrays_of(result)
    if [a.shape for a in arrays] != [e.shape for e in expected]:
        raise WrongResult(
            f"{name}: got arrays of shapes {[a.shape for a in arrays]}, wanted "
            f"{[e.shape for e in expected]}"
        )
    for position, (array, wanted) in enumerate(zip(arrays, expected, strict=True)):
        if array.dtype != wanted.dtype:
            raise WrongResult(f"{name}: result {position} is {array.dtype}, wanted {wanted.dtype}")
        wrong = np.argwhere(array != wanted)
        if len(wrong):
            first = tuple(int(i) for i in wrong[0])
            raise WrongResult(
                f"{name}: result {position} differs from the reference in {len(wrong)} of "
                f"{wanted.size} entries, first at {first}: got {array[first]}, wanted "
                f"{wanted[first]}"
            )


def check_forward(
    name: str,
    result: Any,
    x: np.ndarray,
    weights: Sequence[np.ndarray],
    *,
    last_linear: bool,
    precision: str = "highest",
) -> None:
    """Raise WrongResult unless sampled rows of a forward result lie within the error bound.

    The bound runs along the layers: with ``e`` the error of a layer's input, that of its output is
    at most ``|W| e + (gamma_K + p) |W| (|h| + e)`` with p the error that the precision allows a
    product, and r times the result on top if it is rounded; ReLU enlarges no difference.
    """
    output = arrays_of(result)[0]
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), _SAMPLED_ROWS)).astype(np.intp))
    hidden = x[rows].astype(np.float64)
    error = np.zeros_like(hidden)
    rounding = arithmetic.sum_rounding(x.dtype)
    of_product = arithmetic.product_error(precision, x.dtype)
    of_result = arithmetic.result_rounding(x.dtype)
    if x.dtype == np.float64:
        rounding *= 2  # the reference rounds as coarsely as the contender
    for layer, weight in enumerate(weights):
        exact = weight.astype(np.float64)
        terms = weight.shape[1] * rounding
        relative = terms / (1 - terms) + of_product
        size = np.abs(exact)
        error = error @ size.T + relative * ((np.abs(hidden) + error) @ size.T)
        hidden = hidden @ exact.T
        error += of_result * (np.abs(hidden) + error)
        if layer < len(weights) - 1 or not last_linear:
            hidden = np.maximum(hidden, 0)
    distance = np.abs(output[rows].astype(np.float64) - hidden)
    excess = distance - error - np.finfo(arithmetic.wide_dtype(x.dtype)).tiny
    if not np.all(excess <= 0):
        worst = float(np.nanmax(distance / np.maximum(error, 1e-300)))
        raise WrongResult(
            f"{name}: the error is {worst:.3g} times the bound of a product in {x.dtype}; is the "
            "library set to a lower precision?"
        )


def check_layer(name: str, result: Any, data: LayerData, precision: str) -> None:
    """`check_forward` of one layer with its ReLU."""
    check_forward(name, result, data.x, [data.weight], last_linear=False, precision=precision)


def check_network(name: str, result: Any, data: NetworkData, precision: str) -> None:
    """`check_forward` of a network's output, which comes first in a result with gradients."""
    check_forward(name, result, data.x, data.weights, last_linear=True, precision=precision)


def layer_forward(data: LayerData) -> list[np.ndarray]:
    """The layer by the reference, with a ReLU."""
    return [data.y]


def layer_backward(data: LayerData) -> list[np.ndarray]:
    """``grad_input`` and ``grad_weight`` by the reference."""
    mask = np.packbits(data.y > 0, axis=-1, bitorder="little")
    x, weight, grad_output, _ = (widened(array) for array in data)
    grad_input, grad_weight = np.empty_like(x), np.empty_like(weight)
    reference.grad_input(grad_output, weight, mask, 0.0, grad_input)
    reference.grad_weight(grad_output, x, mask, 0.0, grad_weight)
    return [_rounded(array, data.x.dtype) for array in (grad_input, grad_weight)]


def network_forward(data: NetworkData) -> list[np.ndarray]:
    """The network by the reference."""
    return [_rounded(_reference_network(data)(widened(data.x)), data.x.dtype)]


def network_gradients(data: NetworkData) -> list[np.ndarray]:
    """The output, ``grad_input`` and all ``grad_weights`` by the reference."""
    y, vjp = _reference_network(data).vjp(widened(data.x))
    grad_input, grad_weights = vjp(widened(data.grad_output))
    return [_rounded(array, data.x.dtype) for array in (y, grad_input, *grad_weights)]


def training_losses(data: NetworkData, steps: int, learning_rate: float) -> np.ndarray:
    """Losses of `steps` Adam steps on one batch by the reference."""
    from homfast.training import fit

    batches = [(data.x, data.grad_output)] * steps
    net = _reference_network(data)
    return fit(net, batches, optimizer="adam", learning_rate=learning_rate).loss


def check_losses(name: str, losses: Sequence[float], expected: np.ndarray) -> None:
    """Raise WrongResult unless the losses agree to a thousandth."""
    if not np.allclose(losses, expected, rtol=1e-3, atol=0):
        raise WrongResult(
            f"{name}: the first losses are {[float(v) for v in losses]}, wanted "
            f"{expected.tolist()} to a thousandth"
        )


def _reference_network(data: NetworkData) -> Any:
    from homfast.network import ReLUNetwork

    return ReLUNetwork([widened(weight) for weight in data.weights], backend="reference")


def _rounded(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    return array.astype(dtype, copy=False)
