"""homfast's calls and other libraries' on a CUDA device, each on operands that take turns.

A call that found its operands in the L2 cache, because the one before had left them there, would
not be what a program sees. So there are as many copies as fill the cache, and the next call takes
the next copy (`Machine.copies`). A maker has the methods of a peer (`homfast.bench.peers`).
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import homfast
from homfast.bench import ours
from homfast.bench.data import LayerData, NetworkData
from homfast.bench.device_machine import Machine
from homfast.bench.interleaved import Contender
from homfast.bench.peers import PeerUnavailable

NAMES = ("torch", "torch.cublaslt", "torch.compile", "cupy")
_ADVICE = "; install it for CUDA"


class Operands:
    """Copies of the operands of one comparison on the device, the same for all contenders."""

    def __init__(self, at: Machine):
        self.machine, self.count = at, 0
        self._data: Any = None
        self._sets: list[Any] = []

    def of(self, data: Any) -> list[Any]:
        """`data` as many times as its size asks for; those of the data before are let go."""
        if self._data is not data:
            self._data, self._sets = data, []
            weights = data.weights if isinstance(data, NetworkData) else [data.weight]
            self.count = self.machine.copies(data.x.nbytes + sum(w.nbytes for w in weights))
            self._sets = [type(data)(*map(self._there, data)) for _ in range(self.count)]
        return self._sets

    def forget(self) -> None:
        """Free them."""
        self._data, self._sets = None, []

    def _there(self, part: Any) -> Any:
        if isinstance(part, list):
            return [self.machine.upload(weight) for weight in part]
        return self.machine.upload(part)


def in_turns(name: str, function: Callable[..., Any], sets: Sequence[Any], **how: Any) -> Contender:
    """A contender whose calls take the `sets` of arguments one after the other."""
    turns = itertools.cycle(sets)
    return Contender(name, lambda: function(*next(turns)), **how)


class DeviceHomfast:
    """Our calls, on the operands of the device."""

    name, version = ours.name, homfast.__version__

    def __init__(self, operands: Operands, precision: str | None = None):
        self._operands, self._precision = operands, precision

    def layers_forward(self, data: LayerData) -> Contender:
        """``linear_relu``."""

        def forward(x: Any, weight: Any) -> Any:
            return homfast.linear_relu(x, weight, precision=self._precision)

        return in_turns(self.name, forward, [(s.x, s.weight) for s in self._operands.of(data)])

    def layers_backward(self, data: LayerData) -> Contender:
        """``linear_relu_backward``, both gradients, from the bit mask of the forward call."""

        def backward(grad_output: Any, x: Any, weight: Any, mask: Any) -> Any:
            return homfast.linear_relu_backward(
                grad_output, x, weight, mask, precision=self._precision
            )

        def mask_of(s: LayerData) -> Any:
            _, mask = homfast.linear_relu(
                s.x, s.weight, return_mask=True, precision=self._precision
            )
            return mask

        sets = self._operands.of(data)
        return in_turns(
            self.name, backward, [(s.grad_output, s.x, s.weight, mask_of(s)) for s in sets]
        )

    def networks_forward(self, data: NetworkData) -> Contender:
        """``net(x)``."""
        return in_turns(self.name, lambda net, s: net(s.x), self._networks(data))

    def networks_gradients(self, data: NetworkData) -> Contender:
        """``net.vjp(x)`` and the gradients of the input and of all weights."""

        def gradients(net: Any, s: NetworkData) -> Any:
            y, vjp = net.vjp(s.x)
            return y, vjp(s.grad_output)

        return in_turns(self.name, gradients, self._networks(data))

    def _networks(self, data: NetworkData) -> list[Any]:
        precision = self._precision or "highest"
        sets = self._operands.of(data)
        return [(homfast.ReLUNetwork(s.weights, precision=precision), s) for s in sets]


class _TorchPeer:
    """What the three ways of PyTorch share: the calls of `homfast.bench.torch_peers`."""

    name = "torch"

    def __init__(self, operands: Operands):
        self._operands = operands
        self._calls: Any = importlib.import_module("homfast.bench.torch_peers")
        self._torch = self._calls.torch
        self.version = self._torch.__version__
        if type(operands.machine.like).__module__.partition(".")[0] != "torch":
            raise PeerUnavailable("finds no CUDA device" + _ADVICE)

    def _contender(self, function: Callable[..., Any], sets: Sequence[Any]) -> Contender:
        return in_turns(self.name, function, sets, context=self._calls.inference_mode)


class _TorchLayers(_TorchPeer):
    """The operations, eager or compiled."""

    def _layer(self, x: Any, weight: Any) -> Any:
        return self._torch.relu_(self._calls.linear(x, weight))

    def layers_forward(self, data: LayerData) -> Contender:
        """``relu_(linear(x, weight))``."""
        return self._contender(self._layer, [(s.x, s.weight) for s in self._operands.of(data)])

    def layers_backward(self, data: LayerData) -> Contender:
        """ATen's ReLU backward, then two products."""
        return self._contender(self._calls.run_backward, self._operands.of(data))

    def networks_forward(self, data: NetworkData) -> Contender:
        """The layers one after the other."""
        sets = [(s.x, s.weights) for s in self._operands.of(data)]
        return self._contender(self._calls.run_network, sets)

    def networks_gradients(self, data: NetworkData) -> Contender:
        """Forward with kept layer inputs, then the products of the backward pass."""
        sets = [(s.x, s.grad_output, *s.weights) for s in self._operands.of(data)]
        return self._contender(self._calls.run_gradients, sets)


class TorchPeer(_TorchLayers):
    """Eager mode without autograd, TF32 off."""

    def stored_product(self, matrix: Any, adjoint: bool, sets: Sequence[Any]) -> Contender:
        """``mm`` of rows and a matrix, or its transpose, into what is there."""
        right = matrix if adjoint else matrix.t()
        return self._contender(lambda x, out: self._torch.mm(x, right, out=out), sets)


class CublasLtPeer(_TorchPeer):
    """cuBLASLt's product with its ReLU in the epilogue, through PyTorch; the bias it wants is 0."""

    name = "torch.cublaslt"

    def layers_forward(self, data: LayerData) -> Contender:
        """``_addmm_activation(0, x, weight^T)``."""
        return self._contender(self._layer, self._with_zeros(data))

    def networks_forward(self, data: NetworkData) -> Contender:
        """The layers one after the other."""

        def forward(s: NetworkData, zeros: list[Any]) -> Any:
            x = s.x
            for weight, zero in zip(s.weights[:-1], zeros, strict=True):
                x = self._layer(x, weight, zero)
            return self._calls.linear(x, s.weights[-1])

        sets = self._operands.of(data)
        zeros = [self._zero(weight) for weight in sets[0].weights[:-1]]
        return self._contender(forward, [(s, zeros) for s in sets])

    def _layer(self, x: Any, weight: Any, zero: Any) -> Any:
        return self._torch._addmm_activation(zero, x, weight.t())

    def _zero(self, weight: Any) -> Any:
        return weight.new_zeros(weight.shape[0])

    def _with_zeros(self, data: LayerData) -> list[Any]:
        return [(s.x, s.weight, self._zero(s.weight)) for s in self._operands.of(data)]


class TorchCompilePeer(_TorchLayers):
    """``torch.compile`` with its default backend, compiled once for the one shape."""

    name = "torch.compile"

    def networks_forward(self, data: NetworkData) -> Contender:
        """The compiled network."""
        sets = [(s.x, *s.weights) for s in self._operands.of(data)]
        return self._contender(lambda x, *weights: self._calls.run_network(x, weights), sets)

    def _layer(self, x: Any, weight: Any) -> Any:
        return self._torch.relu(self._calls.linear(x, weight))

    def _contender(self, function: Callable[..., Any], sets: Sequence[Any]) -> Contender:
        contender = super()._contender(self._calls.compile_function(function), sets)
        self._calls.attempt(contender.result)
        return contender


class CupyPeer:
    """cuBLAS through CuPy, in the memory of the operands."""

    name = "cupy"

    def __init__(self, operands: Operands):
        self._operands = operands
        self._cupy: Any = importlib.import_module("cupy")
        self.version = self._cupy.__version__
        if not self._cupy.is_available():
            raise PeerUnavailable("finds no CUDA device" + _ADVICE)

    def there(self, array: Any) -> Any:
        """An operand as CuPy's array."""
        return array if isinstance(array, self._cupy.ndarray) else self._cupy.from_dlpack(array)

    def layers_forward(self, data: LayerData) -> Contender:
        """Product, then ReLU in place."""

        def forward(x: Any, weight: Any) -> Any:
            y = x @ weight.T
            return self._cupy.maximum(y, 0, out=y)

        return self._contender(forward, data, lambda s: (s.x, s.weight))

    def layers_backward(self, data: LayerData) -> Contender:
        """Mask by multiplication, two products."""

        def backward(x: Any, weight: Any, grad_output: Any, y: Any) -> Any:
            grad = grad_output * (y > 0)
            return grad @ weight, grad.T @ x

        return self._contender(backward, data, lambda s: s)

    def networks_forward(self, data: NetworkData) -> Contender:
        """The layers one after the other."""

        def forward(x: Any, *weights: Any) -> Any:
            for weight in weights[:-1]:
                x = x @ weight.T
                self._cupy.maximum(x, 0, out=x)
            return x @ weights[-1].T

        return self._contender(forward, data, lambda s: (s.x, *s.weights))

    def stored_product(self, matrix: Any, adjoint: bool, sets: Sequence[Any]) -> Contender:
        """``matmul`` of rows and a matrix, or its transpose, into what is there."""
        right = self.there(matrix) if adjoint else self.there(matrix).T
        return self._in_turns(lambda x, out: self._cupy.matmul(x, right, out=out), sets)

    def _contender(
        self, function: Callable[..., Any], data: Any, chosen: Callable[[Any], Sequence[Any]]
    ) -> Contender:
        return self._in_turns(function, [chosen(s) for s in self._operands.of(data)])

    def _in_turns(self, function: Callable[..., Any], sets: Sequence[Any]) -> Contender:
        with _unavailable("CuPy cannot compute this here"):
            there = [tuple(map(self.there, s)) for s in sets]
            contender = in_turns(self.name, function, there)
            contender.result()
        return contender


_PEERS: dict[str, Any] = {
    "torch": TorchPeer,
    "torch.cublaslt": CublasLtPeer,
    "torch.compile": TorchCompilePeer,
    "cupy": CupyPeer,
}


def load_all(names: Sequence[str], operands: Operands) -> tuple[list[Any], dict[str, str]]:
    """The peers that can take part, and by name why the others cannot; ValueError for a name."""
    present, absent = [], {}
    for name in names:
        if name not in _PEERS:
            raise ValueError(f"peers: got {name!r}, wanted some of {', '.join(NAMES)}")
        try:
            present.append(_PEERS[name](operands))
        except PeerUnavailable as reason:
            absent[name] = str(reason)
        except ImportError as error:
            absent[name] = f"cannot be imported ({error})"
    return present, absent


@contextlib.contextmanager
def _unavailable(what: str) -> Any:
    """Errors of another library, which are of its own kinds, as `PeerUnavailable`."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise PeerUnavailable(f"{what} ({reason})") from error
