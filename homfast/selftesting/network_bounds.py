"""Networks, their masks, gradients and tangents within bounds that add up over the layers.

With e the bound on what a layer gets, |W| e + gamma_K |W| (|h| + e) is that on its product, and the
ReLU lets it through. A pre-activation within its bound of 0 may have either bit; gradients and
tangents are compared under the bits that the kernel has. Euler: <g, f(x)> = <J^T g, x> = <dW, W>.
"""

from __future__ import annotations

import numpy as np

import homfast
from homfast.selftesting import sizes
from homfast.selftesting.oracles import (
    MANY_TERMS,
    ROUNDOFF,
    WIDE,
    assert_same_bits,
    assert_within,
    ensure,
    gamma,
    relu,
    tiny,
    unpack,
    worst_ratio,
)

TITLE = "networks, masks, gradients, tangents and Euler's identity within bounds"
KEEPS_BITS = False
MOST_LAYERS = 6
SLOPES = (0.0, 0.25, 0.1)
CORNERS = (
    {"rows": 1, "widths": [32, 128, 128, 64], "slope": 0.0},
    {"rows": 37, "widths": [17, 33, 9, 4], "slope": 0.1},
    {"rows": 130, "widths": [64, 100, 65, 31, 7], "slope": 0.25},
    {"rows": 9, "widths": [20, 33, 40, 17, 64, 9, 12], "slope": 0.0},
)


def draw(rng, largest):
    rows, slope = sizes.size(rng, largest), float(rng.choice(SLOPES))
    return {"rows": rows, "widths": sizes.widths(rng, largest, MOST_LAYERS), "slope": slope}


def check(engine, dtype, rng, rows, widths, slope):
    net = homfast.ReLUNetwork.random(
        widths,
        seed=int(rng.integers(1000)),
        dtype=dtype,
        negative_slope=slope,
        backend=engine.backend,
    )
    x, v = (rng.standard_normal((rows, widths[0])).astype(dtype) for _ in range(2))
    grad = rng.standard_normal((rows, widths[-1])).astype(dtype)
    case = f"{engine} {dtype} {rows} rows, widths {widths} slope={slope}"
    oracle = Oracle(net, x, slope, engine.fused)
    y, vjp = net.vjp(x)
    assert_within(y, *oracle.output, case)
    if engine.keeps_bits:
        assert_same_bits(net(x), y, f"a call, and what vjp returns: {case}")
    active = oracle.check_masks(net.linearize(x)._masks, case)
    grad_input, grad_weights = vjp(grad)
    wanted_input, wanted_weights = oracle.gradients(active, grad)
    assert_within(grad_input, *wanted_input, f"grad_input {case}")
    for layer, (found, wanted) in enumerate(zip(grad_weights, wanted_weights, strict=True)):
        assert_within(found, *wanted, f"gradient of weight {layer} {case}")
    tangent = net.jvp(x, v)[1]
    wanted_tangent = oracle.tangent(active, v)
    assert_within(tangent, *wanted_tangent, f"jvp {case}")
    pairs = [(grad_input, wanted_input, x)]
    pairs += zip(grad_weights, wanted_weights, net.weights, strict=True)
    check_euler(y, oracle.output, grad, pairs, case)
    if min(widths[:-1]) < MANY_TERMS or rows < MANY_TERMS or widths[-1] < MANY_TERMS:
        return None
    found = [(y, oracle.output), (tangent, wanted_tangent), *((a, b) for a, b, _ in pairs)]
    return max(worst_ratio(values, *wanted) for values, wanted in found)


def check_euler(y, output, grad, pairs, case):
    """<g, f(x)> is <gradient, point> for the input and every weight, within their bounds."""
    wide = output[0].dtype
    value = np.sum(grad.astype(wide) * y)
    # Once for y, once for a unit whose bit is not that of the exact pre-activation.
    slack = 2 * np.sum(np.abs(grad) * output[1])
    for number, (gradient, (_, bound), point) in enumerate(pairs):
        error = abs(np.sum(gradient.astype(wide) * point) - value)
        most = slack + np.sum(bound * np.abs(point))
        most += (
            np.finfo(wide).eps
            * (point.size + grad.size)
            * (
                np.sum(np.abs(gradient.astype(wide) * point))
                + np.sum(np.abs(grad.astype(wide) * y))
            )
        )
        ensure(error <= most, f"Euler, number {number}, {case}: off by {error}, bound {most}")


class Oracle:
    """A network at x in wider arithmetic: values, each with the bound on the kernel's error."""

    def __init__(self, net, x, slope, fused):
        self.dtype, self.slope, self.fused = x.dtype, slope, fused
        self.wide = WIDE[x.dtype]
        self.matrices = [weight.astype(self.wide) for weight in net.weights]
        value, error = self.known(x)
        self.inputs, self.products = [], []
        for layer, matrix in enumerate(self.matrices):
            self.inputs.append((value, error))
            value, error = self.product(value, error, matrix.T)
            self.products.append((value, error))
            if layer + 1 < len(self.matrices):
                value, error = relu(value, error, slope, self.dtype)
        self.output = value, error

    def known(self, values):
        """What has no error."""
        return values.astype(self.wide), np.zeros(values.shape)

    def product(self, value, error, matrix, matrix_error=None):
        """value @ matrix, where both may have errors."""
        wide, terms = self.wide, len(matrix)
        reach, size = np.abs(value).astype(float) + error, np.abs(matrix).astype(float)
        roundings = gamma(terms, ROUNDOFF[self.dtype]) + gamma(terms, float(np.finfo(wide).eps) / 2)
        bound = error @ size + terms * float(tiny(self.dtype))
        if matrix_error is not None:
            bound += reach @ matrix_error
            size = size + matrix_error
        bound += roundings * (reach @ size)
        if not self.fused:
            largest = reach.max(axis=1, initial=0)[:, None] * size.max(axis=0, initial=0)
            bound += terms * 2.0**-120 * largest
        return value @ matrix, bound * (1 + 2.0**-20)  # the bound is rounded too

    def select(self, value, error, active):
        """Of units with these bits: what is not active is scaled by the slope."""
        a = self.wide(self.dtype.type(self.slope))
        scaled = abs(float(a)) * error
        if self.slope:
            rounding = ROUNDOFF[self.dtype] * (np.abs(a * value).astype(float) + scaled)
            scaled = scaled + rounding + float(tiny(self.dtype))
        return np.where(active, value, a * value), np.where(active, error, scaled)

    def check_masks(self, masks, case):
        """The bits of the kernel, by layer; each that the bound decides is right."""
        active = []
        for layer, (mask, (value, bound)) in enumerate(zip(masks, self.products[:-1], strict=True)):
            bits = unpack(mask, value.shape[1])
            wrong = (bits != (value > 0)) & (np.abs(value) > bound)
            ensure(not wrong.any(), f"{case}: {wrong.sum()} bits of layer {layer} are wrong")
            active.append(bits)
        return active

    def gradients(self, active, grad):
        """That of the input, and those of the weights."""
        value, error = self.known(grad)
        of_weights = []
        for layer in reversed(range(len(self.matrices))):
            of_weights.append(self.product(value.T, error.T, *self.inputs[layer]))
            value, error = self.product(value, error, self.matrices[layer])
            if layer:
                value, error = self.select(value, error, active[layer - 1])
        return (value, error), of_weights[::-1]

    def tangent(self, active, v):
        """J v."""
        value, error = self.known(v)
        for layer, matrix in enumerate(self.matrices):
            value, error = self.product(value, error, matrix.T)
            if layer + 1 < len(self.matrices):
                value, error = self.select(value, error, active[layer])
        return value, error
