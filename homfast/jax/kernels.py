"""The passes of a network on NumPy arrays, as XLA calls them back where it has no native target.

The twins of ``csrc/bindings/xla_handlers.cpp``: the same operands, results and options, the same
bits. Weights are packed in every call, whatever the number of rows, so that the bits of a row do
not depend on how many there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _arrays, _backends, _host_arrays

Array = np.ndarray


def forward(
    *operands: Any, layers: int, slope: float, last_relu: bool, precision: str, keep: bool,
    hidden: bool,
) -> list[Array]:  # fmt: skip
    """x, weights -> y; if kept, also the outputs of the hidden layers, if wanted, and masks."""
    x, *weights = map(np.asarray, operands)
    rows = _rows(x)
    ops, packed = _packed(rows, weights, precision)
    sizes = [w.shape[0] for w in weights]
    units = sizes if last_relu else sizes[:-1]
    out = np.empty((len(rows), sizes[-1]), rows.dtype)
    masks = _host_arrays.empty_masks(len(rows), units, rows) if keep else []
    outputs = [np.empty((len(rows), size), rows.dtype) for size in (sizes[:-1] if hidden else ())]
    if last_relu:
        ops.linear_relu(rows, packed[0], slope, out, masks[0] if keep else None, precision)
    else:
        ops.pack_network(packed, slope).forward(rows, masks, outputs, out)
    return [a.reshape(*x.shape[:-1], a.shape[-1]) for a in (out, *outputs, *masks)]


def tangent(
    *operands: Any, layers: int, slope: float, last_relu: bool, precision: str
) -> list[Array]:
    """v, weights, masks -> J v."""
    v, *rest = map(np.asarray, operands)
    weights, masks = rest[:layers], [_rows(m) for m in rest[layers:]]
    rows = _rows(v)
    ops, packed = _packed(rows, weights, precision)
    out = np.empty((len(rows), weights[-1].shape[0]), rows.dtype)
    if last_relu:
        ops.linear_masked(rows, packed[0], masks[0], slope, out, precision)
    else:
        ops.pack_network(packed, slope).forward_masked(rows, masks, out)
    return [out.reshape(*v.shape[:-1], out.shape[-1])]


def backward(
    *operands: Any, layers: int, slope: float, last_relu: bool, precision: str, input_needed: bool,
    weights_needed: bool, parts: int, apart: bool,
) -> list[Array]:  # fmt: skip
    """grad_output, weights, masks and, for gradients of weights, x and the hidden outputs ->
    gradients of x, if needed, and of the weights, for each of `parts` groups of rows."""
    grad_output, *rest = map(np.asarray, operands)
    weights, kept = rest[:layers], [_rows(a) for a in rest[layers:]]
    grads = _rows(grad_output)
    units = layers if last_relu else layers - 1
    masks, inputs = kept[:units], kept[units:]
    ops, packed = _packed(grads, weights, precision)
    dtype = grads.dtype
    below = np.empty((len(grads), weights[0].shape[1]), dtype) if input_needed else None
    grad_weights = [np.empty((parts, *w.shape), dtype) for w in weights] if weights_needed else []
    network = None if last_relu else ops.pack_network(packed, slope)
    for part in range(parts):
        height = len(grads) // parts
        cut = slice(part * height, (part + 1) * height)
        g, bits, own = grads[cut], [m[cut] for m in masks], [a[cut] for a in inputs]
        target = None if below is None else below[cut]
        targets = [w[part] for w in grad_weights]
        if network is None:
            if target is not None:
                ops.grad_input(g, packed[0], bits[0], slope, target, precision)
            if targets:
                ops.grad_weight(g, own[0], bits[0], slope, targets[0], precision)
        elif targets:
            network.backward(own[0], bits, own[1:], g, target, targets)
        elif target is not None:
            network.adjoint(g, bits, target)
    results = [] if below is None else [below.reshape(*grad_output.shape[:-1], below.shape[-1])]
    return results + [w if apart else w[0] for w in grad_weights]


def _rows(array: Array) -> Array:
    return _arrays.as_rows(array)


def _packed(rows: Array, weights: list[Array], precision: str) -> tuple[Any, list[Any]]:
    ops = _backends.resolve(None, rows)
    return ops, [ops.pack_weight(_arrays.as_kernel_matrix(w), precision) for w in weights]
