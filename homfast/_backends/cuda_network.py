"""A whole network on a device: one launch a layer, one stream, memory from the arrays' library."""

from __future__ import annotations

import math

import numpy as np

from homfast._backends.device_library import dtype_of, library_of


def _empty(shape, dtype, like):
    return library_of(like).empty(shape, dtype, like)


def empty_masks(rows, widths, like):
    """Room for the bit masks of hidden layers of these widths."""
    return [_empty((rows, (width + 7) // 8), np.uint8, like) for width in widths]


class DeviceNetwork:
    """The calls of ``_protocol.Network`` in terms of the layer ops of a backend module."""

    def __init__(self, ops, layers, negative_slope):
        self.ops, self.layers, self.slope = ops, layers, negative_slope

    def plain(self, x):
        """None: the caller checks and allocates."""
        return None

    def forward(self, x, masks, hidden, out):
        for index, layer in enumerate(self.layers[:-1]):
            target = hidden[index] if hidden else _rows(x, layer.shape[0])
            mask = masks[index] if masks else None
            self.ops.linear_relu(x, layer, self.slope, target, mask)
            x = target
        self.ops.linear(x, self.layers[-1], out)

    def forward_masked(self, v, masks, out):
        for layer, mask in zip(self.layers[:-1], masks, strict=True):
            target = _rows(v, layer.shape[0])
            self.ops.linear_masked(v, layer, mask, self.slope, target)
            v = target
        self.ops.linear(v, self.layers[-1], out)

    def adjoint(self, u, masks, out):
        masks = [*masks, None]
        for index in reversed(range(len(self.layers))):
            layer = self.layers[index]
            target = out if index == 0 else _rows(u, layer.shape[1])
            self.ops.grad_input(u, layer, masks[index], self.slope, target)
            u = target


def _rows(like, features):
    return _empty((like.shape[0], features), dtype_of(like), like)


class DeviceTraining:
    """The calls of ``_protocol.Training``. Arrays have been checked, are 2-D and contiguous."""

    def __init__(self, network):
        self._network = network

    def trace(self, x):
        layers = self._network.layers
        widths = [layer.shape[0] for layer in layers]
        hidden = [_rows(x, width) for width in widths[:-1]]
        masks = empty_masks(x.shape[0], widths[:-1], x)
        y = _rows(x, widths[-1])
        self._network.forward(x, masks, hidden, y)
        return y, DeviceTrace(self._network, [x, *hidden], masks)

    def jvp(self, x, v):
        layers = self._network.layers
        masks = empty_masks(x.shape[0], [layer.shape[0] for layer in layers[:-1]], x)
        y, dy = (_rows(x, layers[-1].shape[0]) for _ in range(2))
        self._network.forward(x, masks, [], y)
        self._network.forward_masked(v, masks, dy)
        return y, dy

    def fit_step(self, x, target, adam, learning_rate, weight_decay, first, second):
        """As the protocol says, but for what the update made infinite: the next loss tells.

        Waits for the device once: the loss decides about the update.
        """
        ops, layers = self._network.ops, self._network.layers
        residual, trace = self.trace(x)
        count = max(math.prod(residual.shape), 1)
        total = _empty((1,), np.float64, residual)
        ops.square_residual(residual, target, 2.0 / count, total)
        loss = float(total[0]) / count
        if not math.isfinite(loss):
            return loss, True
        _, gradients = trace.pull_back(residual, False)
        for index, (layer, gradient) in enumerate(zip(layers, gradients, strict=True)):
            if adam:
                ops.adam_update(layer.array, gradient, first[index], second[index], adam)
            else:
                ops.sgd_update(layer.array, gradient, learning_rate, weight_decay)
        return loss, True


class DeviceTrace:
    """The call of ``_protocol.Trace``, likewise."""

    def __init__(self, network, inputs, masks):
        self._network, self._inputs, self._masks = network, inputs, [*masks, None]

    def pull_back(self, grad_output, input_needed):
        ops, layers, slope = self._network.ops, self._network.layers, self._network.slope
        grad = grad_output
        grad_weights = [_empty(layer.shape, dtype_of(grad), grad) for layer in layers]
        for index in reversed(range(len(layers))):
            layer, mask = layers[index], self._masks[index]
            ops.grad_weight(
                grad, self._inputs[index], mask, slope, grad_weights[index], layer.precision
            )
            if index == 0 and not input_needed:
                return None, grad_weights
            below = _rows(grad, layer.shape[1])
            ops.grad_input(grad, layer, mask, slope, below)
            grad = below
        return grad, grad_weights
