"""homfast.torch on a card: ``pytest -m gpu``.

What test_torch_cuda asks of a device that is not there, and with it what the tests of the CPU ask,
it asks here of the first device. What only a card has is below: streams, graphs, its memory.
"""

import copy

import pytest
from test_torch_cuda import *  # noqa: F403

from homfast._backends import cuda

torch = pytest.importorskip("torch")
from homfast.torch import ReLUNetwork, linear_relu, relu_network  # noqa: E402

pytest_plugins = ()
pytestmark = pytest.mark.gpu

# Those that ask the emulated machine.
for _name in (
    "runs_on_the_current_stream",
    "a_machine_that_lacks_something",
    "a_launch_that_fails",
):
    del globals()[f"test_{_name}"]


@pytest.fixture(autouse=True)
def machine():
    """The first device, as torch's default."""
    if cuda.why_unavailable():
        pytest.skip(f"backend cuda: {cuda.why_unavailable()}")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA device")
    torch.set_default_device("cuda:0")
    yield
    torch.set_default_device(None)


@pytest.fixture
def place():
    """Where tensors are."""
    return torch.device("cuda:0")


def passes(net, x):
    """The value of a call, and the gradients of the sum of its squares."""
    leaf = x.detach().requires_grad_()
    y = net(leaf)
    return y, *torch.autograd.grad(y.square().sum(), [leaf, *net.parameters()])


def test_state_dicts_between_devices():
    here, there = ReLUNetwork((70, 90, 5), device="cpu"), ReLUNetwork((70, 90, 5))
    x = torch.randn(20, 70, device="cpu")
    there.load_state_dict(here.state_dict(), strict=True)
    torch.testing.assert_close(there(x.cuda()).cpu(), here(x))
    other = ReLUNetwork((70, 90, 5), device="cpu")
    other.load_state_dict(there.state_dict(), strict=True)
    assert torch.equal(other(x), here(x))
    moved = copy.deepcopy(here).to("cuda")
    assert torch.equal(moved(x.cuda()), there(x.cuda()))
    assert torch.equal(moved.cpu()(x), here(x)), "and back"


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("grad", [False, True])
def test_a_model_and_its_input_in_two_places(count, grad):
    net = ReLUNetwork((6, 9, 3))
    places = [("cpu", net), ("cuda:0", copy.deepcopy(net).cpu())]
    if torch.cuda.device_count() > 1:
        places.append(("cuda:1", net))
    with torch.set_grad_enabled(grad):
        for place, model in places:
            x = torch.ones(count, 6, device=place)
            there = str(model[0].weight.device)
            wanted = rf"^weights\[0\]: is on {there} and x on {place}; move"
            with pytest.raises(TypeError, match=wanted):
                model(x)
            with pytest.raises(TypeError, match=wanted):
                linear_relu(x, model[0].weight)
        assert torch.isfinite(net(torch.ones(count, 6))).all()


@pytest.mark.parametrize("widths", [(513, 1025, 70), (64, 128, 64, 10), (1, 1)], ids=str)
@pytest.mark.parametrize("count", [1, 16, 4097])
def test_large_and_odd_sizes(widths, count):
    """Exact sums of small integers: what torch.nn gives in float64."""
    torch.manual_seed(count)
    net, x = ReLUNetwork(widths), torch.randint(-1, 2, (count, widths[0]))
    for weight in net.weights:
        weight.data.copy_(torch.randint(-1, 2, weight.shape))
    wide, results = copy.deepcopy(net).double(), []
    for model, call in ((net, net), (wide, lambda x: torch.nn.Sequential.forward(wide, x))):
        leaf = x.to(model[0].weight.dtype).requires_grad_()
        y = call(leaf)
        results.append([y, *torch.autograd.grad(y.sum(), [leaf, *model.parameters()])])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one.double(), other)


def test_a_stream_of_ones_own():
    """Forward, backward and an operator are right where only the stream's own order makes it so."""
    x, eye = torch.ones(4096, 4096), torch.eye(4096)
    weights = [torch.ones(16, 4096, requires_grad=True), torch.ones(2, 16, requires_grad=True)]
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(20):
            x = x @ eye  # long enough for a wrong stream to be ahead
        y = relu_network(x, weights)
        total = y.sum()
        grads = torch.autograd.grad(total, weights)
        first, last = (g.sum() for g in grads)
    torch.cuda.synchronize()
    assert total.item() == 4096.0 * 4096 * 16 * 2
    assert first.item() == 16 * 4096.0 * 4096 * 2
    assert last.item() == 2 * 16 * 4096.0 * 4096


@pytest.mark.parametrize("widths", [(64, 128, 10), (300, 400, 5)], ids=str)
def test_graphs_capture_forward_and_backward(widths):
    """Captured once, replayed on other rows: nothing waits, and memory is the graph's own."""
    net, x = ReLUNetwork(widths), torch.randn(100, widths[0])
    parameters = list(net.parameters())

    def step():
        y = net(x)
        return y, torch.autograd.grad(y.square().sum(), parameters)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y, grads = step()
    for _ in range(2):
        x.copy_(torch.randn_like(x))
        graph.replay()
        wanted, wanted_grads = step()
        assert torch.equal(y, wanted)
        for one, other in zip(grads, wanted_grads, strict=True):
            assert torch.equal(one, other)


def test_graphed_callables():
    net, x = ReLUNetwork((32, 64, 8)), torch.randn(20, 32)
    sample = torch.randn(20, 32).requires_grad_()
    graphed = torch.cuda.make_graphed_callables(copy.deepcopy(net), (sample,))
    for one, other in zip(passes(graphed, x), passes(net, x), strict=True):
        torch.testing.assert_close(one, other)


def test_compiled_into_graphs():
    """Inductor's CUDA graphs take the op as it is."""
    pytest.importorskip("triton")
    net, x = ReLUNetwork((32, 64, 8)), torch.randn(20, 32)
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(net), fullgraph=True, mode="reduce-overhead")
    for _ in range(4):
        torch.compiler.cudagraph_mark_step_begin()
        for one, other in zip(passes(compiled, x), passes(net, x), strict=True):
            torch.testing.assert_close(one, other)


def test_device_memory_is_named_and_the_next_call_works():
    x, weight = torch.ones(1 << 20, 1), torch.ones(1 << 20, 1)
    wanted = r"shape \(1048576, 1048576\) needs 4096 GiB on GPU 0"
    for call in (relu_network, lambda x, w: linear_relu(x, w[0])):
        with pytest.raises(MemoryError, match=wanted):
            call(x, [weight])
    assert bool((relu_network(x[:3], [weight[:2]]) == 1).all())


def test_memory_is_given_back():
    net, x = ReLUNetwork((300, 400, 5)), torch.randn(1000, 300)
    passes(net, x)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(5):
        passes(net, x)
    assert torch.cuda.memory_allocated() == before


def test_current_device_and_stream_are_kept():
    last = torch.cuda.device_count() - 1
    before = torch.cuda.current_device(), torch.cuda.current_stream()
    net = ReLUNetwork((8, 9, 4), device=f"cuda:{last}")
    y, *grads = passes(net, torch.ones(20, 8, device=f"cuda:{last}"))
    assert {t.device.index for t in (y, *grads)} == {last}
    assert (torch.cuda.current_device(), torch.cuda.current_stream()) == before
