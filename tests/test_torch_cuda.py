"""homfast.torch on tensors of a CUDA device that is not there, asked what the CPU's are asked.

CPU tensors say that they were CUDA's, and the kernels of `cuda` run on the host
(`device_libraries`): what the tests of PyTorch's machinery, modules and input hold must hold there
too. What follows are promises of a device alone. test_torch_gpu.py asks the same of a card.
"""

import itertools

import numpy as np
import pytest
import test_torch_modules
from operators import Generic
from test_torch_input import *  # noqa: F403
from test_torch_modules import *  # noqa: F403
from test_torch_ops import *  # noqa: F403

import homfast
from homfast import _backends, measure
from homfast._backends import cuda

torch = pytest.importorskip("torch")
from homfast.torch import (  # noqa: E402
    LinearReLU,
    ReLUNetwork,
    from_sequential,
    linear_relu,
    relu_network,
)

pytest_plugins = ("cuda_device",)

# Those of processes of their own, of tensors that are fakes, and too long for kernels on the host.
for _name in (
    "forked_workers", "import_homfast_does_not_import_torch", "without_torch",
    "cuda_without_a_backend", "other_devices", "fake_tensors_of_a_device",
    "autocast_of_a_device", "training_gives_the_same_losses", "freed_memory",
    "calls_leave_storage_resizable", "tensors_without_memory_are_not_read",
):  # fmt: skip
    del globals()[f"test_{_name}"]

SHAPES = [(9,), (0, 9), (1, 9), (20, 9), (2, 3, 9), (4, 6, 9)]
WIDTHS = (9, 20, 70, 5)


@pytest.fixture(autouse=True)
def machine(emulation, monkeypatch):
    """The emulated machine under all tensors."""
    from device_libraries import torch_as_cuda

    monkeypatch.setattr(_backends, "_automatic_on_gpu", None)
    torch_as_cuda(emulation, monkeypatch)
    return emulation


@pytest.fixture
def place():
    """Where tensors are."""
    return torch.device("cpu")


def integers(rng, place, shape, dtype=np.float32, most=2):
    """Small integers, whose sums are exact: on the host, and there."""
    host = rng.integers(-most, most + 1, shape).astype(dtype)
    return host, torch.tensor(host, device=place)


def same(tensor, wanted, what):
    """A plain tensor with those values, zeros with their signs."""
    assert type(tensor) is torch.Tensor and tensor.is_cuda, what
    found = tensor.detach().cpu().numpy()
    assert found.dtype == wanted.dtype and found.shape == wanted.shape, what
    np.testing.assert_array_equal(found, wanted, what)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted), what)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_results_are_those_of_the_cpu(place, rng, dtype, shape, slope):
    """Exact sums: the bits of homfast on NumPy arrays, forward, backward and along a tangent."""
    pairs = [integers(rng, place, s[::-1], dtype, 1) for s in itertools.pairwise(WIDTHS)]
    net = homfast.ReLUNetwork([w for w, _ in pairs], negative_slope=slope)
    module = ReLUNetwork(WIDTHS, negative_slope=slope, device=place)
    for layer, (_, weight) in zip(module[::2], pairs, strict=True):
        layer.weight = torch.nn.Parameter(weight)
    (x, there), (grad, grad_there) = (
        integers(rng, place, s, dtype) for s in (shape, (*shape[:-1], WIDTHS[-1]))
    )
    y, vjp = net.vjp(x)
    with torch.no_grad():
        same(module(there), y, "without derivatives")
    leaf = there.clone().requires_grad_()
    result = module(leaf)
    same(result, y, "forward")
    wanted_input, wanted_weights = vjp(grad)
    found = torch.autograd.grad(result, [leaf, *module.parameters()], grad_there)
    same(found[0], wanted_input, "grad_input")
    for one, other in zip(found[1:], wanted_weights, strict=True):
        same(one, other, "grad_weight")
    weights = [w for _, w in pairs]  # of those that require grad jvp knows more than one pass does
    y, dy = torch.func.jvp(lambda x: relu_network(x, weights, slope), (there,), (-there,))
    wanted, wanted_dy = net.jvp(x, -x)
    same(y, wanted, "jvp's y")
    same(dy, wanted_dy, "J v")


@pytest.mark.parametrize("shape", [(0, 9), (3, 9), (2, 2, 9)], ids=str)
def test_a_layer_has_the_bits_of_the_cpu(place, rng, dtype, shape):
    weight, weight_there = integers(rng, place, (17, 9), dtype)
    x, there = integers(rng, place, shape, dtype)
    grad, grad_there = integers(rng, place, (*shape[:-1], 17), dtype)
    y, mask = homfast.linear_relu(x, weight, negative_slope=0.5, return_mask=True)
    wanted = homfast.linear_relu_backward(grad, x, weight, mask, negative_slope=0.5)
    layer = LinearReLU(9, 17, negative_slope=0.5, device=place)
    layer.weight = torch.nn.Parameter(weight_there)
    leaf = there.clone().requires_grad_()
    same(layer(leaf), y, "forward")
    found = torch.autograd.grad(layer(leaf), [leaf, layer.weight], grad_there)
    for one, other in zip(found, wanted, strict=True):
        same(one, other, "backward")


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_precision(place, rng, precision):
    """Products of a layer within the bound of the contract, on the matrix unit's path."""
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in ((5, 200), (40, 200)))
    y = relu_network(*_there(place, x, [weight]), precision=precision).cpu().double().numpy()
    exact, sizes = x.astype(float) @ weight.T.astype(float), np.abs(x) @ np.abs(weight).T
    error = {"highest": 0, "high": 2.0**-15, "medium": 2.0**-7 + 2.0**-16}[precision]
    bound = (error + 200 * 2.0**-24 / (1 - 200 * 2.0**-24)) * sizes + 1e-30
    assert (np.abs(y - exact) <= bound).all()


def _there(place, x, weights):
    return torch.tensor(x, device=place), [torch.tensor(w, device=place) for w in weights]


def test_rows_do_not_know_their_batch(place, rng):
    """On a device for any number of rows, of layers too."""
    x, (first, last) = _there(
        place,
        rng.standard_normal((40, 70)).astype(np.float32),
        [rng.standard_normal(s).astype(np.float32) for s in ((90, 70), (4, 90))],
    )
    for call in (lambda x: relu_network(x, [first, last]), lambda x: linear_relu(x, first)):
        whole = call(x)
        for index in (0, 17, 39):
            assert torch.equal(call(x[index]), whole[index])
            assert torch.equal(call(x[index : index + 1]), whole[index : index + 1])


def test_a_step_of_training(place):
    """The same step as torch.nn's within rounding; autocast too."""
    for autocast in (False, True):
        losses = []
        torch.manual_seed(5)
        x, target = (torch.randn(24, n).to(place) for n in (16, 8))
        theirs = test_torch_modules.model((16, 32, 8)).to(place)
        for net in (theirs, from_sequential(theirs)):
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
            for _ in range(2):
                optimizer.zero_grad()
                with torch.autocast(place.type, dtype=torch.bfloat16, enabled=autocast):
                    loss = torch.nn.functional.mse_loss(net(x).float(), target)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
        close = {"rtol": 0.02, "atol": 0} if autocast else {}
        torch.testing.assert_close(losses[2:], losses[:2], **close)


class Weight(torch.nn.Parameter):
    """A parameter of somebody's own."""

    __module__ = "elsewhere"


@pytest.mark.parametrize("count", [1, 20])
def test_tensors_of_a_class_of_ones_own(place, count):
    parameters = [Weight(torch.ones(n, k, device=place)) for k, n in ((3, 4), (4, 2))]
    x = Weight(torch.ones(count, 3, device=place))
    y = relu_network(x, parameters)
    assert bool((y == 12).all())
    assert bool((torch.autograd.grad(y.sum(), x)[0] == 8).all())
    assert bool((linear_relu(x, parameters[0]) == 3).all())


# Operators ---------------------------------------------------------------------------------------

OPERATORS = {
    "dense": lambda place: measure.Dense(torch.eye(4, 8, dtype=torch.float64, device=place)),
    "gaussian": lambda place: measure.Gaussian(4, 8, seed=1, dtype="float64"),
    "rademacher": lambda place: measure.Rademacher(4, 8, seed=1, dtype="float64"),
    "hadamard": lambda place: measure.Hadamard(4, 8, seed=1, dtype="float64"),
    "sparse": lambda place: measure.SparseSign(4, 8, seed=1, nonzeros_per_column=2, dtype=float),
    "circulant": lambda place: measure.Circulant(4, 8, seed=1, dtype="float64"),
    "cosine": lambda place: measure.Cosine(4, 8, seed=1, dtype="float64"),
    "entries": lambda place: measure.Entries(np.array([1, 5, 1, 7]), (2, 4), dtype="float64"),
    "rank one": lambda place: measure.RankOne(4, (2, 4), seed=1, dtype="float64"),
    "composed": lambda place: (
        0.5 * measure.Gaussian(4, 8, dtype=float) @ measure.Hadamard(8, 8, dtype=float)
    ),
}


@pytest.mark.parametrize("family", list(OPERATORS))
def test_operators_differentiate_both_ways(place, family):
    module = OPERATORS[family](place).to_torch()
    x, y = (rows(3, n).to(place).requires_grad_() for n in (8, 4))  # noqa: F405
    result = module(x)
    assert result.is_cuda and result.device == x.device
    for product, argument in ((module, x), (module.adjoint, y)):
        assert torch.autograd.gradcheck(product, argument, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: module(x).square(), x)
    batched = torch.func.vmap(module, in_dims=1)(x.detach().T)
    torch.testing.assert_close(batched, result.detach())
    torch.testing.assert_close(torch.func.jacrev(module)(x[0].detach()), module_matrix(module, x))


def module_matrix(module, like):
    """The matrix by its columns."""
    identity = torch.eye(like.shape[1], dtype=like.dtype, device=like.device)
    return module(identity).T.contiguous()


def test_an_operator_before_a_network(place, rng):
    """Measured and reconstructed on the device, with the gradient of the CPU."""
    op = measure.Hadamard(4, 8, seed=1)
    pairs = [integers(rng, place, s) for s in ((6, 4), (8, 6))]
    x, there = integers(rng, place, (5, 8))
    module, leaf = op.to_torch(), there.clone().requires_grad_()
    y = relu_network(module(leaf), [w for _, w in pairs])
    (grad,) = torch.autograd.grad(y, leaf, there)
    _, vjp = homfast.ReLUNetwork([w for w, _ in pairs]).vjp(op(x))
    torch.testing.assert_close(grad.cpu(), torch.from_numpy(op.adjoint(vjp(x)[0])))


def test_operators_without_products_there_say_so(place):
    module = Generic(np.ones((4, 8), np.float32)).to_torch()
    with pytest.raises(TypeError, match=r"^x: .*on GPU 0 for a Generic of float32.*move the arr"):
        module(torch.ones(2, 8, device=place, requires_grad=True))
    with pytest.raises(TypeError, match=r"^x: got torch.float32, wanted torch.float64, the dtype"):
        measure.Gaussian(4, 8, dtype=float).to_torch()(torch.ones(2, 8, device=place))


# Streams, memory, refusals -----------------------------------------------------------------------


def calls(place):
    """What is launched, by name."""
    net = ReLUNetwork((8, 9, 4), device=place)
    x = torch.ones(20, 8, device=place, requires_grad=True)
    y, weights, v = net(x), [w.detach() for w in net.weights], x.detach()
    operator = measure.Gaussian(3, 8).to_torch()
    return {
        "forward": lambda: net(x),
        "few rows": lambda: torch.no_grad()(net)(x[:1]),
        "layer": lambda: linear_relu(x, net[0].weight),
        "backward": lambda: torch.autograd.grad(y.sum(), x, retain_graph=True),
        "tangent": lambda: torch.func.jvp(lambda v: relu_network(v, weights), (v,), (v,)),
        "bfloat16": lambda: relu_network(x.bfloat16(), [w.bfloat16() for w in weights]),
        "operator": lambda: operator.adjoint(operator(x)),
    }


def test_runs_on_the_current_stream(place, machine):
    """On every path: nothing is launched on another, and nothing waits."""
    for name, call in calls(place).items():
        machine.waits(), machine.launches()
        call()
        assert machine.launches() and machine.last_stream() == 64, name
        assert not machine.waits(), name


@pytest.mark.parametrize("change", ["driver", "extension"])
def test_a_machine_that_lacks_something(place, machine, monkeypatch, change):
    x, weight = torch.ones(3, 4, device=place), torch.ones(2, 4, device=place)
    with monkeypatch.context() as patch:
        if change == "driver":
            machine.machine(2, 0)
            why = "no NVIDIA driver"
        else:
            patch.setattr(cuda, "_cuda", None)
            patch.setattr(cuda, "_missing", "the extension homfast._cuda is not installed (gone)")
            why = "the extension homfast"
        for given in (x, x.clone().requires_grad_()):
            with pytest.raises(TypeError, match=rf"^x: got a tensor on .* \(cuda: {why}.*x\.cpu"):
                relu_network(given, [weight])
    machine.machine(2, 13000)
    assert bool((relu_network(x, [weight]) == 4).all()), "the next call"


def test_out_of_memory_is_named(place, monkeypatch):
    """In forward and in backward, which autograd calls; and the next call works."""
    net = ReLUNetwork((8, 9, 4), device=place)
    x = torch.ones(20, 8, device=place, requires_grad=True)
    y, empty = net(x), torch.empty

    def full(shape, *arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    wanted = r"^an array of shape \(.*\) needs .* GiB on GPU 0, .*Tried to allocate.*fewer rows"
    monkeypatch.setattr(torch, "empty", full)
    for call in (lambda: net(x), lambda: net(x.detach()), lambda: linear_relu(x, net[0].weight)):
        with pytest.raises(MemoryError, match=wanted):
            call()
    with pytest.raises(MemoryError, match=wanted):
        torch.autograd.grad(y.sum(), x, retain_graph=True)
    monkeypatch.setattr(torch, "empty", empty)
    wanted, expected = torch.autograd.grad(y.sum(), x)[0], torch.autograd.grad(net(x).sum(), x)[0]
    assert torch.equal(wanted, expected)


def test_a_launch_that_fails(place, machine):
    x, weight = torch.ones(3, 4, device=place), torch.ones(2, 4, device=place)
    machine.refuse(1)
    with pytest.raises(RuntimeError, match="cudaErrorEmulated"):
        linear_relu(x, weight)
    machine.refuse(0)
    assert bool((linear_relu(x, weight) == 4).all()), "the next call"
