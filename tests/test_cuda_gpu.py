"""The same tests of the CUDA kernels on a card, with torch tensors: ``pytest -m gpu``.

What test_cuda_layers and test_cuda_operators ask of the emulated machine they ask here of the first
device. Memory lies between canaries. What only a card has is below: streams, graphs, CuPy.
"""

import numpy as np
import oracles
import pytest
import test_cuda_network
from test_cuda_layers import *  # noqa: F403
from test_cuda_operators import *  # noqa: F403

from homfast._backends import cuda

pytest_plugins = ()
pytestmark = pytest.mark.gpu

CANARY = 256  # bytes before and behind each block of memory
SIGNED = {"uint16": "int16", "uint32": "int32"}  # torch has few operations on the others


@pytest.fixture(scope="module")
def gpu_torch():
    reason = cuda.why_unavailable()
    if reason:
        pytest.skip(f"backend cuda: {reason}")
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA device")
    return torch


class Card:
    """Memory of a card, with the calls of cuda_device.Emulation that tests make."""

    def __init__(self, torch):
        self.torch, self.blocks = torch, []

        class OnCard(torch.Tensor):
            """A tensor that tells its NumPy dtype, and what it holds."""

            __module__ = "torch.test"

            @property
            def host(self):
                return self.numpy()

            def numpy(self):
                plain = self.as_subclass(torch.Tensor).cpu().numpy()
                return plain.view(getattr(self, "kind", plain.dtype))

        self.tensor = OnCard

    def empty(self, shape, dtype, device=0, row_stride=None):
        torch, kind = self.torch, np.dtype(dtype)
        shape = tuple(shape)
        step = row_stride if row_stride is not None else int(np.prod(shape[1:]))
        count = (shape[0] - 1) * step + int(np.prod(shape[1:])) if np.prod(shape) else 0
        size = count * kind.itemsize
        block = torch.full((size + 2 * CANARY,), 0xFF, dtype=torch.uint8, device=f"cuda:{device}")
        name = SIGNED.get(kind.name, kind.name)
        flat = block[CANARY : CANARY + size].view(getattr(torch, name))
        made = flat.view(shape) if row_stride is None else flat.as_strided(shape, (step, 1))
        made = made.as_subclass(self.tensor)
        made.kind = kind
        self.blocks.append((block, size))
        return made

    def array(self, host, device=0, row_stride=None):
        host = np.asarray(host)
        made = self.empty(host.shape, host.dtype, device, row_stride)
        signed = np.array(host).view(SIGNED.get(host.dtype.name, host.dtype.name))
        made.as_subclass(self.torch.Tensor).copy_(self.torch.from_numpy(signed))
        return made

    def order(self, seed):
        """Nothing: the card orders threads as it likes."""

    def check(self):
        self.torch.cuda.synchronize()
        for block, size in self.blocks:
            edges = self.torch.cat([block[:CANARY], block[CANARY + size :]])
            assert bool((edges == 0xFF).all()), f"written beside a block of {size} bytes"


@pytest.fixture
def emulation(gpu_torch):
    card = Card(gpu_torch)
    yield card
    card.check()


def test_large_layers_and_tails_of_tiles(emulation, rng):
    """More tiles than the card runs at a time, at the size where large tiles begin."""
    for rows, k, n in [(4097, 513, 1025), (1 << 17, 64, 64), (1, 4096, 4096)]:
        x = rng.standard_normal((rows, k)).astype(np.float32)
        weight = rng.standard_normal((n, k)).astype(np.float32)
        out = emulation.empty((rows, n), np.float32)
        cuda.linear(emulation.array(x), emulation.array(weight), out)
        some = rng.integers(0, rows, 64)
        value, bound = oracles.product(x[some], np.ascontiguousarray(weight.T), fused=False)
        oracles.assert_within(out.numpy()[some], value, bound, f"{rows} {k} {n}")


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_narrow_network_has_the_bits_of_one_call_a_layer(emulation, precision):
    widths = (64, 128, 64, 30, 10)
    one, by_layer, x = test_cuda_network.make(emulation, widths, 100_003, np.float32, precision)
    out, wanted = (emulation.empty((x.shape[0], 10), np.float32) for _ in range(2))
    assert cuda.network_forward(x, one.layers, one.slope, [], [], out), "too large for the card"
    by_layer.forward(x, [], [], wanted)
    oracles.assert_same_bits(out.numpy(), wanted.numpy(), precision)


def test_bits_do_not_depend_on_the_run_or_the_stream(emulation, rng, gpu_torch):
    torch = gpu_torch
    x, weight, grad = (
        emulation.array(rng.standard_normal(s).astype(np.float32))
        for s in ((3000, 300), (200, 300), (3000, 200))
    )

    def everything():
        out, across = (emulation.empty(s, np.float32) for s in ((3000, 200), (200, 300)))
        cuda.linear(x, weight, out)
        cuda.grad_weight(grad, x, None, 0.0, across)
        torch.cuda.synchronize()
        return out.numpy(), across.numpy()

    first = everything()
    for _ in range(5):
        with torch.cuda.stream(torch.cuda.Stream()):
            again = everything()
        for before, after in zip(first, again, strict=True):
            oracles.assert_same_bits(before, after, "repeat")


def test_graph_captures_a_layer(gpu_torch):
    torch = gpu_torch
    x, weight = torch.randn(500, 100, device="cuda"), torch.randn(70, 100, device="cuda")
    wanted, out = (torch.zeros(500, 70, device="cuda") for _ in range(2))
    mask = torch.zeros(500, 9, dtype=torch.uint8, device="cuda")
    cuda.linear_relu(x, weight, 0.0, wanted, mask)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        cuda.linear_relu(x, weight, 0.0, out, mask)
    out.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(out, wanted)


def test_current_device_and_stream_are_kept(gpu_torch):
    torch = gpu_torch
    device, stream = torch.cuda.current_device(), torch.cuda.current_stream()
    last = torch.cuda.device_count() - 1
    x = torch.ones(3, 4, device=f"cuda:{last}")
    out = torch.empty(3, 3, device=f"cuda:{last}")
    cuda.linear(x, x, out)
    assert torch.cuda.current_device() == device and torch.cuda.current_stream() == stream
    assert bool((out == 4).all())


def test_cupy_arrays(rng):
    if cuda.why_unavailable():
        pytest.skip(cuda.why_unavailable())
    cupy = pytest.importorskip("cupy")
    x, weight = (oracles.integers(rng, s, np.float32) for s in ((50, 90), (20, 90)))
    out, mask = cupy.empty((50, 20), np.float32), cupy.empty((50, 3), np.uint8)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        cuda.linear_relu(cupy.asarray(x), cupy.asarray(weight), 0.0, out, mask)
        stream.synchronize()
    oracles.assert_same_bits(cupy.asnumpy(out), np.maximum(x @ weight.T, 0), "cupy")
