"""Tensors that are not plain: the right result, or an error that names what is wrong."""

import copy

import numpy as np
import pytest
from processes import output

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import homfast  # noqa: E402
from homfast import _backends  # noqa: E402
from homfast._backends import cuda  # noqa: E402
from homfast.torch import (  # noqa: E402
    LinearReLU,
    ReLUNetwork,
    checks,
    from_sequential,
    linear_relu,
    places,
    relu_network,
    replace,
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(20240823)


@pytest.fixture
def net():
    return ReLUNetwork([6, 40, 40, 3], dtype=torch.float64)


def replaced(model):
    replace(model)
    return model


def eager(net, x):
    return nn.Sequential.forward(net, x)


def assert_as_eager(net, x):
    results = []
    for call in (eager, lambda net, x: net(x)):
        leaf = x.detach().requires_grad_()
        y = call(net, leaf)
        results.append([y, *torch.autograd.grad(y.square().sum(), [leaf, *net.parameters()])])
    for wanted, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, wanted)
    with torch.no_grad():
        torch.testing.assert_close(net(x), eager(net, x))


@pytest.mark.parametrize("count", [1, 3, 20])
def test_layouts(net, count):
    generator = torch.Generator(torch.get_default_device()).manual_seed(1)
    x = torch.randn(2 * count, 12, dtype=torch.float64, generator=generator)
    assert_as_eager(net, x[::2, ::2])
    assert_as_eager(net, x[::2, 6:])
    assert_as_eager(net, torch.randn(6, count, dtype=torch.float64, generator=generator).T)
    assert_as_eager(net, x[:1, :6].expand(count, 6))
    assert_as_eager(net, x[:, :1].expand(2 * count, 6))
    assert_as_eager(net, x.reshape(2, count, 12)[..., 3:9])
    assert_as_eager(net, x[0, :6])
    assert_as_eager(net, torch.complex(x, x).conj().imag[:, :6])
    assert_as_eager(net, x[:0, :6])


def test_gradients_of_every_layout(net):
    x = torch.randn(20, 6, dtype=torch.float64, requires_grad=True)
    y = net(x)
    for grad in (
        torch.ones(1, dtype=y.dtype).expand_as(y),
        torch.randn(3, 20, dtype=y.dtype).T,
        torch.randn(20, 6, dtype=y.dtype)[:, ::2],
    ):
        ours = torch.autograd.grad(net(x), [x, *net.parameters()], grad)
        wanted = torch.autograd.grad(eager(net, x), [x, *net.parameters()], grad)
        for one, other in zip(ours, wanted, strict=True):
            torch.testing.assert_close(one, other)


def test_weights_of_every_layout():
    x = torch.randn(20, 6)
    weights = [torch.randn(6, 8).T, torch.randn(8, 16)[:, ::2], torch.randn(1, 8).expand(3, 8)]
    wanted = torch.relu(torch.relu(x @ weights[0].T) @ weights[1].T) @ weights[2].T
    for count in (1, 20):
        torch.testing.assert_close(relu_network(x[:count], weights), wanted[:count])


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_calls_leave_storage_resizable(net, count, grad):
    """FSDP frees the memory of weights between calls, and makes it anew."""
    x = torch.randn(count, 6, dtype=torch.float64)
    with torch.set_grad_enabled(grad):
        y = net(x)
    if grad:
        y.sum().backward()
    copies = [w.detach().clone() for w in net.parameters()]
    for weight in net.parameters():
        storage = weight.untyped_storage()
        size = storage.nbytes()
        storage.resize_(0)
        storage.resize_(size)
    with torch.set_grad_enabled(grad):
        for weight, values in zip(net.parameters(), copies, strict=True):
            weight.data.copy_(values)
        torch.testing.assert_close(net(x), y)
    x.resize_(2 * count, 6)
    half = [torch.ones(s, dtype=torch.bfloat16) for s in ((count, 6), (3, 6))]
    relu_network(half[0], half[1:])
    homfast.linear(*half)
    for tensor in half:
        tensor.untyped_storage().resize_(0)


@pytest.mark.parametrize("count", [1, 20])
def test_freed_memory(net, count):
    x = torch.randn(count, 6, dtype=torch.float64)
    with torch.no_grad():
        net(x)
        net[2].weight.untyped_storage().resize_(0)
        with pytest.raises(ValueError, match=r"of shape \(40, 40\) whose memory was freed"):
            net(x)
        x.untyped_storage().resize_(0)
        with pytest.raises(ValueError, match=r"of shape \(\d+, 6\) whose memory was freed"):
            linear_relu(x, net[0].weight)


def test_tensors_without_memory_are_not_read():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.ones(3, 4)
    with pytest.raises(TypeError, match="got a FakeTensor, which has no memory of its own"):
        places.numpy_of(fake)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("count", [1, 20])
def test_lazily_negated_weights(count, grad):
    values = torch.randn(9, 6, dtype=torch.cdouble)
    plain = nn.Sequential(nn.Linear(6, 9, bias=False), nn.ReLU(), nn.Linear(9, 4, bias=False))
    plain.double()[0].weight = nn.Parameter(values.conj().imag)
    assert plain[0].weight.is_neg()
    net = replaced(plain)
    with torch.set_grad_enabled(grad):
        for _ in range(2):
            x = torch.randn(count, 6, dtype=torch.float64)
            torch.testing.assert_close(net(x), eager(net, x))
            with torch.no_grad():
                net[0].weight.mul_(2)
        for view in (values.imag, values.conj().imag):  # the same memory, shape and strides
            net[0].weight.data = view
            torch.testing.assert_close(net(x), eager(net, x))


@pytest.mark.parametrize("grad", [False, True])
def test_what_is_no_plain_tensor_is_named(grad):
    net, x = ReLUNetwork([6, 4, 3]), torch.ones(2, 6)
    weights = [w.detach().requires_grad_(grad) for w in net.parameters()]
    nested = [
        torch.nested.nested_tensor([x, x[:1]], layout=layout)
        for layout in (torch.jagged, torch.strided)
    ]
    cases = [(None, "NoneType"), ([[1.0] * 6], "list"), (np.ones((2, 6)), "numpy.ndarray")]
    cases += [(value, "a nested tensor") for value in nested]
    with torch.set_grad_enabled(grad):
        for bad, kind in cases:
            for call in (net, lambda x: relu_network(x, weights)):
                with pytest.raises(TypeError, match=f"^x: got {kind}, wanted a "):
                    call(bad)
            with pytest.raises(TypeError, match=f"^weight: got {kind}, wanted a "):
                linear_relu(x, bad)
            with pytest.raises(TypeError, match=rf"^weights\[1\]: got {kind}, wanted a "):
                relu_network(x, [weights[0], bad])


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("grad", [False, True])
def test_errors_name_the_argument(count, grad):
    w = [torch.ones(4, 6), torch.ones(3, 4)]
    x = torch.ones(count, 6)
    cases = [
        ((x.int(), w), TypeError, r"weights\[0\]: got torch.float32 beside x of torch.int32"),
        ((x.int(), [w[0].int()]), TypeError, "x: got torch.int32, wanted torch.float32"),
        ((x.half(), [v.half() for v in w]), TypeError, "x: got torch.float16"),
        ((x.cfloat(), [v.cfloat() for v in w]), TypeError, "x: got torch.complex64"),
        ((x.double(), w), TypeError, r"weights\[0\]: got torch.float32 beside x of torch.float64"),
        ((x, [w[0], w[1].double()]), TypeError, r"weights\[1\]: got torch.float64"),
        ((x[:, :5], w), ValueError, r"x: got shape \(\d+, 5\), wanted \(\.\.\., 6\)"),
        ((torch.tensor(1.0), w), ValueError, r"x: got shape \(\)"),
        ((x, [w[0], torch.ones(3, 5)]), ValueError, r"weights\[1\]: got shape \(3, 5\)"),
        ((x, [w[0][0]]), ValueError, r"weights\[0\]: got shape \(6,\)"),
        ((x, []), ValueError, "weights: got an empty list"),
        ((x.to_sparse(), w), TypeError, "x: got a tensor of layout torch.sparse_coo.*to_dense"),
        ((x, [w[0], w[1].to("meta")]), TypeError, rf"weights\[1\]: is on meta and x on {x.device}"),
        ((x.to("meta"), w), TypeError, rf"weights\[0\]: is on {x.device} and x on meta"),
    ]
    for (bad, weights), error, message in cases:
        if grad and weights and weights[0].is_floating_point():
            weights = [weights[0].clone().requires_grad_(), *weights[1:]]
        with pytest.raises(error, match=f"^{message}"):
            relu_network(bad, weights)
    with pytest.raises(ValueError, match="precision: got 'low'"):
        relu_network(torch.ones(20, 6), w, precision="low")


def test_integers_cannot_require_gradients(net):
    with pytest.raises(RuntimeError, match="floating point"):
        torch.ones(3, 6, dtype=torch.int64).requires_grad_()
    with pytest.raises(TypeError, match="int64"):
        net(torch.ones(3, 6, dtype=torch.int64))


def test_bad_tensors_in_modules(net):
    """Few rows go past the dispatcher: not these."""
    with torch.no_grad():
        for bad in (torch.ones(1, 5).double(), torch.ones(1, 6), torch.ones(1, 6).half()):
            with pytest.raises((TypeError, ValueError), match=r"^(x|weights\[0\]): got"):
                net(bad)
        with pytest.raises(TypeError, match="layout"):
            net(torch.ones(1, 6).double().to_sparse())
        assert net.to("meta")(torch.ones(1, 6, device="meta", dtype=torch.float64)).is_meta


def test_a_model_elsewhere(net):
    """Few rows go past the dispatcher: not where the weights are in no memory of the CPU."""
    for count in (1, 20):
        x = torch.ones(count, 6, dtype=torch.float64)
        with torch.no_grad():
            net.to(x.device)(x)
            with pytest.raises(TypeError, match=rf"^weights\[0\]: is on meta and x on {x.device}"):
                copy.deepcopy(net).to("meta")(x)


def test_cuda_without_a_backend(monkeypatch):
    """A fake tensor stands for one on a device that this machine may not have."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    monkeypatch.setattr(cuda, "_cuda", None)
    monkeypatch.setattr(cuda, "_missing", "the extension homfast._cuda is not installed (gone)")
    monkeypatch.setattr(_backends, "_automatic_on_gpu", None)
    with FakeTensorMode():
        x = torch.empty(2, 6, device="cuda")
    with pytest.raises(TypeError, match=r"^x: got a tensor on cuda:0, .* \(cuda: the ext.*x\.cpu"):
        checks.check_device(x)


def test_other_devices():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        x = torch.empty(2, 6, device="xpu")
    with pytest.raises(TypeError, match=r"^x: got a tensor on xpu:0, .*the CPU and for CUDA"):
        checks.check_device(x)


def test_fake_tensors_of_a_device():
    """What compilers see of CUDA's: results are there, and two places are refused by name."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    ops = torch.ops.homfast
    with FakeTensorMode(), torch.no_grad():
        x, *weights = (torch.empty(s, device="cuda") for s in ((4, 5), (7, 5), (3, 7)))
        y, hidden, masks = ops.relu_network_keep(x, weights, 0.0, False, "highest")
        kept = (weights, hidden, masks, 0.0, "highest")
        found = [relu_network(x, weights), y, *hidden, *masks]
        found += ops.relu_network_backward(y, x, *kept, True, True)
        found.append(ops.relu_network_tangent(x, weights, masks, 0.0, "highest"))
        assert {str(t.device) for t in found} == {"cuda:0"}
        for other in ("cpu", "cuda:1"):
            wanted = rf"^weights\[0\]: is on cuda:0 and x on {other}; move .*model\.to\('{other}'\)"
            with pytest.raises(TypeError, match=wanted):
                relu_network(x.to(other), weights)
            with pytest.raises(TypeError, match=rf"^weights\[1\]: is on {other} and x on cuda:0"):
                relu_network(x, [weights[0], weights[1].to(other)])


def test_autocast_of_a_device(monkeypatch):
    """As on the CPU: to bfloat16, not to float16, which is what CUDA's has unless told."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    with FakeTensorMode(), torch.no_grad():
        x, weight = torch.empty(4, 5, device="cuda"), torch.empty(3, 5, device="cuda")
        with torch.autocast("cuda", dtype=torch.bfloat16):
            assert relu_network(x, [weight]).dtype == torch.bfloat16
            assert relu_network(x.double(), [weight.double()]).dtype == torch.float64
        with (
            torch.autocast("cuda"),
            pytest.raises(TypeError, match=r"float16.*'cuda', dtype=torch.bf"),
        ):
            relu_network(x, [weight])


@pytest.mark.parametrize("count", [1, 20])
def test_inference_tensors(net, count):
    x = torch.randn(count, 6, dtype=torch.float64)
    with torch.inference_mode():
        inference = x.clone()
        y = net(inference)
        assert y.is_inference()
        torch.testing.assert_close(y, eager(net, inference))
        made = ReLUNetwork([6, 40, 3], dtype=torch.float64)  # its parameters are inference tensors
        torch.testing.assert_close(made(inference), eager(made, inference))
    with torch.no_grad():
        torch.testing.assert_close(net(inference), eager(net, x))
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        net(inference)  # as torch.nn.Linear says
    torch.testing.assert_close(net(inference.clone()), eager(net, x))


def test_weights_changed_before_backward(net):
    """Autograd's own error, not a gradient of other weights."""
    y = net(torch.randn(3, 6, dtype=torch.float64))
    with torch.no_grad():
        net[2].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_subclasses_go_through_the_dispatcher(net):
    """Fake tensors in, fake tensors out: nothing is computed on memory that is not there."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        x = mode.from_tensor(torch.ones(1, 6, dtype=torch.float64))
        assert net(x).shape == (1, 3) and type(net(x)) is type(x)


def test_vmapped_weights_in_modules():
    """Parameters of another kind are not read as memory."""
    net = from_sequential(
        nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    )
    stacked = {k: torch.stack([v, 2 * v]).detach() for k, v in net.named_parameters()}
    x = torch.randn(1, 3)

    def call(parameters):
        return torch.func.functional_call(net, parameters, (x,))

    with torch.no_grad():
        torch.testing.assert_close(torch.func.vmap(call)(stacked)[0], net(x))


def test_layer_shapes():
    with pytest.raises(ValueError, match=r"^x: got shape"):
        linear_relu(torch.ones(2, 3), torch.ones(4, 5))


def test_forked_workers():
    """A DataLoader's workers, forked after both thread pools have run."""
    code = """
import torch, homfast.torch
torch.set_num_threads(2)
net = homfast.torch.ReLUNetwork([64, 256, 256, 8]).requires_grad_(False)
x = torch.randn(64, 128, 64)
wanted = [net(rows) for rows in x]
class Data(torch.utils.data.Dataset):
    def __len__(self):
        return len(x)
    def __getitem__(self, index):
        return net(x[index])
loader = torch.utils.data.DataLoader(
    Data(), batch_size=None, num_workers=2, multiprocessing_context="fork")
for y, other in zip(loader, wanted, strict=True):
    assert torch.equal(y, other)
print("done")
"""
    assert output(code, timeout=120, OMP_NUM_THREADS="2") == "done"


def test_import_homfast_does_not_import_torch():
    code = "import sys, homfast; print('torch' in sys.modules, 'homfast.torch' in sys.modules)"
    assert output(code) == "False False"
    assert output("import homfast; print(homfast.torch.ReLUNetwork([2, 3]).widths)") == "(2, 3)"


def test_without_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport homfast\n"
    code += "try:\n    homfast.torch\nexcept ImportError as error:\n    print(error)"
    assert "pip install 'homfast[torch]'" in output(code)


def test_options_that_are_none():
    """A tensor for a slope would lose its gradient; others the schema would not name."""
    x, weight = torch.randn(3, 7), torch.randn(4, 7)
    calls = (linear_relu, lambda x, w, *args, **kw: relu_network(x, [w], *args, **kw))
    for call in calls:
        for bad in ("a", None, 1j, torch.tensor(0.2, requires_grad=True), torch.tensor([0.2])):
            with pytest.raises(TypeError, match=r"^negative_slope: got .*, wanted a number"):
                call(x, weight, bad)
        for bad in (3, None, "low"):
            with pytest.raises(ValueError, match=r"^precision: got .*, wanted .*'highest'"):
                call(x, weight, precision=bad)
        wanted = call(x, weight, 0.5)
        for number in (np.float32(0.5), np.float64(0.5)):
            assert torch.equal(call(x, weight, number), wanted)
        assert torch.equal(call(x, weight, 1), call(x, weight, 1.0))


def test_weights_that_are_no_list():
    x, weight = torch.randn(3, 7), torch.randn(4, 7)
    for bad, wanted in (
        (None, "got NoneType, wanted a list"),
        (weight, r"one tensor.*\[weights\]"),
    ):
        with pytest.raises(TypeError, match=f"^weights: .*{wanted}"):
            relu_network(x, bad)
    with pytest.raises(ValueError, match=r"^weights: got an empty list"):
        relu_network(x, [])


def test_weights_without_numbers_to_move():
    with pytest.raises(TypeError, match=r"weights\[0\]: is on meta .*to_empty\(device='cpu'\)"):
        LinearReLU(7, 5, device="meta")(torch.ones(2, 7))


def test_wrappers_of_a_transform_that_is_over():
    """Of `torch.func`, whose tensors can leave it."""
    weight, left = torch.randn(4, 7), []
    for rows in (1, 3, 65):
        x = torch.randn(rows, 7)
        torch.func.grad(lambda z: left.append(z) or z.sum())(x)
        assert torch.equal(linear_relu(left[-1], weight), linear_relu(x, weight))
