"""Networks within the bound that errors of the layers before add up to.

With e the bound on what a layer gets, |W| e + gamma_K |W| (|h| + e) is that on its product, and the
ReLU lets it through.
"""

from __future__ import annotations

import numpy as np

import homfast
from homfast.selftesting import sizes
from homfast.selftesting.oracles import (
    ROUNDOFF,
    WIDE,
    assert_within,
    gamma,
    relu,
    tiny,
    worst_ratio,
)

TITLE = "networks within the bound of their layers together"
KEEPS_BITS = False
SLOPES = (0.0, 0.25, 0.1)
CORNERS = (
    {"rows": 1, "widths": [32, 128, 128, 64], "slope": 0.0},
    {"rows": 37, "widths": [17, 33, 9, 4], "slope": 0.1},
    {"rows": 130, "widths": [64, 100, 65, 31, 7], "slope": 0.25},
)


def draw(rng, largest):
    rows, slope = sizes.size(rng, largest), float(rng.choice(SLOPES))
    return {"rows": rows, "widths": sizes.widths(rng, largest), "slope": slope}


def check(engine, dtype, rng, rows, widths, slope):
    net = homfast.ReLUNetwork.random(
        widths,
        seed=int(rng.integers(1000)),
        dtype=dtype,
        negative_slope=slope,
        backend=engine.backend,
    )
    x = rng.standard_normal((rows, widths[0])).astype(dtype)
    y = net(x)
    value, bound = expected(engine, net, x, slope)
    assert_within(y, value, bound, f"{engine} {dtype} {rows} rows, widths {widths} slope={slope}")
    return worst_ratio(y, value, bound)


def expected(engine, net, x, slope):
    """The network in wider arithmetic, and the bound."""
    dtype, wide = x.dtype, WIDE[x.dtype]
    value = x.astype(wide)
    error = np.zeros_like(value)
    own = float(np.finfo(wide).eps) / 2
    for layer, weight in enumerate(net.weights):
        matrix = weight.astype(wide).T
        reach, terms = np.abs(value) + error, len(matrix)
        bound = (gamma(terms, ROUNDOFF[dtype]) + gamma(terms, own)) * (reach @ np.abs(matrix))
        if not engine.fused:
            largest = reach.max(axis=1, initial=0)[:, None] * np.abs(matrix).max(axis=0, initial=0)
            bound += terms * wide(2.0**-120) * largest
        bound += error @ np.abs(matrix) + terms * tiny(dtype)
        value, error = value @ matrix, bound
        if layer + 1 < len(net.weights):
            value, error = relu(value, error, slope, dtype)
    return value, error
