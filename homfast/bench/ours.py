"""homfast's own calls as contenders."""

from __future__ import annotations

import itertools

import numpy as np

import homfast
from homfast.bench.data import LayerData, NetworkData
from homfast.bench.interleaved import Contender

name = "homfast"
version = homfast.__version__


def layers_forward(data: LayerData) -> Contender:
    """``linear_relu`` on plain arrays: the weight is packed inside of the clock."""
    x, weight = data.x, data.weight
    return Contender(name, lambda: homfast.linear_relu(x, weight))


def layers_backward(data: LayerData) -> Contender:
    """``linear_relu_backward``, both gradients, from the bit mask that the forward call gives."""
    x, weight, grad_output = data.x, data.weight, data.grad_output
    mask = np.packbits(data.y > 0, axis=-1, bitorder="little")
    return Contender(name, lambda: homfast.linear_relu_backward(grad_output, x, weight, mask))


def networks_forward(data: NetworkData) -> Contender:
    """``net(x)``; weights were packed at construction."""
    net, x = homfast.ReLUNetwork(data.weights), data.x
    return Contender(name, lambda: net(x))


def networks_gradients(data: NetworkData) -> Contender:
    """``net.vjp(x)`` and the gradients of the input and of all weights."""
    net, x, grad_output = homfast.ReLUNetwork(data.weights), data.x, data.grad_output

    def gradients():
        y, vjp = net.vjp(x)
        return y, vjp(grad_output)

    return Contender(name, gradients)


def training_step(data: NetworkData, learning_rate: float) -> Contender:
    """Steps of ``fit`` with Adam, continued from call to call; a call returns its loss."""
    net = homfast.ReLUNetwork(data.weights)
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
