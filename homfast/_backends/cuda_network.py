"""A whole network on a device, on one stream, with memory from the arrays' library.

Forward is one launch for all layers where their weights fit in shared memory, else one a layer.
"""

from __future__ import annotations

import math

import numpy as np

from homfast._backends import interrupts
from homfast._backends.device_library import dtype_of, library_of
from homfast._backends.layerwise import LayerwiseNetwork


def _empty(shape, dtype, like):
    return library_of(like).empty(shape, dtype, like)


def empty_masks(rows, widths, like):
    """Room for the bit masks of hidden layers of these widths."""
    return [_empty((rows, (width + 7) // 8), np.uint8, like) for width in widths]


class DeviceNetwork(LayerwiseNetwork):
    """With memory from the library of the arrays that come."""

    def rows(self, like, features):
        return _rows(like, features)

    def forward(self, x, masks, hidden, out):
        if not self.ops.network_forward(x, self.layers, self.slope, masks, hidden, out):
            super().forward(x, masks, hidden, out)


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
        """As the protocol says. Waits for the device twice.

        The loss decides about the update, and what that wrote about the step: the sum that the
        loss was read from is NaN afterwards if that is not finite.
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
        with interrupts.held_back():
            for index, (layer, gradient) in enumerate(zip(layers, gradients, strict=True)):
                if adam:
                    ops.adam_update(layer.array, gradient, first[index], second[index], adam, total)
                else:
                    ops.sgd_update(layer.array, gradient, learning_rate, weight_decay, total)
        return loss, math.isfinite(float(total[0]))


class DeviceTrace:
    """The call of ``_protocol.Trace``, likewise."""

    def __init__(self, network, inputs, masks):
        self._network, self._inputs, self._masks = network, inputs, masks

    def pull_back(self, grad_output, input_needed):
        x, *hidden = self._inputs
        grad_input = _rows(x, x.shape[1]) if input_needed else None
        grad_weights = [_empty(layer.shape, dtype_of(x), x) for layer in self._network.layers]
        self._network.backward(x, self._masks, hidden, grad_output, grad_input, grad_weights)
        return grad_input, grad_weights
