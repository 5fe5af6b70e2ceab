"""A whole network by one call a layer, for backends that have nothing better."""

from __future__ import annotations

import numpy as np


class LayerwiseNetwork:
    """The calls of ``_protocol.Network`` in terms of the layer ops of a backend module."""

    def __init__(self, ops, layers, negative_slope):
        self._ops = ops
        self._layers = layers
        self._slope = negative_slope

    def plain(self, x):
        """None: nothing is so plain that it could go unchecked."""
        return None

    def forward(self, x, masks, hidden, out):
        for index, layer in enumerate(self._layers[:-1]):
            target = hidden[index] if hidden else np.empty((x.shape[0], layer.shape[0]), x.dtype)
            mask = masks[index] if masks else None
            self._ops.linear_relu(x, layer, self._slope, target, mask)
            x = target
        self._ops.linear(x, self._layers[-1], out)

    def forward_masked(self, v, masks, out):
        for layer, mask in zip(self._layers[:-1], masks, strict=True):
            target = np.empty((v.shape[0], layer.shape[0]), v.dtype)
            self._ops.linear_masked(v, layer, mask, self._slope, target)
            v = target
        self._ops.linear(v, self._layers[-1], out)

    def adjoint(self, u, masks, out):
        masks = [*masks, None]
        for index in reversed(range(len(self._layers))):
            layer = self._layers[index]
            target = out if index == 0 else np.empty((u.shape[0], layer.shape[1]), u.dtype)
            self._ops.grad_input(u, layer, masks[index], self._slope, target)
            u = target
