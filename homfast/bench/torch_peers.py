"""PyTorch's calls as contenders: eager in functional form, autograd, compiled, and its Adam."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from homfast.bench.arithmetic import is_bfloat16
from homfast.bench.data import LayerData, NetworkData
from homfast.bench.interleaved import Contender
from homfast.bench.peers import PeerUnavailable

torch: Any = importlib.import_module("torch")
linear = torch.nn.functional.linear


class TorchPeer:
    """Eager mode without autograd: the products and masks that it would run, called directly."""

    name = "torch"
    version = torch.__version__

    def layers_forward(self, data: LayerData) -> Contender:
        """``relu_(linear(x, weight))``."""
        x, weight = _tensors((data.x, data.weight))
        return Contender(self.name, lambda: torch.relu_(linear(x, weight)), context=inference_mode)

    def layers_backward(self, data: LayerData) -> Contender:
        """ATen's ReLU backward, then two products."""
        operands = _tensors(data)
        return Contender(self.name, lambda: run_backward(*operands), context=inference_mode)

    def networks_forward(self, data: NetworkData) -> Contender:
        """The layers one after the other."""
        x, *weights = _tensors((data.x, *data.weights))
        return Contender(self.name, lambda: run_network(x, weights), context=inference_mode)

    def networks_gradients(self, data: NetworkData) -> Contender:
        """Forward with kept layer inputs, then the products of the backward pass."""
        operands = _tensors((data.x, data.grad_output, *data.weights))
        return Contender(self.name, lambda: run_gradients(*operands), context=inference_mode)


class TorchAutogradPeer:
    """Eager mode with autograd."""

    name = "torch.autograd"
    version = torch.__version__

    def layers_backward(self, data: LayerData) -> Contender:
        """``autograd.grad`` through a graph that is built once, outside of the clock."""
        x, weight, grad_output = _tensors((data.x, data.weight, data.grad_output))
        leaves = (x.requires_grad_(), weight.requires_grad_())
        y = torch.relu_(linear(*leaves))
        grad = torch.autograd.grad
        return Contender(
            self.name,
            lambda: grad(y, leaves, grad_output, retain_graph=True),
            context=_highest_precision,
        )

    def networks_gradients(self, data: NetworkData) -> Contender:
        """Forward and ``autograd.grad``."""
        x, grad_output, *weights = _tensors((data.x, data.grad_output, *data.weights))
        leaves = [x.requires_grad_(), *(w.requires_grad_() for w in weights)]

        def gradients():
            y = run_network(leaves[0], leaves[1:])
            return y, torch.autograd.grad(y, leaves, grad_output)

        return Contender(self.name, gradients, context=_highest_precision)


class TorchCompilePeer:
    """``torch.compile`` with its default backend, compiled for the one shape."""

    name = "torch.compile"
    version = torch.__version__

    def layers_forward(self, data: LayerData) -> Contender:
        """The compiled layer."""
        x, weight = _tensors((data.x, data.weight))
        return self._contender(lambda x, weight: torch.relu(linear(x, weight)), x, weight)

    def layers_backward(self, data: LayerData) -> Contender:
        """What `TorchPeer` calls, compiled: autograd's graph would have more to do."""
        return self._contender(run_backward, *_tensors(data))

    def networks_forward(self, data: NetworkData) -> Contender:
        """The compiled network."""
        x, *weights = _tensors((data.x, *data.weights))
        return self._contender(lambda x, *weights: run_network(x, weights), x, *weights)

    def networks_gradients(self, data: NetworkData) -> Contender:
        """What `TorchPeer` calls, compiled."""
        return self._contender(run_gradients, *_tensors((data.x, data.grad_output, *data.weights)))

    def training_step(self, data: NetworkData, learning_rate: float) -> Contender:
        """Loss and gradients compiled, then ``Adam(fused=True)``, one kernel already."""
        loss = compile_function(_loss)
        attempt(_training(self.name, data, learning_rate, loss, fused=True).result)
        return _training(self.name, data, learning_rate, loss, fused=True)  # at its first step

    def _contender(self, function: Callable[..., Any], *operands: Any) -> Contender:
        compiled = compile_function(function)
        contender = Contender(self.name, lambda: compiled(*operands), context=inference_mode)
        attempt(contender.result)
        return contender


class TorchFusedAdamPeer:
    """A training step in eager mode with ``Adam(fused=True)``."""

    name = "torch.fused"
    version = torch.__version__
    options: dict[str, bool] = {"fused": True}  # noqa: RUF012

    def training_step(self, data: NetworkData, learning_rate: float) -> Contender:
        """Forward, mean squared error, backward, Adam; a call also reads the loss."""
        return _training(self.name, data, learning_rate, _loss, **self.options)


class TorchForeachAdamPeer(TorchFusedAdamPeer):
    """A training step in eager mode with ``Adam(foreach=True)``."""

    name = "torch.foreach"
    options = {"foreach": True}  # noqa: RUF012


def _tensors(arrays: Sequence[Any]) -> list[Any]:
    """Tensors that share the arrays' memory."""
    if is_bfloat16(arrays[0].dtype):  # which torch knows and its bridge to NumPy does not
        return [torch.from_numpy(array.view(np.int16)).view(torch.bfloat16) for array in arrays]
    return [torch.from_numpy(array) for array in arrays]


def run_network(x: Any, weights: Sequence[Any]) -> Any:
    """The layers one after the other, the last without a ReLU."""
    for weight in weights[:-1]:
        x = torch.relu_(linear(x, weight))
    return linear(x, weights[-1])


def run_backward(x: Any, weight: Any, grad_output: Any, y: Any) -> Any:
    """Both gradients of a layer from its result."""
    grad = torch.ops.aten.threshold_backward.default(grad_output, y, 0)
    return grad @ weight, grad.t() @ x


def run_gradients(x: Any, grad_output: Any, *weights: Any) -> Any:
    """Output and gradients of a network, without autograd."""
    relu_backward = torch.ops.aten.threshold_backward.default
    inputs = [x]
    for weight in weights[:-1]:
        inputs.append(torch.relu_(linear(inputs[-1], weight)))
    y = linear(inputs[-1], weights[-1])
    grad, grad_weights = grad_output, []
    for layer in reversed(range(len(weights))):
        if layer < len(weights) - 1:
            grad = relu_backward(grad, inputs[layer + 1], 0)
        grad_weights.append(grad.t() @ inputs[layer])
        grad = grad @ weights[layer]
    return y, grad, grad_weights[::-1]


def _loss(x: Any, target: Any, *weights: Any) -> Any:
    return torch.nn.functional.mse_loss(run_network(x, weights), target)


def _training(
    name: str, data: NetworkData, learning_rate: float, loss_of: Callable[..., Any], **options: bool
) -> Contender:
    """Steps of Adam with `options` on a network of its own; `loss_of` is `_loss` or its like."""
    x, target, *weights = _tensors((data.x, data.grad_output, *data.weights))
    weights = [w.clone().requires_grad_() for w in weights]
    optimizer = torch.optim.Adam(weights, lr=learning_rate, **options)

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(x, target, *weights)
        loss.backward()
        optimizer.step()
        return loss

    def run(count: int) -> None:
        for _ in range(count):
            step()

    return Contender(name, lambda: step().item(), run=run, context=_highest_precision)


def compile_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """``torch.compile`` for one shape."""
    # Graphs of other shapes are forgotten: beyond a few, dynamo goes back to eager in silence.
    torch.compiler.reset()
    compiled: Callable[..., Any] = torch.compile(function, fullgraph=True, dynamic=False)
    return compiled


def attempt(call: Callable[[], Any]) -> None:
    """The first call, which compiles; PeerUnavailable says why it cannot."""
    try:
        call()
    except Exception as error:  # no compiler, no headers, a broken cache: inductor's own kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise PeerUnavailable(f"torch.compile cannot compile here ({reason})") from error


@contextlib.contextmanager
def _highest_precision() -> Iterator[None]:
    """What homfast computes by default, so that products mean the same on both sides."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def inference_mode() -> Iterator[None]:
    """Nothing recorded, products in full precision."""
    with _highest_precision(), torch.inference_mode():
        yield
