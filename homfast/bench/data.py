"""The arrays that the contenders get: normal ones for the clock, exact ones for the check.

On the exact data every product and every partial sum is an integer that the dtype holds, so all
orders of summation give the same bits and results are compared for equality. The layers' integers
have nine bits: a product that was rounded to bf16 on the way does not pass. Where that is what is
asked for, by the dtype bfloat16 or a lower precision, all integers are small enough for bf16.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from homfast.bench.arithmetic import numpy_dtype, widened
from homfast.bench.cases import LayerCase, NetworkCase

# Terms a unit of an exact network sums: the values grow about fourfold a layer, far from 2^24.
_TERMS = 16
# The same in bf16: they grow less than twofold, far from 2^8.
_NARROW_TERMS = 4
# Sums of signs in bf16 have at most so many terms that are not zero, on average: deviation 16.
_NARROW_SUM = 256.0


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


def layer_data(case: LayerCase, dtype: str) -> LayerData:
    """Operands of `case`, the same in every process."""
    generator = np.random.default_rng(0)
    wanted = numpy_dtype(dtype)
    x, weight, grad = (generator.standard_normal(shape) for shape in _shapes(case))
    weight *= np.sqrt(2.0 / case.in_features)
    return _layer(x.astype(wanted), weight.astype(wanted), grad.astype(wanted))


def exact_layer_data(case: LayerCase, dtype: str, *, narrow: bool = False) -> LayerData:
    """Operands of `case` in integers; `narrow`: such that all sums are exact in bf16."""
    generator = np.random.default_rng(0)
    wanted = numpy_dtype(dtype)
    if narrow:
        density = min(2 / 3, float(np.sqrt(_NARROW_SUM / case.batch)))
        longest = max(case.in_features, case.out_features)
        densities = (density, min(2 / 3, _NARROW_SUM / (density * longest)), density)
        operands = [
            _signs(generator, shape, share)
            for shape, share in zip(_shapes(case), densities, strict=True)
        ]
    else:
        # The largest partial sum of K products is near deviation^2 sqrt(K) times a few; 2^21
        # leaves a factor of eight below the 2^24 up to which float32 holds all integers.
        deviation = min(128.0, float(np.sqrt(2.0**21 / np.sqrt(max(case)))))
        operands = [
            np.rint(generator.standard_normal(shape).clip(-3.9, 3.9) * deviation)
            for shape in _shapes(case)
        ]
    return _layer(*(operand.astype(wanted) for operand in operands))


def network_data(case: NetworkCase, dtype: str) -> NetworkData:
    """Operands of `case`, the same in every process; weights by He initialisation."""
    generator = np.random.default_rng(0)
    wanted = numpy_dtype(dtype)
    weights = [
        (np.sqrt(2.0 / shape[1]) * generator.standard_normal(shape)).astype(wanted)
        for shape in _weight_shapes(case)
    ]
    x, grad = (generator.standard_normal(shape).astype(wanted) for shape in _ends(case))
    return NetworkData(x, weights, grad)


def exact_network_data(case: NetworkCase, dtype: str, *, narrow: bool = False) -> NetworkData:
    """Operands of `case` in -1, 0 and 1; `narrow`: such that all sums are exact in bf16."""
    generator = np.random.default_rng(0)
    wanted = numpy_dtype(dtype)
    terms = _NARROW_TERMS if narrow else _TERMS
    weights = [
        _signs(generator, shape, terms / shape[1]).astype(wanted) for shape in _weight_shapes(case)
    ]
    densities = (2 / 3, _NARROW_SUM / 8 / case.batch if narrow else 2 / 3)
    x, grad = (
        _signs(generator, shape, share).astype(wanted)
        for shape, share in zip(_ends(case), densities, strict=True)
    )
    return NetworkData(x, weights, grad)


def _layer(x: np.ndarray, weight: np.ndarray, grad_output: np.ndarray) -> LayerData:
    y = np.maximum(widened(x) @ widened(weight).T, 0)
    return LayerData(x, weight, grad_output, y.astype(x.dtype, copy=False))


def _shapes(case: LayerCase) -> tuple[tuple[int, int], ...]:
    return (
        (case.batch, case.in_features),
        (case.out_features, case.in_features),
        (case.batch, case.out_features),
    )


def _weight_shapes(case: NetworkCase) -> list[tuple[int, int]]:
    return list(zip(case.widths[1:], case.widths[:-1], strict=True))


def _ends(case: NetworkCase) -> tuple[tuple[int, int], ...]:
    return (case.batch, case.widths[0]), (case.batch, case.widths[-1])


def _signs(generator: np.random.Generator, shape: tuple[int, int], density: float) -> np.ndarray:
    """Entries -1, 0, 1, the nonzeros with probability at most 2/3."""
    uniform = generator.random(shape)
    half = min(density, 2 / 3) / 2
    return (uniform < half).astype(np.int8) - (uniform > 1 - half).astype(np.int8)
