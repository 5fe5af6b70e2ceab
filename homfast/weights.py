"""The weights of a network: what users pass for them, checked, and random ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from homfast import _arrays, _memory, _places

_DRAWN = 1 << 18  # numbers at a time, in milliseconds: NumPy hears no Ctrl-C while it draws


def checked_weights(weights: Iterable[Any]) -> tuple[Any, list[Any]]:
    """The module that knows the place of the weights (`homfast._places`), and them as it sees them.

    Raises
    ------
    ValueError
        No layers, a weight that is not a matrix, widths that do not chain.
    TypeError
        No list, mixed or unsupported dtypes, weights in several places.
    """
    if isinstance(weights, np.ndarray) or not isinstance(weights, Iterable):
        came = "one array" if isinstance(weights, np.ndarray) else type(weights).__name__
        raise TypeError(f"weights: got {came}, wanted a list of matrices, one a layer")
    given = list(weights)
    place = _places.place_of(*given)
    arrays = [
        place.checked_array(w, f"weights[{i}]", _arrays.LAYER_DTYPES) for i, w in enumerate(given)
    ]
    if not arrays:
        raise ValueError("weights: got an empty list, wanted at least one matrix")
    for i, array in enumerate(arrays):
        _arrays.check_matrix(array, f"weights[{i}]", "(out_features, in_features)")
        place.check_same_place(arrays[0], "weights[0]", array, f"weights[{i}]")
        _arrays.check_same_dtype(arrays[0], "weights[0]", array, f"weights[{i}]")
    _arrays.check_chain(arrays, [f"weights[{i}]" for i in range(len(arrays))])
    return place, arrays


def checked_widths(widths: Sequence[int]) -> list[int]:
    """Widths as integers; ValueError for fewer than two, or negative ones."""
    try:
        given = list(widths)
        sizes = [int(w) for w in given]
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"widths: got {widths!r}, wanted a sequence of integers") from None
    if len(sizes) < 2:
        raise ValueError(f"widths: got {sizes}, wanted an input and an output width at least")
    whole = all(size == w and not isinstance(w, bool) for size, w in zip(sizes, given, strict=True))
    if not whole or min(sizes) < 0:
        raise ValueError(f"widths: got {given}, wanted integers >= 0")
    return sizes


def random_weights(
    widths: Sequence[int], seed: Any, dtype: Any, negative_slope: Any
) -> list[np.ndarray]:
    """What `ReLUNetwork.random` starts from."""
    widths = checked_widths(widths)
    if "bfloat16" in str(dtype):  # whoever's it is
        raise TypeError(
            "dtype: got bfloat16, wanted float32 or float64; round what is drawn: "
            "ReLUNetwork.random(widths).to(a bfloat16 array)"
        )
    dtype = _arrays.check_float_dtype(dtype)
    slope = _arrays.check_slope(negative_slope)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    weights = []
    for layer in range(len(widths) - 1):
        fan_in, fan_out = widths[layer], widths[layer + 1]
        _memory.check((fan_out, fan_in), dtype, f"widths: weight {layer}", "choose fewer")
        gain = 1.0 if layer == len(widths) - 2 else 2.0 / (1.0 + slope * slope)
        scale = np.sqrt(gain / max(fan_in, 1))
        weight = np.empty(fan_out * fan_in, dtype)
        for first in range(0, weight.size, _DRAWN):
            part = weight[first : first + _DRAWN]
            part[...] = scale * generator.standard_normal(part.size)
        weights.append(weight.reshape(fan_out, fan_in))
    return weights
