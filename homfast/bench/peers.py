"""The libraries that homfast is measured against, and NumPy's calls.

A peer is an object with ``name``, ``version`` and any of the methods ``layers_forward``,
``layers_backward``, ``networks_forward``, ``networks_gradients`` and ``training_step``, each of
which takes the data and returns a `Contender`; a method it lacks means that it takes no part there.
A peer uses the quickest form that its library offers to a user who writes functions: results are
allocated, ReLU is applied in place, nothing is recorded that is not asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from homfast.bench.data import LayerData, NetworkData
from homfast.bench.interleaved import Contender

# Peer to the module and class that make it; imported when asked for.
_PEERS = {
    "numpy": ("homfast.bench.peers", "NumPyPeer"),
    "torch": ("homfast.bench.torch_peers", "TorchPeer"),
    "torch.autograd": ("homfast.bench.torch_peers", "TorchAutogradPeer"),
    "torch.compile": ("homfast.bench.torch_peers", "TorchCompilePeer"),
    "torch.fused": ("homfast.bench.torch_peers", "TorchFusedAdamPeer"),
    "torch.foreach": ("homfast.bench.torch_peers", "TorchForeachAdamPeer"),
    "jax": ("homfast.bench.jax_peers", "JaxPeer"),
    "onnxruntime": ("homfast.bench.onnx_peers", "OnnxRuntimePeer"),
}
NAMES = tuple(_PEERS)


class PeerUnavailable(Exception):
    """A peer cannot take part; the message says why."""


def load(name: str) -> Any:
    """The peer called `name`.

    Raises
    ------
    ValueError
        An unknown name.
    PeerUnavailable
        Its library is not installed or cannot be used.
    """
    if name not in _PEERS:
        raise ValueError(f"peers: got {name!r}, wanted some of {', '.join(NAMES)}")
    module, cls = _PEERS[name]
    try:
        return getattr(importlib.import_module(module), cls)()
    except ImportError as error:
        raise PeerUnavailable(f"not installed ({error})") from error


def load_all(names: Sequence[str]) -> tuple[list[Any], dict[str, str]]:
    """The peers that can take part, and by name why the others cannot."""
    present, absent = [], {}
    for name in names:
        try:
            present.append(load(name))
        except PeerUnavailable as reason:
            absent[name] = str(reason)
    return present, absent


class NumPyPeer:
    """NumPy with the BLAS of its wheel."""

    name = "numpy"
    version = np.__version__

    def layers_forward(self, data: LayerData) -> Contender:
        """Product, then ReLU in place."""
        x, weight = data.x, data.weight

        def forward():
            y = x @ weight.T
            return np.maximum(y, 0, out=y)

        return Contender(self.name, forward)

    def layers_backward(self, data: LayerData) -> Contender:
        """Mask by multiplication (ten times quicker than ``numpy.where``), two products."""
        x, weight, grad_output, y = data

        def backward():
            grad = grad_output * (y > 0)
            return grad @ weight, grad.T @ x

        return Contender(self.name, backward)

    def networks_forward(self, data: NetworkData) -> Contender:
        """The layers one after the other."""
        x, weights = data.x, data.weights

        def forward():
            hidden = x
            for weight in weights[:-1]:
                hidden = hidden @ weight.T
                np.maximum(hidden, 0, out=hidden)
            return hidden @ weights[-1].T

        return Contender(self.name, forward)

    def networks_gradients(self, data: NetworkData) -> Contender:
        """Forward with kept layer inputs, then the products of the backward pass."""
        x, weights, grad_output = data

        def gradients():
            inputs = [x]
            for weight in weights[:-1]:
                hidden = inputs[-1] @ weight.T
                inputs.append(np.maximum(hidden, 0, out=hidden))
            y = inputs[-1] @ weights[-1].T
            grad, grad_weights = grad_output, []
            for layer in reversed(range(len(weights))):
                if layer < len(weights) - 1:
                    grad = grad * (inputs[layer + 1] > 0)
                grad_weights.append(grad.T @ inputs[layer])
                grad = grad @ weights[layer]
            return y, grad, grad_weights[::-1]

        return Contender(self.name, gradients)
