"""A whole network by one call a layer, for backends that have nothing better.

Such a backend may have `array_module()`, the library whose arrays it takes; else that is NumPy.
"""

from __future__ import annotations

import numpy as np

from homfast._backends import interrupts


def _library(ops):
    return ops.array_module() if hasattr(ops, "array_module") else np


class LayerwiseNetwork:
    """The calls of ``_protocol.Network`` in terms of the layer ops of a backend module."""

    def __init__(self, ops, layers, negative_slope):
        self.ops = ops
        self.layers = layers
        self.slope = negative_slope
        self.xp = _library(ops)

    def rows(self, like, features):
        """Room for rows of so many features, one for each of `like`."""
        return self.xp.empty((like.shape[0], features), like.dtype)

    def plain(self, x, out):
        """None: nothing is so plain that it could go unchecked."""
        return None

    def forward(self, x, masks, hidden, out):
        for index, layer in enumerate(self.layers[:-1]):
            target = hidden[index] if hidden else self.rows(x, layer.shape[0])
            mask = masks[index] if masks else None
            self.ops.linear_relu(x, layer, self.slope, target, mask)
            x = target
        self.ops.linear(x, self.layers[-1], out)

    def forward_masked(self, v, masks, out):
        for layer, mask in zip(self.layers[:-1], masks, strict=True):
            target = self.rows(v, layer.shape[0])
            self.ops.linear_masked(v, layer, mask, self.slope, target)
            v = target
        self.ops.linear(v, self.layers[-1], out)

    def adjoint(self, u, masks, out):
        masks = [*masks, None]
        for index in reversed(range(len(self.layers))):
            layer = self.layers[index]
            target = out if index == 0 else self.rows(u, layer.shape[1])
            self.ops.grad_input(u, layer, masks[index], self.slope, target)
            u = target

    def backward(self, x, masks, hidden, grad_output, grad_input, grad_weights):
        masks, inputs, grad = [*masks, None], [x, *hidden], grad_output
        for index in reversed(range(len(self.layers))):
            layer, mask = self.layers[index], masks[index]
            if grad_weights:
                precision = getattr(layer, "precision", "highest")  # of a packed layer
                self.ops.grad_weight(
                    grad, inputs[index], mask, self.slope, grad_weights[index], precision
                )
            if index == 0 and grad_input is None:
                return
            below = grad_input if index == 0 else self.rows(x, layer.shape[1])
            self.ops.grad_input(grad, layer, mask, self.slope, below)
            grad = below


def _array(layer):
    """The weight itself, of a layer that is packed or not."""
    return getattr(layer, "weight", layer)


class LayerwiseTraining:
    """The calls of ``_protocol.Training``, likewise."""

    def __init__(self, network):
        self._network = network

    def trace(self, x):
        xp = self._network.xp
        if type(x) is not xp.ndarray or x.ndim != 2 or not x.flags.c_contiguous:
            return None
        layers = self._network.layers
        if x.dtype != layers[0].dtype or x.shape[1] != layers[0].shape[1]:
            return None
        widths = [layer.shape[0] for layer in layers]
        hidden = [xp.empty((x.shape[0], width), x.dtype) for width in widths[:-1]]
        masks = [xp.empty((x.shape[0], (width + 7) // 8), np.uint8) for width in widths[:-1]]
        y = xp.empty((x.shape[0], widths[-1]), x.dtype)
        inputs = xp.array(x)
        self._network.forward(inputs, masks, hidden, y)
        return y, LayerwiseTrace(self._network, [inputs, *hidden], masks)

    def jvp(self, x, v):
        """None: the long way goes through `forward_masked`."""
        return None

    def _refresh(self):
        """What a backend packs of the weights, packed again after they changed."""

    def fit_step(self, x, target, adam, learning_rate, weight_decay, first, second):
        ops, weights = self._network.ops, [_array(layer) for layer in self._network.layers]
        y, trace = self.trace(self._network.xp.ascontiguousarray(x))
        with np.errstate(over="ignore", invalid="ignore"):
            residual = y - target
            count = max(residual.size, 1)
            loss = float(np.sum(np.square(residual, dtype=np.float64))) / count
        if not np.isfinite(loss):
            return loss, True
        residual *= residual.dtype.type(2.0 / count)
        _, gradients = trace.pull_back(residual, False)
        with interrupts.held_back():
            for index, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
                if adam:
                    ops.adam_update(weight, gradient, first[index], second[index], adam)
                else:
                    ops.sgd_update(weight, gradient, learning_rate, weight_decay)
            self._refresh()
        return loss, all(np.isfinite(written).all() for written in (*weights, *second))


class LayerwiseTrace:
    """The call of ``_protocol.Trace``, likewise."""

    def __init__(self, network, inputs, masks):
        self._network = network
        self._inputs = inputs
        self._masks = masks

    def pull_back(self, grad_output, input_needed):
        layers, xp = self._network.layers, self._network.xp
        shape = (self._inputs[0].shape[0], layers[-1].shape[0])
        if type(grad_output) is not xp.ndarray or grad_output.shape != shape:
            return None
        if grad_output.dtype != layers[0].dtype or not grad_output.flags.c_contiguous:
            return None
        grad_input = xp.empty_like(self._inputs[0]) if input_needed else None
        grad_weights = [xp.empty(layer.shape, layer.dtype) for layer in layers]
        x, *hidden = self._inputs
        self._network.backward(x, self._masks, hidden, grad_output, grad_input, grad_weights)
        return grad_input, grad_weights
