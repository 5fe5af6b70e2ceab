"""homfast's own calls as contenders."""

from __future__ import annotations

import itertools

import numpy as np

import homfast
from homfast.bench.data import LayerData, NetworkData
from homfast.bench.interleaved import Contender

name = "homfast"


class Homfast:
    """Our calls, with the methods of a peer.

    Parameters
    ----------
    precision : {None, "highest", "high", "medium"}
        As in `homfast.linear`; a training step has the one of its network.
    """

    name = name
    version = homfast.__version__

    def __init__(self, precision: str | None = None):
        self._precision = precision

    def layers_forward(self, data: LayerData) -> Contender:
        """``linear_relu`` on plain arrays: the weight is packed inside of the clock."""
        x, weight, precision = data.x, data.weight, self._precision
        return Contender(name, lambda: homfast.linear_relu(x, weight, precision=precision))

    def layers_backward(self, data: LayerData) -> Contender:
        """``linear_relu_backward``, both gradients, from the bit mask of the forward call."""
        x, weight, grad_output, precision = data.x, data.weight, data.grad_output, self._precision
        mask = np.packbits(data.y > 0, axis=-1, bitorder="little")
        backward = homfast.linear_relu_backward
        return Contender(name, lambda: backward(grad_output, x, weight, mask, precision=precision))

    def networks_forward(self, data: NetworkData) -> Contender:
        """``net(x)``; weights were packed at construction."""
        net, x = self._network(data), data.x
        return Contender(name, lambda: net(x))

    def networks_gradients(self, data: NetworkData) -> Contender:
        """``net.vjp(x)`` and the gradients of the input and of all weights."""
        net, x, grad_output = self._network(data), data.x, data.grad_output

        def gradients():
            y, vjp = net.vjp(x)
            return y, vjp(grad_output)

        return Contender(name, gradients)

    def training_step(self, data: NetworkData, learning_rate: float) -> Contender:
        """Steps of ``fit`` with Adam, continued from call to call; a call returns its loss."""
        net = self._network(data)
        batch = (data.x, data.grad_output)
        state = None

        def run(count: int) -> float:
            nonlocal state
            history = homfast.fit(
                net,
                itertools.repeat(batch),
                steps=count,
                optimizer="adam",
                learning_rate=learning_rate,
                optimizer_state=state,
            )
            state = history.optimizer_state
            return float(history.loss[-1])

        return Contender(name, lambda: run(1), run=run)

    def _network(self, data: NetworkData) -> homfast.ReLUNetwork:
        return homfast.ReLUNetwork(data.weights, precision=self._precision)
