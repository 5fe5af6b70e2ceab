"""Modules of homfast.torch: names, parameters, replacement, and weights that are never stale."""

import copy
import io
import itertools
import pickle
import re

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

import homfast.torch  # noqa: E402
from homfast.torch import (  # noqa: E402
    FusedSequential,
    LinearReLU,
    ReLUNetwork,
    from_sequential,
    replace,
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(20240823)


def model(widths=(5, 7, 6, 3), last=False, **options):
    children = []
    for fan_in, fan_out in itertools.pairwise(widths):
        children += [nn.Linear(fan_in, fan_out, bias=False, **options), nn.ReLU()]
    return nn.Sequential(*(children if last else children[:-1]))


def eager(net, x):
    """What the children give one after the other."""
    return nn.Sequential.forward(net, x)


def test_state_dict_both_ways():
    theirs, ours = model(), ReLUNetwork([5, 7, 6, 3])
    assert list(theirs.state_dict()) == list(ours.state_dict())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(20, 5)
    torch.testing.assert_close(ours(x), theirs(x))
    theirs.load_state_dict(ReLUNetwork([5, 7, 6, 3]).state_dict(), strict=True)
    assert [tuple(w.shape) for w in ours.weights] == [(7, 5), (6, 7), (3, 6)]
    assert ours.widths == (5, 7, 6, 3)
    layer = LinearReLU(5, 7, negative_slope=0.1)
    linear = nn.Linear(5, 7, bias=False)
    layer.load_state_dict(linear.state_dict(), strict=True)
    torch.testing.assert_close(layer(x), nn.functional.leaky_relu(linear(x), 0.1))
    linear.load_state_dict(layer.state_dict(), strict=True)


def test_constructors():
    net = ReLUNetwork([5, 7, 3], negative_slope=0.25, dtype=torch.float64)
    assert net[1].negative_slope == 0.25 and net.weights[0].dtype == torch.float64
    torch.manual_seed(3)
    ours = ReLUNetwork([5, 7, 3])
    torch.manual_seed(3)
    assert torch.equal(ours[0].weight, model((5, 7, 3))[0].weight), "initialised as torch does"
    for bad, error in (([5], ValueError), (["a", 2], TypeError), ([5, -1], ValueError)):
        with pytest.raises(error, match="widths: got"):
            ReLUNetwork(bad)
    with pytest.raises(ValueError, match="precision: got 'low'"):
        LinearReLU(2, 3, precision="low")


def test_arguments_are_named_as_in_torch():
    net, x = model(), torch.randn(3, 5)
    wanted = net(input=x)
    replace(net)
    torch.testing.assert_close(net(input=x), wanted)
    assert LinearReLU(5, 2)(input=x).shape == (3, 2)
    program = torch.export.export(net, (), {"input": x})
    assert program.graph_signature.user_inputs == ("input",)


def test_symbolic_traces_show_the_op():
    """torch.fx hands over proxies, which are no tensors."""
    net, x = model(), torch.randn(3, 5)
    wanted = net(x)
    replace(net)
    for module in (net, nn.Sequential(net, nn.Tanh())):
        graph = torch.fx.symbolic_trace(module)
        op = torch.ops.homfast.relu_network.default
        assert op in [node.target for node in graph.graph.nodes]
        torch.testing.assert_close(graph(x), module(x))
    torch.testing.assert_close(net(x), wanted)


def test_from_sequential_copies():
    theirs = model()
    theirs[0].weight.requires_grad_(False)
    theirs.eval()
    ours = from_sequential(theirs)
    assert type(ours) is ReLUNetwork and type(theirs) is nn.Sequential
    assert not ours[0].weight.requires_grad and not ours.training
    assert ours[0].weight is not theirs[0].weight
    with torch.no_grad():
        ours[0].weight.zero_()
    assert theirs[0].weight.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda m: nn.Sequential(nn.Linear(5, 3)), ValueError, "'0' has a bias.*homogenize"),
        (lambda m: nn.Sequential(*m, nn.Sigmoid()), ValueError, "'5' is a Sigmoid.*replace"),
        (lambda m: nn.Sequential(*m, nn.ReLU()), ValueError, "got 6 children.*ReLU.*replace"),
        (lambda m: nn.Sequential(), ValueError, "got 0 children"),
        (lambda m: m[0], TypeError, "got Linear, wanted a torch.nn.Sequential"),
        (lambda m: [1], TypeError, "got list, wanted a torch.nn.Module"),
        (
            lambda m: nn.Sequential(m[0], nn.ReLU(), m[2], nn.LeakyReLU(0.1), m[4]),
            ValueError,
            "negative slopes",
        ),
    ],
)
def test_from_sequential_refuses(change, error, message):
    with pytest.raises(error, match=f"^model: .*{message}"):
        from_sequential(change(model()))


class Residual(nn.Sequential):
    """With a forward of its own."""

    def forward(self, input):
        return input + super().forward(input)


class Named(nn.Sequential):
    """With a name of its own, and nothing else."""


def test_from_sequential_loses_no_forward():
    for net in (Residual(*model()), model(), from_sequential(model())):
        if type(net) is not Residual:
            net.forward = torch.tanh
        with pytest.raises(TypeError, match=f"^model: got a {type(net).__name__} with a forward"):
            from_sequential(net)
    ours, x = from_sequential(Named(*model())), torch.randn(3, 5)
    torch.testing.assert_close(from_sequential(ours)(x), eager(ours, x))


class Mixed(nn.Module):
    """Networks inside of a model of somebody's own."""

    def __init__(self):
        super().__init__()
        self.encoder = model()
        self.biased = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4, bias=False))
        self.mixed = nn.Sequential(
            nn.Flatten(), *model((4, 6, 6), last=True), nn.Dropout(0.0), *model((6, 5, 2))
        )
        self.alone = nn.Linear(2, 2, bias=False)

    def forward(self, x):
        return self.alone(self.mixed(self.biased(self.encoder(x))))


def test_replace_keeps_parameters_and_says_what_it_did():
    net = Mixed()
    parameters, names = list(net.parameters()), list(net.state_dict())
    x = torch.randn(20, 5)
    wanted = net(x)
    report = replace(net)
    assert report.model is net
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    assert list(net.state_dict()) == names
    assert type(net.encoder) is ReLUNetwork and type(net.mixed) is FusedSequential
    assert type(net.biased) is nn.Sequential
    assert report.replaced == {
        "encoder": "ReLUNetwork of widths (5, 7, 6, 3)",
        "mixed": "FusedSequential of widths (4, 6, 6), (6, 5, 2), 7 of 9 children in its ops",
    }
    assert set(report.kept) == {"biased.0", "biased.2", "alone"}
    assert "homogenize" in report.kept["biased.0"]
    assert "kept alone: no ReLU" in str(report) and "replaced encoder" in str(report)
    torch.testing.assert_close(net(x), wanted)
    torch.testing.assert_close(net(x[:1]), wanted[:1])
    again = replace(net)
    assert not again.replaced and set(again.kept) == set(report.kept)


def test_replace_the_model_itself():
    net = model()
    with torch.no_grad():  # one in a hundred would have no active unit, and learn nothing
        for weight in net.parameters():
            weight.abs_()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    report = replace(net)
    assert (
        type(net) is ReLUNetwork
        and str(report) == "replaced the model: ReLUNetwork of widths (5, 7, 6, 3)"
    )
    before = net(torch.ones(3, 5)).detach()
    net(torch.ones(3, 5)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(net(torch.ones(3, 5)), before)
    with pytest.raises(TypeError, match="model: got int"):
        replace(3)
    assert str(replace(nn.ReLU())).startswith("nothing to replace")


def test_replace_leaves_layers_without_products():
    """Of float16, which a call would refuse: they go on as they are."""
    net = nn.ModuleDict({"float16": model().half(), "float32": model(), "wide": model().double()})
    report = replace(net)
    assert list(report.replaced) == ["float32", "wide"]
    assert type(net["float16"]) is nn.Sequential
    assert set(report.kept) == {"float16.0", "float16.2", "float16.4"}
    assert "torch.float16, in which homfast has no products" in report.kept["float16.0"]
    with pytest.raises(ValueError, match=r"^model: '0' is torch\.float16, in which"):
        from_sequential(net["float16"])


@pytest.mark.parametrize("slope", [float("nan"), float("inf"), -1e39])
def test_slopes_that_no_kernel_takes(slope):
    """Not finite in float32: PyTorch's business, before `replace` and after."""
    net = model(dtype=torch.float64)
    net[1] = nn.LeakyReLU(slope)
    with pytest.raises(ValueError, match=f"^model: '1' has the slope {re.escape(str(slope))}"):
        from_sequential(net)
    report = replace(net)
    assert report.replaced == {
        "": "FusedSequential of widths (7, 6, 3), 3 of 5 children in its ops"
    }
    assert list(report.kept) == ["0"]
    assert report.kept["0"].startswith(f"the LeakyReLU after it has the slope {slope}, wanted one")
    later = model(dtype=torch.float64)
    later[1], later[3] = nn.LeakyReLU(0.5), nn.LeakyReLU(0.5)
    replace(later)
    for x in (torch.randn(1, 5).double(), torch.randn(20, 5).double()):
        torch.testing.assert_close(later(x), eager(later, x))
        later[1].negative_slope = slope
        for ours in (net, later):
            torch.testing.assert_close(ours(x), eager(ours, x), equal_nan=True)
        later[1].negative_slope = 0.5


def test_kept_says_why():
    """Of each layer its own reason, or that of what stands beside it."""
    single, half = model((5, 5), last=True), model((5, 5), last=True).half()
    net = nn.ModuleDict(
        {
            "two_runs": nn.Sequential(*single, nn.BatchNorm1d(5), *half),
            "one_run": nn.Sequential(*model((5, 5), last=True), *model((5, 5)).half()),
            "own": Residual(*model((5, 5), last=True)),
            "patched": model((5, 5), last=True),
            "activation": model((5, 5), last=True),
            "alone": nn.Linear(5, 5, bias=False),
        }
    )
    doubled(net["patched"])
    doubled(net["activation"][1])
    report = replace(net)
    assert report.replaced == {
        "two_runs": "FusedSequential of widths (5, 5), 2 of 5 children in its ops"
    }
    for name, why in {
        "two_runs.3": "is torch.float16, in which",
        "one_run.0": "stands in one run with a layer of a dtype in which",
        "one_run.2": "is torch.float16, in which",
        "own.0": "stands in a Residual that",
        "patched.0": "stands in a Sequential that",
        "activation.0": "the ReLU after it has hooks, a forward",
        "alone": "no ReLU follows it",
    }.items():
        assert report.kept.pop(name).startswith(why), name
    assert not report.kept


def test_layers_that_lose_their_products_run_as_they_are():
    """A model made float16 after `replace`: as one whose layers get a bias."""
    net, x = model(), torch.randn(3, 5)
    replace(net)
    torch._dynamo.reset()
    calls = (torch.no_grad()(net), net, torch.compile(net, fullgraph=True, backend="eager"))
    for dtype in (torch.float32, torch.float16, torch.float64):
        net.to(dtype)
        for call in calls:
            torch.testing.assert_close(call(x.to(dtype)), eager(net, x.to(dtype)))
    net.float()[2].half()
    with pytest.raises(RuntimeError, match="dtype"):  # PyTorch's own
        net(x)


WRITES = {
    "optimizer": lambda w: torch.optim.SGD([w], lr=1.0, maximize=True).step(),
    "no_grad": lambda w: torch.no_grad()(w.mul_)(2),
    "data": lambda w: w.data.mul_(2),  # leaves the version counter as it was
    "data elsewhere": lambda w: setattr(w, "data", 2 * w.data),
    "numpy": lambda w: w.detach().numpy().__imul__(2),
    "transposed": lambda w: setattr(w, "data", w.data.T),
    "in place": lambda w: w.data.copy_(torch.ones_like(w)),
    "strides": lambda w: setattr(w, "data", torch.stack([w.data, w.data], -1)[..., 0]),
    "swapped": lambda w: setattr(w, "data", w.data.flip(0)),
}


@pytest.mark.parametrize("write", list(WRITES))
@pytest.mark.parametrize("count", [1, 20])
def test_weights_are_never_stale(write, count):
    net = from_sequential(model((5, 6, 6, 3)))
    nn.init.uniform_(net[0].weight)  # no unit sleeps
    x = torch.rand(count, 5) + 0.1
    if write == "numpy" and x.device.type != "cpu":
        pytest.skip("NumPy has no view of memory there")
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with torch.no_grad():
            net[2].weight.copy_(torch.rand_like(net[2].weight))
        net(x)
        with mode():
            before = net(x)
        net[2].weight.grad = torch.ones_like(net[2].weight)
        WRITES[write](net[2].weight)
        with mode():
            after = net(x)
            torch.testing.assert_close(after, eager(net, x))
        assert write == "strides" or not torch.equal(after, before), write


def test_children_are_never_stale():
    net = from_sequential(model())
    x = torch.randn(1, 5)

    def check():
        with torch.no_grad():
            torch.testing.assert_close(net(x), eager(net, x))
            torch.testing.assert_close(net(x.expand(20, 5)), eager(net, x.expand(20, 5)))

    check()
    net[2] = nn.Linear(7, 6)  # with a bias
    check()
    net[2] = nn.Linear(7, 6, bias=False)
    check()
    net[2].bias = nn.Parameter(torch.ones(6))
    check()
    net[2].bias = None
    net.append(nn.Tanh())
    check()
    net[1] = nn.LeakyReLU(0.5)
    net[3] = nn.LeakyReLU(0.5)
    check()
    net[3].negative_slope = 0.1
    check()
    net[1].negative_slope = 0.1
    check()
    net[2].weight = nn.Parameter(torch.ones(6, 7))
    check()
    net[2].double(), net[2].float()
    check()
    del net[5]
    check()


def test_hooks_parametrizations_and_pruning_are_seen():
    net, x = from_sequential(model()), torch.randn(1, 5)
    seen = []
    with torch.no_grad():
        net(x)
        handle = net[2].register_forward_hook(lambda module, args, y: seen.append(y) or 2 * y)
        torch.testing.assert_close(net(x), eager(net, x))
        assert len(seen) == 2
        handle.remove()
        torch.testing.assert_close(net(x), eager(net, x))
        assert len(seen) == 2
        parametrizations.orthogonal(net[0])
        torch.testing.assert_close(net(x), eager(net, x))
        prune.l1_unstructured(net[4], "weight", 0.5)
        torch.testing.assert_close(net(x), eager(net, x))
    report = replace(nn.Sequential(*net))
    assert report.replaced == {"": "FusedSequential of widths (7, 6), 2 of 5 children in its ops"}
    assert "Parametrized" in report.kept["0"]
    assert "hooks" in report.kept["4"]


def doubled(child):
    """`child` with a forward of its own, as of accelerate's hooks or a quantizer."""
    forward = child.forward
    child.forward = lambda x: 2 * forward(x)


@pytest.mark.parametrize("index", [0, 1, 4])
def test_a_forward_of_its_own_is_seen(index):
    net, x = model(), torch.randn(3, 5)
    doubled(net[index])
    report = replace(net)
    assert type(net) is FusedSequential
    assert index % 2 or "a forward of its own" in report.kept[str(index)]
    for call in (torch.no_grad()(net), net):
        torch.testing.assert_close(call(x), eager(net, x))
    del net[index].forward
    assert str(replace(model())) in str(replace(nn.Sequential(*net)))
    net = model()
    replace(net)
    torch._dynamo.reset()
    # PyTorch compiles anew when a child gets a forward, and so do we.
    calls = (torch.no_grad()(net), net, torch.compile(net, fullgraph=True, backend="eager"))
    for change in (lambda child: None, doubled, lambda child: delattr(child, "forward")):
        change(net[index])
        for call in calls:
            torch.testing.assert_close(call(x), eager(net, x))


def test_copies():
    net, x = from_sequential(model()), torch.randn(3, 5)
    with torch.no_grad():
        wanted = net(x)
        copies = [copy.deepcopy(net), copy.copy(net), pickle.loads(pickle.dumps(net))]
        buffer = io.BytesIO()
        torch.save(net.state_dict(), buffer)
        loaded = ReLUNetwork([5, 7, 6, 3])
        loaded.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
        for other in (*copies, loaded):
            assert type(other) is ReLUNetwork
            assert torch.equal(other(x), wanted)
        net[0].weight.zero_()
        assert torch.equal(copies[0](x), wanted), "a copy reads the weights of the original"
    part = net[2:]
    assert type(part) is FusedSequential and part[0].weight is net[2].weight
    assert isinstance(net[0], nn.Linear)
    assert homfast.torch is not None


@pytest.mark.filterwarnings("ignore")  # both exporters are deprecated in PyTorch, and in use
def test_the_way_back():
    """What knows no op of ours takes an nn.Sequential of the children, as docs/torch.md says."""
    net, x = Mixed().eval(), torch.randn(3, 5)
    replace(net)
    with torch.no_grad():
        wanted = net(x)
    net.encoder, net.mixed = nn.Sequential(*net.encoder), nn.Sequential(*net.mixed)
    torch.testing.assert_close(torch.jit.script(net)(x), wanted)
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    file = io.BytesIO()
    torch.onnx.export(net, (x,), file, dynamo=False, input_names=["x"])
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    exported = torch.from_numpy(session.run(None, {"x": x.cpu().numpy()})[0])
    torch.testing.assert_close(exported, wanted.cpu(), rtol=1e-5, atol=1e-6)


def test_training_gives_the_same_losses():
    """The same curve as torch.nn's within rounding, through torch's Adam."""
    torch.manual_seed(1)
    theirs = model((16, 64, 64, 8))
    ours = from_sequential(theirs)
    x = torch.randn(256, 16)
    target = torch.randn(256, 8)
    curves = []
    for net in (theirs, ours):
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        losses = []
        for _ in range(30):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        curves.append(torch.stack(losses))
    torch.testing.assert_close(curves[1], curves[0], rtol=1e-5, atol=0)
    assert curves[1][-1] < 0.95 * curves[1][0]


def test_replace_in_the_middle_of_training():
    """Moments of the optimizer go on: the parameters are the same objects."""
    curves = []
    for swap in (False, True):
        torch.manual_seed(1)
        net = model((16, 32, 8))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        x, target, losses = torch.randn(64, 16), torch.randn(64, 8), []
        for step in range(20):
            if swap and step == 10:
                replace(net)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves.append(torch.tensor(losses))
    torch.testing.assert_close(curves[1], curves[0], rtol=1e-4, atol=0)
