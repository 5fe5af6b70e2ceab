"""Arrays of other libraries in CPU memory: read in place, and the result is of their library."""

import numpy as np
import pytest
from oracles import assert_same_bits, pack

import homfast
from homfast import ReLUNetwork, _arrays


@pytest.fixture
def arrays(rng, dtype):
    return {
        "x": rng.standard_normal((20, 17)).astype(dtype),
        "weight": rng.standard_normal((33, 17)).astype(dtype),
        "grad": rng.standard_normal((20, 33)).astype(dtype),
        "mask": pack(rng.random((20, 33)) < 0.5),
    }


class Interface:
    """An array that has nothing but __array_interface__."""

    def __init__(self, array):
        self.__array_interface__ = array.__array_interface__
        self.kept = array


class Exporter:
    """An array that has nothing but DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_torch_in_torch_out(engine, torch, arrays):
    tensors = {name: torch.from_numpy(a) for name, a in arrays.items()}
    options = {"backend": engine.backend}
    y, mask = homfast.linear_relu(tensors["x"], tensors["weight"], return_mask=True, **options)
    wanted, bits = homfast.linear_relu(arrays["x"], arrays["weight"], return_mask=True, **options)
    gradients = homfast.linear_relu_backward(
        tensors["grad"], tensors["x"], tensors["weight"], tensors["mask"], **options
    )
    others = homfast.linear_relu_backward(
        arrays["grad"], arrays["x"], arrays["weight"], arrays["mask"], **options
    )
    for tensor, other in zip((y, mask, *gradients), (wanted, bits, *others), strict=True):
        assert type(tensor) is torch.Tensor
        assert_same_bits(tensor.numpy(), other, str(engine))
    z = homfast.linear(tensors["x"], tensors["weight"], **options)
    assert type(z) is torch.Tensor


def test_torch_memory_is_shared(engine, torch, arrays):
    x = torch.from_numpy(arrays["x"])
    assert _arrays.host_array(x, "x").ctypes.data == x.data_ptr(), "x was copied"
    out = torch.zeros((20, 33), dtype=x.dtype)
    pointer = out.data_ptr()
    result = homfast.linear(x, arrays["weight"], out=out, backend=engine.backend)
    assert result is out and out.data_ptr() == pointer
    wanted = homfast.linear(arrays["x"], arrays["weight"], backend=engine.backend)
    assert_same_bits(out.numpy(), wanted, str(engine))


def test_torch_views(engine, torch, arrays):
    """Transposed, sliced and expanded tensors."""
    weight = torch.from_numpy(arrays["weight"])
    x = torch.from_numpy(np.ascontiguousarray(arrays["x"].T)).T
    wanted = homfast.linear(arrays["x"], arrays["weight"], backend=engine.backend)
    assert np.allclose(homfast.linear(x, weight, backend=engine.backend).numpy(), wanted, atol=1e-4)
    y = homfast.linear(x[::2], weight, backend=engine.backend)
    assert np.allclose(y.numpy(), wanted[::2], atol=1e-4)
    y = homfast.linear(x[:1].expand(20, 17), weight, backend=engine.backend)
    assert np.allclose(y.numpy(), np.tile(wanted[:1], (20, 1)), atol=1e-4)


def test_torch_that_is_refused(engine, torch, arrays):
    weight = torch.from_numpy(arrays["weight"])
    for name, bad, fix in (
        ("x", torch.from_numpy(arrays["x"]).requires_grad_(), r"x\.detach\(\)"),
        ("x", torch.from_numpy(arrays["x"]).to(torch.float16), "float32"),
        ("x", torch.from_numpy(arrays["x"]).to(torch.int32), "float32"),
        ("x", torch.from_numpy(arrays["x"]).to(torch.complex64), "float32"),
        ("x", torch.from_numpy(arrays["x"]).to_sparse(), "float32"),
        ("x", torch.empty((20, 17), device="meta"), "device|CPU"),
    ):
        with pytest.raises(TypeError, match=f"^{name}: got .*({fix})"):
            homfast.linear(bad, weight, backend=engine.backend)
    with pytest.raises(TypeError, match=r"^weight: got .*detach"):
        homfast.linear(weight, weight.clone().requires_grad_(), backend=engine.backend)
    grad = torch.zeros((20, 33), dtype=weight.dtype).requires_grad_()
    with pytest.raises(TypeError, match=r"^grad_output: got .*detach"):
        homfast.linear_relu_backward(grad, None, weight, None, backend=engine.backend)
    with pytest.raises(TypeError, match=r"^out: got .*detach"):
        homfast.linear(arrays["x"], weight, out=grad, backend=engine.backend)


def test_torch_memory_that_is_not_there(torch):
    """Freed, shortened, of a fake, of a subclass without any, or never given."""
    from torch._subclasses import FakeTensorMode
    from torch.testing._internal.two_tensor import TwoTensor

    weight, freed, short = torch.ones(5, 7), torch.ones(3, 7), torch.ones(3, 7)
    freed.untyped_storage().resize_(0)
    short.untyped_storage().resize_(3 * 7 * 4 - 1)
    with FakeTensorMode():
        fake = torch.full((3, 7), 5.0)
    op, net = homfast.measure.Gaussian(4, 7, seed=1), homfast.ReLUNetwork.random([7, 5], seed=0)
    for call in (op, net, lambda x: homfast.linear(x, weight)):
        for x in (freed, short, torch._efficientzerotensor(3, 7)):
            with pytest.raises(ValueError, match=r"^x: got a tensor of shape .* memory was freed"):
                call(x)
        for x in (fake, TwoTensor(torch.ones(3, 7), torch.ones(3, 7))):
            with pytest.raises(TypeError, match=r"^x: got a (Fake|Two)Tensor, which has no memory"):
                call(x)
    with pytest.raises(ValueError, match=r"^weight: got a tensor .* memory was freed"):
        homfast.linear_relu(torch.ones(2, 7), freed)
    freed.untyped_storage().resize_(3 * 7 * 4)
    freed.fill_(1)
    assert torch.equal(op(freed), op(torch.ones(3, 7)))
    assert op(torch.empty(0, 7)).shape == (0, 4)
    edge = torch.arange(9.0)[2:].expand(3, 7)
    assert torch.equal(op(edge), op(edge.clone()))


def test_torch_graphs_that_would_be_lost(torch):
    """Tangents and traces: they are refused, as gradients are, with what keeps them."""
    from torch.autograd import forward_ad
    from torch.fx.experimental.proxy_tensor import make_fx

    x, weight = torch.ones(3, 7), torch.ones(5, 7)
    op, net = homfast.measure.Gaussian(4, 7, seed=1), homfast.ReLUNetwork.random([7, 5], seed=0)
    for call in (op, net, lambda x: homfast.linear_relu(x, weight)):
        with (
            forward_ad.dual_level(),
            pytest.raises(TypeError, match=r"tangent would be lost; call homfast\.torch"),
        ):
            call(forward_ad.make_dual(x, x))
        for transform in (
            lambda f: make_fx(f)(x),
            lambda f: torch.jit.trace(lambda z: f(z), x),
            lambda f: torch.vmap(f)(x),
            lambda f: torch.func.jvp(f, (x,), (x,)),
            lambda f: torch.func.vjp(f, x),
        ):
            with pytest.raises(TypeError, match=r"^x: got .* homfast\.torch, or op\.to_torch"):
                transform(call)
        with forward_ad.dual_level():
            call(x)


def test_torch_compiled_around_a_call(torch):
    """The graph ends before it, and the call runs as it is."""
    x, weight = torch.randn(3, 7), torch.randn(5, 7)
    op, net = homfast.measure.Gaussian(4, 7, seed=1), homfast.ReLUNetwork.random([7, 5], seed=0)
    for call in (op, net, lambda x: homfast.linear_relu(x, weight)):
        torch._dynamo.reset()
        compiled = torch.compile(lambda x, call=call: call(2 * x) + 1, backend="eager")
        for _ in range(2):
            assert torch.equal(compiled(x), call(2 * x) + 1)
        with pytest.raises(torch._dynamo.exc.Unsupported):
            torch.compile(lambda x, call=call: call(x), backend="eager", fullgraph=True)(x)


def test_torch_subclass_gives_a_tensor(torch):
    class Named(torch.Tensor):
        pass

    x, weight = torch.ones(3, 7), torch.ones(5, 7)
    for kind in (lambda t: t.as_subclass(Named), lambda t: torch.nn.Parameter(t, False)):
        y, mask = homfast.linear_relu(kind(x), weight, return_mask=True)
        assert isinstance(y, torch.Tensor) and isinstance(mask, torch.Tensor)
        assert isinstance(homfast.measure.Gaussian(4, 7, seed=1)(kind(x)), torch.Tensor)


def test_torch_layouts_and_lazy_values(torch):
    x, op = torch.ones(3, 7), homfast.measure.Gaussian(4, 7, seed=1)
    spectrum = homfast.measure.Fourier(4, 7, seed=1)
    for call, bad, fix in (
        (op, x.to_sparse(), r"layout torch.sparse_coo.*to_dense"),
        (op, torch.nested.as_nested_tensor([x[0], x[1]]), r"nested.*to_padded_tensor"),
        (spectrum, torch.complex(x, x).conj(), r"conjugated.*resolve_conj"),
        (op, torch.complex(x, x).conj().imag, r"negated.*resolve_neg"),
    ):
        with pytest.raises(TypeError, match=f"^x: got a .*{fix}"):
            call(bad)


def test_torch_lazy_negation(engine, torch, arrays):
    """z.conj().imag shares memory that holds the other sign: its values, or TypeError."""
    x = torch.from_numpy(arrays["x"])
    lazy = torch.complex(x, x).conj().imag
    assert lazy.is_neg()
    try:
        y = homfast.linear(lazy, arrays["weight"], backend=engine.backend)
    except TypeError as error:
        assert str(error).startswith("x: ")
        return
    wanted = homfast.linear(-arrays["x"], arrays["weight"], backend=engine.backend)
    assert np.allclose(y.numpy(), wanted, atol=1e-4), f"{engine}: the negation was lost"


def test_networks_of_tensors(engine, torch, dtype, arrays):
    x = torch.from_numpy(arrays["x"])
    layer = torch.nn.Linear(17, 5, bias=False).to(x.dtype)
    net = ReLUNetwork([arrays["weight"], np.ones((17, 33), dtype), layer.weight.detach()],
                      backend=engine.backend)  # fmt: skip
    y, vjp = net.vjp(x)
    grad_input, grad_weights = vjp(torch.ones_like(y))
    direct = net.jvp(x, x)[1]
    for tensor in (net(x), y, grad_input, *grad_weights, direct, net.jacobian(x)):
        assert type(tensor) is torch.Tensor and tensor.dtype == x.dtype
    linearized = net.linearize(x)
    assert type(linearized.output) is type(linearized.forward(x)) is torch.Tensor
    assert type(linearized.adjoint(y)) is torch.Tensor
    assert type(linearized.forward(arrays["x"])) is np.ndarray, "of the library of v"
    assert_same_bits(net(x).numpy(), net(arrays["x"]), str(engine))
    assert net.to(x.to(torch.float64)).dtype == np.float64


def test_training_on_tensors(engine, torch, dtype, arrays):
    nets = [ReLUNetwork.random((17, 9, 33), dtype=dtype, backend=engine.backend) for _ in range(2)]
    pairs = [(arrays["x"], arrays["grad"])] * 3
    tensors = [tuple(map(torch.from_numpy, pair)) for pair in pairs]
    for net, batches in zip(nets, (pairs, tensors), strict=True):
        homfast.fit(net, batches, learning_rate=1e-2)
    for weight, other in zip(nets[0].weights, nets[1].weights, strict=True):
        assert_same_bits(other, weight, str(engine))


@pytest.mark.parametrize("wrapper", [Interface, Exporter])
def test_protocols(engine, arrays, wrapper):
    options = {"backend": engine.backend}
    wanted, bits = homfast.linear_relu(arrays["x"], arrays["weight"], return_mask=True, **options)
    wrapped = {name: wrapper(array) for name, array in arrays.items()}
    y, mask = homfast.linear_relu(wrapped["x"], wrapped["weight"], return_mask=True, **options)
    assert_same_bits(np.asarray(y), wanted, f"{engine} {wrapper.__name__}")
    assert_same_bits(np.asarray(mask), bits, f"{engine} {wrapper.__name__}")
    view = _arrays.host_array(wrapped["x"], "x")
    assert view.ctypes.data == arrays["x"].ctypes.data, "x was copied"
    gradients = homfast.linear_relu_backward(
        wrapped["grad"], wrapped["x"], wrapped["weight"], wrapped["mask"], **options
    )
    others = homfast.linear_relu_backward(
        arrays["grad"], arrays["x"], arrays["weight"], arrays["mask"], **options
    )
    for gradient, other in zip(gradients, others, strict=True):
        assert_same_bits(np.asarray(gradient), other, f"{engine} {wrapper.__name__}")


@pytest.mark.parametrize("kind", ["matrix", "memmap", "subclass", "recarray field", "0-d stride"])
def test_kinds_of_numpy_arrays(engine, arrays, dtype, tmp_path, kind):
    x = arrays["x"]
    if kind == "matrix":
        with pytest.warns(PendingDeprecationWarning):
            given = np.matrix(x)
    elif kind == "memmap":
        given = np.memmap(tmp_path / "x", dtype, "w+", shape=x.shape)
        given[...] = x
    elif kind == "subclass":
        given = x.view(type("Tagged", (np.ndarray,), {}))
    elif kind == "recarray field":
        given = np.zeros(x.shape, [("tag", "u1"), ("value", dtype)])["value"]
        given[...] = x
    else:
        given = np.lib.stride_tricks.as_strided(x, x.shape, (x.strides[0], x.strides[1]))
    y = homfast.linear(given, arrays["weight"], backend=engine.backend)
    wanted = homfast.linear(x, arrays["weight"], backend=engine.backend)
    assert type(y) is np.ndarray
    assert_same_bits(y, wanted, f"{engine} {kind}")


def test_inputs_live_as_long_as_the_call(engine, arrays):
    """Nothing else refers to what is passed in, or to what the views rest on."""
    wanted = homfast.linear(arrays["x"], arrays["weight"], backend=engine.backend)
    for _ in range(50):
        y = homfast.linear(
            Exporter(arrays["x"].copy()), Interface(arrays["weight"].copy()), backend=engine.backend
        )
        assert_same_bits(np.asarray(y), wanted, str(engine))
