"""JAX's calls as contenders: compiled functions on CPU arrays, float32 and bfloat16.

A call ends when its result is there (`jax.block_until_ready`), as everybody else's does.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from homfast.bench.data import LayerData, NetworkData
from homfast.bench.interleaved import Contender
from homfast.bench.peers import PeerUnavailable

jax: Any = importlib.import_module("jax")
_bridge: Any = importlib.import_module("jax._src.xla_bridge")  # no public name says what it knows
_threads: int | None = None  # of the pool that `set_threads` had XLA make


def set_threads(count: int) -> str | None:
    """Have XLA make its pool with `count` threads; why it keeps another number, or None.

    XLA makes the pool when the first CPU array is made, once a process, of as many threads as the
    variable NPROC says. Its flag ``xla_cpu_multi_thread_eigen`` leaves the number as it is.
    """
    global _threads
    if _threads is None and not _bridge.backends_are_initialized():
        before = os.environ.get("NPROC")
        os.environ["NPROC"] = str(count)
        try:
            jax.devices("cpu")
        finally:
            if before is None:
                del os.environ["NPROC"]
            else:
                os.environ["NPROC"] = before
        _threads = count
    if _threads == count:
        return None
    kept = "its own number of" if _threads is None else f"its {_threads}"
    return f"JAX keeps {kept} threads, wanted {count}: its pool was made before, once a process"


class JaxPeer:
    """Functions under ``jax.jit``, compiled for the one shape before they are timed."""

    name = "jax"
    version = jax.__version__

    def layers_forward(self, data: LayerData) -> Contender:
        """``relu(x @ weight.T)``."""
        return self._contender(_layer, *_arrays((data.x, data.weight)))

    def layers_backward(self, data: LayerData) -> Contender:
        """Both gradients from the layer's result, which tells the active units."""

        def backward(x: Any, weight: Any, grad_output: Any, y: Any) -> Any:
            grad = jax.numpy.where(y > 0, grad_output, 0)
            return _product(grad, weight), _product(grad.T, x)

        return self._contender(backward, *_arrays(data))

    def networks_forward(self, data: NetworkData) -> Contender:
        """The layers one after the other, the weights as arguments."""
        x, *weights = _arrays((data.x, *data.weights))
        return self._contender(_network, x, weights)

    def networks_gradients(self, data: NetworkData) -> Contender:
        """``jax.vjp`` of the network, run in the same compiled function."""

        def gradients(x: Any, weights: Any, grad_output: Any) -> Any:
            y, vjp = jax.vjp(_network, x, weights)
            return y, vjp(grad_output)

        x, grad_output, *weights = _arrays((data.x, data.grad_output, *data.weights))
        return self._contender(gradients, x, weights, grad_output)

    def training_step(self, data: NetworkData, learning_rate: float) -> Contender:
        """Loss, gradients and Adam as one function that takes over the buffers of its state."""
        x, target, *weights = _arrays((data.x, data.grad_output, *data.weights))

        def loss(weights: Any) -> Any:
            return jax.numpy.mean((_network(x, weights) - target) ** 2)

        @functools.partial(jax.jit, donate_argnums=0)
        def step(state: Any) -> Any:
            weights, first, second, count = state
            value, grads = jax.value_and_grad(loss)(weights)
            count = count + 1
            first = [0.9 * m + 0.1 * g for m, g in zip(first, grads, strict=True)]
            second = [0.999 * v + 0.001 * g * g for v, g in zip(second, grads, strict=True)]
            size = learning_rate / (1 - 0.9**count)
            root = (1 - 0.999**count) ** -0.5
            weights = [
                w - size * m / (jax.numpy.sqrt(v) * root + 1e-8)
                for w, m, v in zip(weights, first, second, strict=True)
            ]
            return (weights, first, second, count), value

        copies = [jax.numpy.array(w, copy=True) for w in weights]  # donated: not the caller's
        moments = [[jax.numpy.zeros_like(w) for w in weights] for _ in range(2)]
        state = (copies, *moments, jax.numpy.float32(0))

        def run(count: int) -> Any:
            nonlocal state
            for _ in range(count):
                state, value = step(state)
            return jax.block_until_ready(value)

        return Contender(self.name, lambda: float(run(1)), run=run)

    def _contender(self, function: Any, *arguments: Any) -> Contender:
        compiled = jax.jit(function)
        ready = jax.block_until_ready
        return Contender(self.name, lambda: ready(compiled(*arguments)))


def _arrays(arrays: Sequence[np.ndarray]) -> list[Any]:
    """JAX arrays on the CPU, made outside of the clock."""
    if arrays[0].dtype == np.float64:
        raise PeerUnavailable("float64 is a setting of JAX's whole process: measured in float32")
    return jax.device_put(list(arrays), jax.devices("cpu")[0])


def _product(a: Any, b: Any) -> Any:
    return jax.numpy.matmul(a, b, precision="highest")


def _layer(x: Any, weight: Any) -> Any:
    return jax.nn.relu(_product(x, weight.T))


def _network(x: Any, weights: Sequence[Any]) -> Any:
    for weight in weights[:-1]:
        x = _layer(x, weight)
    return _product(x, weights[-1].T)
