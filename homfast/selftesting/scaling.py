"""f(2^k x) == 2^k f(x) to the bit, forward and backward (contract, 3).

As long as nothing overflows or goes denormal: the data are of moderate exponents, |k| <= 40.
"""

from __future__ import annotations

import numpy as np

import homfast
from homfast.selftesting import sizes
from homfast.selftesting.oracles import assert_same_bits

TITLE = "f(2^k x) == 2^k f(x), and gradients likewise"
KEEPS_BITS = False
CORNERS = (
    {"rows": 1, "widths": [1, 1], "slope": 0.0, "power": -40},
    {"rows": 21, "widths": [17, 33, 9, 4], "slope": 0.0, "power": 40},
    {"rows": 100, "widths": [64, 100, 65, 31, 7], "slope": 0.1, "power": -3},
)


def draw(rng, largest):
    return {
        "rows": sizes.size(rng, largest),
        "widths": sizes.widths(rng, largest),
        "slope": float(rng.choice([0.0, 0.1])),
        "power": int(rng.integers(-40, 41)),
    }


def check(engine, dtype, rng, rows, widths, slope, power):
    check_powers(engine, dtype, rng, rows, widths, slope, [power])


def check_powers(engine, dtype, rng, rows, widths, slope, powers):
    """x, and the gradient of the result, by each 2^power."""
    net = homfast.ReLUNetwork.random(
        widths, seed=4, dtype=dtype, negative_slope=slope, backend=engine.backend
    )
    x, u = moderate(rng, (rows, widths[0]), dtype), moderate(rng, (rows, widths[-1]), dtype)
    y, vjp = net.vjp(x)
    grad_input, grad_weights = vjp(u)
    jacobian, linearized = net.jacobian(x), net.linearize(x)
    for power in powers:
        case = f"{engine} {dtype} {rows} rows, widths {widths} slope={slope} 2^{power}"
        assert_same_bits(net(scaled(x, power)), scaled(y, power), f"f {case}")
        same, pull = net.vjp(scaled(x, power))
        assert_same_bits(same, scaled(y, power), f"vjp {case}")
        of_input, of_weights = pull(u)
        assert_same_bits(of_input, grad_input, f"grad_input, x by {case}")
        for layer, (gradient, wanted) in enumerate(zip(of_weights, grad_weights, strict=True)):
            assert_same_bits(gradient, scaled(wanted, power), f"grad_weights[{layer}], x by {case}")
        of_input, of_weights = vjp(scaled(u, power))
        assert_same_bits(of_input, scaled(grad_input, power), f"grad_input, grad by {case}")
        for layer, (gradient, wanted) in enumerate(zip(of_weights, grad_weights, strict=True)):
            assert_same_bits(gradient, scaled(wanted, power), f"grad_weights[{layer}] grad {case}")
        assert_same_bits(net.jacobian(scaled(x, power)), jacobian, f"jacobian {case}")
        forward = linearized.forward(scaled(x, power))
        assert_same_bits(forward, scaled(linearized.forward(x), power), f"forward {case}")


def moderate(rng, shape, dtype):
    """Normal data whose least magnitude is 2^-12, so that no product or sum goes denormal."""
    values = rng.standard_normal(shape)
    return np.where(np.abs(values) < 2.0**-12, 2.0**-12, values).astype(dtype)


def scaled(array, power):
    return np.ldexp(array, power).astype(array.dtype)
