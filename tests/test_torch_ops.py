"""The op of homfast.torch in PyTorch's machinery: autograd, vmap, compilers, export, autocast.

What is compared with is the same model in ``torch.nn``. Tensors are on torch's default device:
test_torch_cuda.py and test_torch_gpu.py run this file on others.
"""

import functools
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import func, nn  # noqa: E402
from torch.utils import _pytree, checkpoint  # noqa: E402

import homfast  # noqa: E402
from homfast.torch import from_sequential, linear_relu, relu_network, replace  # noqa: E402

ROWS = [1, 3, 20]  # a layer at a time, and packed


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def model(slope=0.0, dtype=torch.float64, widths=(5, 7, 6, 3), last=False):
    torch.manual_seed(20240823)
    children = []
    for fan_in, fan_out in itertools.pairwise(widths):
        activation = nn.LeakyReLU(slope) if slope else nn.ReLU()
        children += [nn.Linear(fan_in, fan_out, bias=False, dtype=dtype), activation]
    return nn.Sequential(*(children if last else children[:-1]))


def rows(count, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(count, width, dtype=torch.float64, generator=generator, device="cpu")
    return made.to(torch.get_default_device())


def weights(net):
    return [w.detach().clone().requires_grad_() for w in net.parameters()]


def assert_close(actual, wanted):
    pairs = zip(_pytree.tree_leaves(actual), _pytree.tree_leaves(wanted), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other)


def ops():
    """Each registered op with arguments it takes."""
    x, parameters = rows(4), [w.detach() for w in weights(model())]
    namespace = torch.ops.homfast
    y, hidden, masks = namespace.relu_network_keep(x, parameters, 0.1, False, "highest")
    options = (0.1, False, "highest")
    kept = (parameters, hidden, masks, 0.1, "highest")
    return {
        "relu_network": (x, parameters, *options),
        "relu_network_keep": (x, parameters, *options),
        "relu_network_backward": (y, x, *kept, True, True),
        "relu_network_tangent": (x, parameters, masks, 0.1, "highest"),
    }


@pytest.mark.parametrize("name", list(ops()))
def test_opcheck(name):
    torch.library.opcheck(getattr(torch.ops.homfast, name).default, ops()[name])


@pytest.mark.parametrize("last_relu", [False, True])
def test_opcheck_with_gradients(last_relu):
    x = rows(20).requires_grad_()
    arguments = (x, weights(model()), 0.0, last_relu, "highest")
    torch.library.opcheck(torch.ops.homfast.relu_network.default, arguments)
    arguments = (x, weights(model())[:1], 0.1, True, "highest")
    torch.library.opcheck(torch.ops.homfast.relu_network.default, arguments)


@pytest.mark.parametrize("slope", [0.0, 0.1])
@pytest.mark.parametrize("count", ROWS)
def test_gradcheck(count, slope):
    arguments = (rows(count).requires_grad_(), *weights(model(slope)))

    def network(x, *w):
        return relu_network(x, w, slope)

    assert torch.autograd.gradcheck(
        network, arguments, check_forward_ad=True, check_batched_grad=True,
        check_batched_forward_grad=True,
    )  # fmt: skip


@pytest.mark.parametrize("count", [3, 17])
def test_gradgradcheck(count):
    arguments = (rows(count, 3).requires_grad_(), *weights(model(0.1, widths=(3, 4, 3, 2))))

    def network(x, *w):
        return relu_network(x, w, 0.1)

    assert torch.autograd.gradgradcheck(
        network, arguments, check_fwd_over_rev=True, check_rev_over_rev=True
    )


def test_gradcheck_of_a_layer():
    arguments = (rows(4).requires_grad_(), weights(model())[0])
    assert torch.autograd.gradcheck(linear_relu, arguments, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(linear_relu, arguments, check_fwd_over_rev=True)


@pytest.mark.parametrize("frozen", ["x", "0.weight", "2.weight", "all but x"])
def test_only_the_gradients_that_are_wanted(frozen):
    wanted, ours = model(), from_sequential(model())
    results = []
    for net in (wanted, ours):
        x = rows(20).requires_grad_(frozen != "x")
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(frozen not in (name, "all but x"))
        net(x).square().sum().backward()
        results.append([x.grad, *(p.grad for p in net.parameters())])
    for one, other in zip(*results, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(other, one)


def functions():
    """Transforms by name, each of a model: what they give is compared."""

    def call(net):
        return lambda p, x: func.functional_call(net, p, (x,))

    def loss(net):
        return lambda p, x: func.functional_call(net, p, (x,)).square().sum()

    both = (0, 1)
    return {
        "grad": lambda n, p, x: func.grad(loss(n))(p, x),
        "vjp": lambda n, p, x: func.vjp(call(n), p, x)[1](x[:, :3]),
        "jvp": lambda n, p, x: func.jvp(call(n), (p, x), (p, x.flip(0))),
        "jvp of x": lambda n, p, x: func.jvp(lambda x: call(n)(p, x), (x,), (x.flip(0),)),
        "linearize": lambda n, p, x: func.linearize(lambda x: call(n)(p, x), x)[1](x.flip(0)),
        "vmap": lambda n, p, x: func.vmap(call(n), (None, 1))(p, x.T),
        "gradients of samples": lambda n, p, x: func.vmap(func.grad(loss(n)), (None, 0))(p, x),
        "vmap of grad of x": lambda n, p, x: func.vmap(func.grad(loss(n), 1), (None, 0))(p, x),
        "jacrev": lambda n, p, x: func.jacrev(call(n), both)(p, x),
        "jacfwd": lambda n, p, x: func.jacfwd(call(n), both)(p, x),
        "hessian": lambda n, p, x: func.hessian(loss(n), both)(p, x),
        "reverse twice": lambda n, p, x: func.jacrev(func.jacrev(loss(n), both), both)(p, x),
        "reverse over forward": lambda n, p, x: func.jacrev(func.jacfwd(loss(n), both), both)(p, x),
        "forward twice": lambda n, p, x: func.jacfwd(func.jacfwd(loss(n), both), both)(p, x),
        "penalty": lambda n, p, x: func.grad(
            lambda p: func.vmap(func.grad(loss(n), 1), (None, 0))(p, x).square().sum()
        )(p),
        "ensemble": lambda n, p, x: func.vmap(call(n), (0, None))(stack(p), x),
        "gradients of an ensemble": lambda n, p, x: func.vmap(func.grad(loss(n)), (0, None))(
            stack(p), x
        ),
        "tangents of an ensemble": lambda n, p, x: func.vmap(
            lambda p: func.jvp(lambda x: call(n)(p, x), (x,), (x,))
        )(stack(p)),
        "samples of an ensemble": lambda n, p, x: func.vmap(
            func.vmap(func.grad(loss(n)), (None, 0)), (0, None)
        )(stack(p), x),
    }


def stack(parameters):
    return {name: torch.stack([w, 2 * w, -w]) for name, w in parameters.items()}


@pytest.mark.parametrize("name", list(functions()))
def test_torch_func(name):
    wanted = model(0.1, widths=(4, 5, 4, 3))
    parameters = {name: w.detach() for name, w in wanted.named_parameters()}
    transform, x = functions()[name], rows(3, 4)
    ours = from_sequential(wanted)
    assert_close(transform(ours, parameters, x), transform(wanted, parameters, x))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("count", [3, 65])
def test_torch_func_within_modes(mode, count):
    """Values, and who requires a gradient: of the eager model, also with the mode inside."""
    model = nn.Sequential(
        nn.Linear(7, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False)
    ).double()
    net, x = homfast.torch.from_sequential(model), torch.randn(count, 7, dtype=torch.float64)

    def vjp(f):
        y, back = torch.func.vjp(f, x)
        return y, *back(torch.ones_like(y))

    transforms = {
        "vjp": vjp,
        "jvp": lambda f: torch.func.jvp(f, (x,), (x,)),
        "jacfwd": lambda f: (torch.func.jacfwd(f)(x[:3]),),
        "jacrev": lambda f: (torch.func.jacrev(f)(x[:3]),),
        "vmap of jvp": lambda f: torch.vmap(lambda z: torch.func.jvp(f, (z,), (z,)))(x),
        "grad": lambda f: (torch.func.grad(lambda z: (f(z) * z.sum()).sum())(x),),
    }

    def inside(f):
        def within(z):
            with mode():
                return f(z)

        return within

    for name, transform in transforms.items():
        with mode():
            wanted, got = transform(model), transform(net)
        pairs = [*zip(wanted, got, strict=True)]
        if mode is not torch.inference_mode:  # which torch.func does not enter
            pairs += zip(transform(inside(model)), transform(inside(net)), strict=True)
        for theirs, ours in pairs:
            torch.testing.assert_close(ours.detach(), theirs.detach(), msg=name)
            assert ours.requires_grad == theirs.requires_grad, name


def test_batched_gradients_of_autograd():
    """``is_grads_batched``, which has another vmap than torch.func."""
    x, parameters = rows(3).requires_grad_(), weights(model())
    y = relu_network(x, parameters)
    identity = torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
    batched = torch.autograd.grad(y, (x, *parameters), identity, is_grads_batched=True)
    single = torch.autograd.grad(relu_network(x, parameters), (x, *parameters), identity[4])
    for one, other in zip(batched, single, strict=True):
        torch.testing.assert_close(one[4], other)


@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("widths", [(4, 5), (4, 5, 3), (4, 5, 6, 3)])
def test_batched_gradients_are_differentiated_again(widths, slope):
    """By either vmap; of the hidden outputs autograd keeps values, which have no graph."""
    eager = model(slope, widths=widths)
    parameters, x = weights(eager), rows(2, 4).requires_grad_()
    leaves, found = [x, *parameters], []

    def gradients(y, cotangent, **batched):
        return torch.autograd.grad(
            y, leaves, cotangent, create_graph=True, retain_graph=True, **batched
        )

    for y in (relu_network(x, parameters, slope), composed(eager, x, parameters)):
        identity = torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
        for batch in (
            gradients(y, identity, is_grads_batched=True),
            torch.vmap(functools.partial(gradients, y))(identity),
        ):
            norm = sum(g.square().sum() for g in batch)
            found.append([batch, torch.autograd.grad(norm, leaves, retain_graph=True)])
    for other in found[1:]:
        assert_close(found[0], other)


def composed(net, x, parameters):
    names = [name for name, _ in net.named_parameters()]
    return func.functional_call(net, dict(zip(names, parameters, strict=True)), (x,))


@pytest.mark.parametrize("transform", ["gradients of samples", "batched gradients"])
def test_bfloat16_gradients_apart(transform):
    """The hidden outputs are kept in float32, the gradients are in bfloat16."""
    eager = model(dtype=torch.bfloat16)
    parameters, x = weights(eager), rows(4).bfloat16()

    def gradients(network):
        if transform == "gradients of samples":
            loss = lambda w, x: network(x, w).float().square().sum()  # noqa: E731
            return torch.vmap(func.grad(loss), (None, 0))([w.detach() for w in parameters], x)
        y = network(x, parameters)
        identity = torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
        return torch.autograd.grad(y, parameters, identity, is_grads_batched=True)

    ours, wanted = gradients(relu_network), gradients(lambda x, w: composed(eager, x, w))
    for one, other in zip(ours, wanted, strict=True):
        assert one.dtype == other.dtype == torch.bfloat16
        torch.testing.assert_close(one.float(), other.float(), rtol=0.05, atol=0.05)


def compiled_like_eager(backend):
    wanted = model(0.1)
    ours = from_sequential(wanted)
    torch.compiler.reset()
    compiled = torch.compile(ours, fullgraph=True, dynamic=True, backend=backend)
    for count in (4, 20, 7, 1):
        x = rows(count)
        torch.testing.assert_close(compiled(x), wanted(x))
        grads = []
        for call, net in ((compiled, ours), (wanted, wanted)):
            grads.append(torch.autograd.grad(call(x).square().sum(), list(net.parameters())))
        assert_close(*grads)
    with torch.no_grad():
        torch.testing.assert_close(compiled(rows(9)), wanted(rows(9)))


def test_compile_full_graph():
    """Traced whole, forward and backward, without the code generator."""
    compiled_like_eager("aot_eager")


@pytest.mark.slow
def test_compile_with_inductor():
    compiled_like_eager("inductor")


def test_compile_of_a_mixed_model():
    wanted = nn.Sequential(
        nn.Flatten(), *model(widths=(5, 6, 4)), nn.Sigmoid(), *model(widths=(4, 4, 4), last=True)
    )
    ours = nn.Sequential(*wanted)
    replace(ours)
    torch.compiler.reset()
    compiled = torch.compile(ours, fullgraph=True, dynamic=True, backend="aot_eager")
    torch.testing.assert_close(compiled(rows(3)), wanted(rows(3)))


def test_export_keeps_the_op():
    wanted = model()
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(
        from_sequential(wanted), (rows(4),), dynamic_shapes=({0: batch},)
    )
    called = [node.target for node in exported.graph.nodes if node.op == "call_function"]
    assert called == [torch.ops.homfast.relu_network.default]
    torch.testing.assert_close(exported.module()(rows(19)), wanted(rows(19)))


def test_modes_see_the_op():
    """Few rows go past the dispatcher only where nobody looks."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Seen(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, op, types, args=(), kwargs=None):
            self.names.append(op.name())
            return op(*args, **(kwargs or {}))

    net, seen = from_sequential(model()), Seen()
    with torch.no_grad(), seen:
        net(rows(1))
    assert "homfast::relu_network" in seen.names
    with torch.no_grad(), torch.profiler.profile() as profile:
        net(rows(1))
    assert "homfast::relu_network" in {event.name for event in profile.events()}


@pytest.mark.parametrize("wanted", ["nothing", "x", "weights", "both"])
@pytest.mark.parametrize("last", [False, True])
def test_counted_operations(wanted, last):
    """As many as PyTorch counts for the layers."""
    from torch.utils.flop_counter import FlopCounterMode

    counts, fused = [], model(last=last)
    replace(fused)
    for net in (model(last=last), fused):
        net.requires_grad_(wanted in ("weights", "both"))
        for count in (1, 20):
            x = rows(count).requires_grad_(wanted in ("x", "both"))
            with FlopCounterMode(display=False) as counter:
                y = net(x)
                if wanted != "nothing":
                    y.sum().backward()
            counts.append(counter.get_total_flops())
    assert counts[:2] == counts[2:] and counts[0] > 0


@pytest.mark.parametrize("count", [1, 20])
def test_autocast(count):
    wanted = model(dtype=torch.float32)
    ours, x = from_sequential(wanted), rows(count).float()
    results, device = [], x.device.type
    for net in (wanted, ours):
        with torch.autocast(device, dtype=torch.bfloat16):
            y = net(x)
        assert y.dtype == torch.bfloat16
        y.float().square().sum().backward()
        results.append([y.float(), *(p.grad for p in net.parameters())])
    for one, other in zip(*results, strict=True):
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, one, rtol=0.05, atol=0.02)
    with torch.autocast(device, dtype=torch.float16), pytest.raises(TypeError, match="bfloat16"):
        ours(x)
    with torch.autocast(device, dtype=torch.bfloat16):
        assert from_sequential(model())(rows(2)).dtype == torch.float64, "doubles are not cast"


def under_autocast():
    """What else goes on in a region of autocast, each of a model: what it gives is compared."""

    def checkpointed(n, x):
        y = checkpoint.checkpoint(n, x, use_reentrant=False)
        return torch.autograd.grad(y.float().square().sum(), list(n.parameters()))

    def twice(n, x):
        leaf = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(n(leaf).float().square().sum(), leaf, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), list(n.parameters()))

    return {
        "vmap": lambda n, x: func.vmap(n)(x),
        "jvp": lambda n, x: func.jvp(n, (x,), (x,)),
        "jacrev": lambda n, x: func.jacrev(n)(x[0]),
        "checkpoint": checkpointed,
        "derivatives of derivatives": twice,
        "compile": lambda n, x: torch.compile(n, fullgraph=True, backend="aot_eager")(x),
        "export": lambda n, x: torch.export.export(n, (x,)).module()(x),
    }


@pytest.mark.parametrize("name", list(under_autocast()))
def test_within_autocast(name):
    wanted = model(dtype=torch.float32)
    ours, x, call = from_sequential(wanted), rows(20).float(), under_autocast()[name]
    torch.compiler.reset()
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        results = [_pytree.tree_leaves(call(net, x)) for net in (ours, wanted)]
    for one, other in zip(*results, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one.float(), other.float(), rtol=0.05, atol=0.03)


@pytest.mark.parametrize("count", [1, 20])
def test_bfloat16(count):
    """Summed in float32, rounded once: nearer to the exact value than bfloat16 layers are."""
    wanted = model(dtype=torch.bfloat16)
    x = rows(count).bfloat16().requires_grad_()
    y = from_sequential(wanted)(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == torch.bfloat16
    exact = model().to(torch.float64)
    exact.load_state_dict(wanted.state_dict())
    torch.testing.assert_close(y.double(), exact(x.double()), rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (20, 5), (2, 3, 5), (4, 6, 5), (0, 5), (3, 0, 5)])
@pytest.mark.parametrize("last_relu", [False, True])
def test_shapes(shape, last_relu):
    wanted = model(last=last_relu)
    ours = nn.Sequential(*wanted)
    replace(ours)
    x = torch.linspace(-1, 1, int(np.prod(shape)), dtype=torch.float64).reshape(shape)
    results = []
    for net in (wanted, ours):
        leaf = x.clone().requires_grad_()
        y = net(leaf)
        y.square().sum().backward()
        results.append([y, leaf.grad, *(p.grad.clone() for p in net.parameters())])
        net.zero_grad()
    assert_close(*results)


@pytest.mark.parametrize("widths", [(5, 0, 3), (0, 4, 3), (5, 4, 0), (5, 3)])
@pytest.mark.parametrize("count", [2, 20])
def test_zero_widths(widths, count):
    parameters = [
        torch.ones(b, a, dtype=torch.float64, requires_grad=True)
        for a, b in itertools.pairwise(widths)
    ]
    x = torch.ones(count, widths[0], dtype=torch.float64, requires_grad=True)
    y = relu_network(x, parameters)
    wanted = x
    for weight in parameters[:-1]:
        wanted = torch.relu(wanted @ weight.T)
    wanted = wanted @ parameters[-1].T
    assert_close(
        [y, *torch.autograd.grad(y.sum(), [x, *parameters])],
        [wanted, *torch.autograd.grad(wanted.sum(), [x, *parameters])],
    )


EMPTY = {
    "hessian": lambda f: func.hessian(lambda *z: f(*z).square().sum(), (0, 1, 2)),
    "jacrev": lambda f: func.jacrev(f, (0, 1, 2)),
    "jacfwd": lambda f: func.jacfwd(f, (0, 1, 2)),
    "gradients of samples": lambda f: torch.vmap(
        func.grad(lambda *z: f(*z).square().sum(), (0, 1, 2)), (0, None, None)
    ),
    "ensemble": lambda f: (
        lambda x, a, b: [
            torch.vmap(g, (None, 0, None))(x, a.new_ones(members, *a.shape), b)
            for members in (0, 3)
            for g in (f, func.grad(lambda *z: f(*z).square().sum(), (0, 1, 2)))
        ]
    ),
}


@pytest.mark.parametrize("transform", EMPTY)
def test_nothing_on_any_axis(transform):
    for count, *widths in itertools.product((0, 2), repeat=4):
        fan_in, hidden, fan_out = widths
        operands = [torch.ones(s) for s in ((count, fan_in), (hidden, fan_in), (fan_out, hidden))]
        ours = EMPTY[transform](lambda x, a, b: relu_network(x, [a, b]))(*operands)
        eager = EMPTY[transform](lambda x, a, b: torch.relu(x @ a.mT) @ b.mT)(*operands)
        assert_close(ours, eager)


@pytest.mark.parametrize("count", [1, 20])
def test_same_bits_as_a_network_of_arrays(count):
    """That of homfast and the op: one kernel, one order of sums; on the CPU from 16 rows on."""
    weights = homfast.ReLUNetwork.random((33, 70, 20), seed=1).weights
    x = rows(count, 33).float()
    parameters = [torch.tensor(w).to(x.device) for w in weights]
    homfast.set_batch_invariant(True)
    y, wanted = relu_network(x, parameters), homfast.ReLUNetwork(parameters)(x)
    assert torch.equal(y, wanted)
    kept, _, masks = torch.ops.homfast.relu_network_keep(x, parameters, 0.0, False, "highest")
    assert torch.equal(kept, wanted)
    assert masks[0].shape == (count, 9) and masks[0].dtype == torch.uint8


def test_special_values():
    """As the contract says: NaN passes with its gradient, a masked unit passes +0.0 whatever."""
    weight = torch.ones(2, 1, dtype=torch.float64)
    for values, masked in (([float("nan")], [True]), ([-1.0], [False]), ([0.0], [False])):
        x = torch.tensor([values], dtype=torch.float64, requires_grad=True)
        y = linear_relu(x, weight)
        inf = torch.full_like(y, float("inf"))
        (grad,) = torch.autograd.grad(y, x, inf)
        assert torch.isinf(grad).item() is masked[0]
        y = linear_relu(x, weight)
        (grad,) = torch.autograd.grad(y, x, inf, create_graph=True)
        assert torch.isinf(grad).item() is masked[0], "in derivatives of derivatives too"


@pytest.mark.parametrize("family", ["Gaussian", "Hadamard", "Circulant"])
def test_operators_differentiate_both_ways(family):
    module = getattr(homfast.measure, family)(4, 6, seed=1, dtype="float64").to_torch()
    x, y = rows(3, 6).requires_grad_(), rows(3, 4).requires_grad_()
    for product, argument in ((module, x), (module.adjoint, y)):
        assert torch.autograd.gradcheck(product, argument, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(product, argument)
    net = from_sequential(model(widths=(4, 7, 6)))
    assert torch.autograd.gradcheck(lambda x: net(module(x)), x)
