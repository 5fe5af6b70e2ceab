"""Where the job computes: on the CPU, or through the same public functions on a CUDA device.

Networks train and reconstruct there, and blocks are measured there. Batches are drawn, measured and
scaled on the CPU, as a data loader does, and moved; statistics, and the classical estimator, which
is scikit-learn's, stay on the CPU.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

import homfast
from homfast import _backends, _places


class Cpu:
    """NumPy arrays, moved nowhere."""

    name = "cpu"

    def upload(self, array: np.ndarray) -> Any:
        """A host array there."""
        return array

    def download(self, array: Any) -> np.ndarray:
        """An array from there on the host."""
        return array

    def network(self, net: homfast.ReLUNetwork) -> homfast.ReLUNetwork:
        """A network of the host there."""
        return net

    def host_network(self, net: homfast.ReLUNetwork) -> homfast.ReLUNetwork:
        """A network from there on the host."""
        return net

    def estimator(self, net: homfast.ReLUNetwork) -> Callable[[np.ndarray], np.ndarray]:
        """A network of the host as a function of host rows, computed there."""
        return net


CPU = Cpu()


class Cuda(Cpu):
    """Arrays of the library of `like`, an array on the device."""

    name = "cuda"

    def __init__(self, like: Any):
        self._like = like
        self._place = _places.place_of(like)

    def upload(self, array: np.ndarray) -> Any:
        """A copy of a host array there."""
        return self._place.upload(np.ascontiguousarray(array), self._like)

    def download(self, array: Any) -> np.ndarray:
        """A copy of an array from there on the host."""
        return self._place.to_host(array)

    def network(self, net: homfast.ReLUNetwork) -> homfast.ReLUNetwork:
        return net.to(self._like)

    def host_network(self, net: homfast.ReLUNetwork) -> homfast.ReLUNetwork:
        return net.to(np.empty(0, np.float32))

    def estimator(self, net: homfast.ReLUNetwork) -> Callable[[np.ndarray], np.ndarray]:
        there = self.network(net)
        return lambda rows: self.download(there(self.upload(rows)))


def find(name: str) -> Cpu:
    """The device called `name`.

    Raises
    ------
    RuntimeError
        It cannot be had; the message has the reason of each backend, and what to do.
    """
    return CPU if name == "cpu" else Cuda(array_of_cuda())


def why_not_cuda() -> str:
    """Why no backend computes on a CUDA device here; empty if one does."""
    reasons = {name: _backends.load(name).why_unavailable() for name in _backends.GPU_NAMES}
    if not all(reasons.values()):
        return ""
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


def array_of_cuda() -> Any:
    """An empty float32 array of a library that is installed and has a device."""
    reason = why_not_cuda()
    if reason:
        raise RuntimeError(f"device: 'cuda' cannot be had here ({reason}); use --device cpu")
    if not _backends.load("cuda").why_unavailable() and find_spec("torch"):
        torch = importlib.import_module("torch")
        if torch.cuda.is_available():
            return torch.empty(0, dtype=torch.float32, device="cuda")
    if find_spec("cupy"):
        cupy = importlib.import_module("cupy")
        if cupy.is_available():
            return cupy.empty(0, np.float32)
    raise RuntimeError(
        "device: no library makes arrays on the CUDA device here; pip install 'homfast[cupy]', or "
        "PyTorch with CUDA, or use --device cpu"
    )
