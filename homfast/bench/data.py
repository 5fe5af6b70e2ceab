"""The arrays that the contenders get: normal ones for the clock, exact ones for the check.

On the exact data every product and every partial sum is an integer that the dtype holds, so all
orders of summation give the same bits and results are compared for equality. The layers' integers
have nine bits: a product that was rounded to bf16 on the way does not pass.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from homfast.bench.cases import LayerCase, NetworkCase

# Terms a unit of an exact network sums: the values grow about fourfold a layer, far from 2^24.
_TERMS = 16


class LayerData(NamedTuple):
    """Operands of one layer.

    ``y`` is the layer's result, which tells all contenders which units are active.
    """

    x: np.ndarray  # (batch, in_features)
    weight: np.ndarray  # (out_features, in_features)
    grad_output: np.ndarray  # (batch, out_features)
    y: np.ndarray  # (batch, out_features)


class NetworkData(NamedTuple):
    """Operands of one network; ``grad_output`` is also the target of a training step."""

    x: np.ndarray  # (batch, widths[0])
    weights: list[np.ndarray]  # each (out_features, in_features)
    grad_output: np.ndarray  # (batch, widths[-1])


def layer_data(case: LayerCase, dtype: Any, *, exact: bool = False) -> LayerData:
    """Operands of `case`, the same in every process."""
    generator = np.random.default_rng(0)
    shapes = (
        (case.batch, case.in_features),
        (case.out_features, case.in_features),
        (case.batch, case.out_features),
    )
    if exact:
        # The largest partial sum of K products is near deviation^2 sqrt(K) times a few; 2^21
        # leaves a factor of eight below the 2^24 up to which float32 holds all integers.
        deviation = min(128.0, float(np.sqrt(2.0**21 / np.sqrt(max(case)))))
        x, weight, grad = (
            np.rint(generator.standard_normal(s).clip(-3.9, 3.9) * deviation).astype(dtype)
            for s in shapes
        )
    else:
        x, weight, grad = (generator.standard_normal(s).astype(dtype) for s in shapes)
        weight *= np.dtype(dtype).type(np.sqrt(2.0 / case.in_features))
    return LayerData(x, weight, grad, np.maximum(x @ weight.T, 0))


def network_data(case: NetworkCase, dtype: Any, *, exact: bool = False) -> NetworkData:
    """Operands of `case`, the same in every process; weights by He initialisation, or exact."""
    generator = np.random.default_rng(0)
    sizes = list(zip(case.widths[1:], case.widths[:-1], strict=True))
    ends = ((case.batch, case.widths[0]), (case.batch, case.widths[-1]))
    if exact:
        weights = [_signs(generator, size, _TERMS / size[1]).astype(dtype) for size in sizes]
        x, grad = (_signs(generator, size, 2 / 3).astype(dtype) for size in ends)
    else:
        weights = [
            (np.sqrt(2.0 / size[1]) * generator.standard_normal(size)).astype(dtype)
            for size in sizes
        ]
        x, grad = (generator.standard_normal(size).astype(dtype) for size in ends)
    return NetworkData(x, weights, grad)


def _signs(generator: np.random.Generator, size: tuple[int, int], density: float) -> np.ndarray:
    """Entries -1, 0, 1, the nonzeros with probability at most 2/3."""
    uniform = generator.random(size)
    half = min(density, 2 / 3) / 2
    return (uniform < half).astype(np.int8) - (uniform > 1 - half).astype(np.int8)
