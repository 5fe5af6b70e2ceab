"""What `descend` is given: one of each, or a leading axis of as many as there are runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import finite, real
from homfast.network import ReLUNetwork


def common_runs(
    factors: list[np.ndarray],
    inputs: np.ndarray,
    targets: np.ndarray,
    rates: np.ndarray | None,
    decays: np.ndarray,
    onto: np.ndarray | None,
) -> int | None:
    """The length of the leading axes, which must agree; None where nothing has one."""
    given = [(f"weights[{i}]", factor, 2) for i, factor in enumerate(factors)]
    given += [("measurements", inputs, 2), ("signals", targets, 2), ("weight_decay", decays, 0)]
    given += [("learning_rate", rates, 0)] if rates is not None else []
    given += [("projection", onto, 2)] if onto is not None else []
    counts = {name: len(array) for name, array, axes in given if array.ndim > axes}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"runs: got leading axes of different lengths: {told}; wanted one length")
    return next(iter(counts.values()), None)


def checked_factors(weights: Sequence[Any]) -> list[np.ndarray]:
    """The factors, (out_features, in_features) or (runs, ...), that chain and are finite."""
    if isinstance(weights, (list, tuple)) and any(np.ndim(w) == 3 for w in weights):
        arrays = [_arrays.host_array(w, f"weights[{i}]") for i, w in enumerate(weights)]
        for i, array in enumerate(arrays):
            if array.ndim != 3 or len(array) == 0:
                raise ValueError(
                    f"weights[{i}]: got shape {array.shape}, wanted (runs, out_features, "
                    "in_features), runs >= 1, as others of the list are so"
                )
        ReLUNetwork([array[0] for array in arrays])  # says what does not chain
        factors = arrays
    else:
        factors = list(ReLUNetwork(weights).weights)
    for i, factor in enumerate(factors):
        finite(factor, f"weights[{i}]")
    return factors


def checked_data(
    factors: list[np.ndarray], measurements: Any, signals: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Measurements and signals that fit the factors and each other."""
    inputs = _arrays.host_array(measurements, "measurements")
    targets = _arrays.host_array(signals, "signals")
    for array, name, features in (
        (inputs, "measurements", factors[0].shape[-1]),
        (targets, "signals", factors[-1].shape[-2]),
    ):
        _arrays.check_same_dtype(factors[0], "weights[0]", array, name)
        if array.ndim != 3:
            _arrays.check_matrix(array, name, "(batch, features)")
        _arrays.check_last_axis(array, name, features, "the weights")
        finite(array, name)
    rows = inputs.shape[-2], targets.shape[-2]
    if rows[0] != rows[1] or rows[0] == 0:
        raise ValueError(
            f"signals: got {rows[1]} rows beside {rows[0]} of measurements, wanted as "
            "many, at least one"
        )
    return inputs, targets


def checked_numbers(value: Any, name: str) -> np.ndarray:
    """A number >= 0, or an array (runs,) of them, as float64."""
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        number = value.item() if isinstance(value, np.ndarray) else value
        return np.array(real(number, name, 0.0))
    if value.ndim != 1 or len(value) == 0:
        raise ValueError(f"{name}: got shape {value.shape}, wanted a number or (runs,), runs >= 1")
    return np.array([real(each.item(), f"{name}[{i}]", 0.0) for i, each in enumerate(value)])


def checked_projection(projection: Any, inputs: np.ndarray) -> np.ndarray:
    """P as float64, (m, m) or (runs, m, m)."""
    onto = finite(_arrays.host_array(projection, "projection"), "projection")
    m = inputs.shape[-1]
    if onto.ndim not in (2, 3) or onto.shape[-2:] != (m, m):
        raise ValueError(
            f"projection: got shape {onto.shape}, wanted {(m, m)} or (runs, {m}, {m}), (m, m)"
        )
    return onto
