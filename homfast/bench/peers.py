"""The libraries that homfast is measured against, and NumPy's calls.

A peer is an object with ``name``, ``version`` and any of the methods ``layers_forward``,
``layers_backward``, ``networks_forward``, ``networks_gradients`` and ``training_step``, each of
which takes the data and returns a `Contender`; a method it lacks means that it takes no part there.
A peer uses the quickest form that its library offers to a user who writes functions: results are
allocated, ReLU is applied in place, nothing is recorded that is not asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from homfast.bench.arithmetic import widened
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
    except ModuleNotFoundError as error:
        missing = (error.name or str(error)).partition(".")[0]
        raise PeerUnavailable(f"needs {missing}, which is not installed") from error
    except ImportError as error:
        raise PeerUnavailable(f"cannot be imported ({error})") from error


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
    """NumPy with the BLAS of its wheel.

    It multiplies bfloat16 in a plain loop; whoever has it in NumPy widens it, multiplies in float32
    and rounds, as is done here. Weights of networks are widened once, outside of the clock.
    """

    name = "numpy"
    version = np.__version__

    def layers_forward(self, data: LayerData) -> Contender:
        """Product, then ReLU in place."""
        return self._contender(_layer_forward, data.x, data.weight)

    def layers_backward(self, data: LayerData) -> Contender:
        """Mask by multiplication (ten times quicker than ``numpy.where``), two products."""
        return self._contender(_layer_backward, *data)

    def networks_forward(self, data: NetworkData) -> Contender:
        """The layers one after the other."""
        weights = [widened(weight) for weight in data.weights]
        return self._contender(lambda x: _network_forward(x, weights), data.x)

    def networks_gradients(self, data: NetworkData) -> Contender:
        """Forward with kept layer inputs, then the products of the backward pass."""
        weights = [widened(weight) for weight in data.weights]
        return self._contender(
            lambda x, grad_output: _network_gradients(x, weights, grad_output),
            data.x,
            data.grad_output,
        )

    def _contender(self, function: Callable[..., Any], *arrays: np.ndarray) -> Contender:
        dtype = arrays[0].dtype
        if widened(arrays[0]) is arrays[0]:
            return Contender(self.name, lambda: function(*arrays))
        return Contender(self.name, lambda: _rounded(function(*map(widened, arrays)), dtype))


def _layer_forward(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    y = x @ weight.T
    return np.maximum(y, 0, out=y)


def _layer_backward(
    x: np.ndarray, weight: np.ndarray, grad_output: np.ndarray, y: np.ndarray
) -> Any:
    grad = grad_output * (y > 0)
    return grad @ weight, grad.T @ x


def _network_forward(x: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    for weight in weights[:-1]:
        x = x @ weight.T
        np.maximum(x, 0, out=x)
    return x @ weights[-1].T


def _network_gradients(
    x: np.ndarray, weights: Sequence[np.ndarray], grad_output: np.ndarray
) -> Any:
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


def _rounded(result: Any, dtype: np.dtype[Any]) -> Any:
    """The arrays in a result, in `dtype`."""
    if isinstance(result, (tuple, list)):
        return [_rounded(part, dtype) for part in result]
    return result.astype(dtype)
