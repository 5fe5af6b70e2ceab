"""Operators as PyTorch modules: one op, for eager calls, transforms, graphs and fakes."""

import copy
import io
import pickle

import numpy as np
import pytest
from operators import draw

torch = pytest.importorskip("torch")
from torch._subclasses import FakeTensorMode  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402
from torch.func import functionalize, grad, hessian, jacfwd, jacrev, jvp, vmap  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

import homfast.torch.operators  # noqa: E402
from homfast.measure import Dense, Fourier, Gaussian, Hadamard  # noqa: E402

M, N = 30, 50
CASES = {
    "single": lambda: Dense(np.random.default_rng(1).standard_normal((5, 8)).astype("f4")),
    "double": lambda: Gaussian(5, 8, dtype=np.float64),
    "complex": lambda: Fourier(5, 8, dtype=np.complex128),
    "on reals": lambda: Fourier(5, 8, dtype=np.complex128, real_input=True),
    "batch": lambda: Gaussian(5, 8, seed=np.arange(3), dtype=np.float64),
}
close = torch.testing.assert_close


@pytest.fixture(params=["forward", "adjoint"])
def way(request):
    return request.param


@pytest.fixture(params=list(CASES))
def case(request, way):
    """A product, the same in PyTorch's own operations, and two inputs."""
    return make_case(CASES[request.param](), way)


def make_case(op, way):
    module, rng = op.to_torch(), np.random.default_rng(2)
    matrix = torch.from_numpy(np.asarray(op.to_dense()))
    if way == "adjoint":
        matrix = matrix.mH
    source, result = op.input_dtype, op.output_dtype
    if way == "adjoint":
        source, result = result, source

    def plain(x):
        y = (x.to(matrix.dtype).unsqueeze(-2) @ matrix.mT).squeeze(-2)
        return y if result.kind == "c" else y.real if y.is_complex() else y

    x, v = (torch.from_numpy(draw(rng, (3, matrix.shape[-1]), source)) for _ in range(2))
    return (module if way == "forward" else module.adjoint), plain, x, v


def size(product):
    """A real number to differentiate."""
    return lambda x: product(x).abs().square().sum()


@pytest.fixture
def compiled():
    """What makes a graph of a function."""
    torch._dynamo.reset()
    yield lambda f, **options: torch.compile(f, **{"backend": "aot_eager", **options})
    torch._dynamo.reset()


def along(product):
    return lambda x, v: jvp(product, (x,), (v,))[1]


def dual(product):
    def derivative(x, v):
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(product(forward_ad.make_dual(x, v))).tangent

    return derivative


# Values and derivatives ---------------------------------------------------------------------------


def test_products_and_gradients():
    op = Gaussian(M, N, seed=3, dtype=np.float64)
    module, matrix = op.to_torch(), torch.from_numpy(op.to_dense())
    assert isinstance(module, torch.nn.Module) and not list(module.parameters())
    x = torch.linspace(-1, 1, 2 * N, dtype=torch.float64).reshape(2, N).requires_grad_()
    torch.testing.assert_close(module(x), x @ matrix.T)
    torch.testing.assert_close(module.adjoint(module(x)), x @ matrix.T @ matrix)
    (grad,) = torch.autograd.grad(module(x).sum(), x)
    torch.testing.assert_close(grad, matrix.sum(0).expand(2, N))
    assert torch.autograd.gradcheck(module, (x,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda v: (module.adjoint(module(v)) ** 2).sum(), (x,))


def test_conjugates():
    """Lazily conjugated and negated tensors, as autograd hands them back."""
    op = Fourier(5, 8)
    module, matrix = op.to_torch(), torch.from_numpy(op.to_dense())
    x = torch.randn(3, 8, dtype=torch.complex64, requires_grad=True)
    gradients = []
    for product in (module, lambda x: x @ matrix.T):
        y = product(x)
        gradients += torch.autograd.grad((y.conj() * y).real.sum(), x)
    torch.testing.assert_close(*gradients)
    with torch.no_grad():
        torch.testing.assert_close(module(x.conj()), module(x.conj().resolve_conj()))
        real = Gaussian(5, 8).to_torch()
        torch.testing.assert_close(real(x.conj().imag), -real(x.imag))


def test_func():
    op = Gaussian(M, N, seed=3, dtype=np.float64)
    module, matrix = op.to_torch(), torch.from_numpy(op.to_dense())
    x = torch.linspace(-1, 1, 2 * N, dtype=torch.float64).reshape(2, N)
    y, vjp = torch.func.vjp(module, x)
    torch.testing.assert_close(vjp(y)[0], y @ matrix)
    torch.testing.assert_close(torch.func.jvp(module, (x,), (x,))[1], y)
    torch.testing.assert_close(torch.func.vmap(module, in_dims=1)(x.T), y)
    torch.testing.assert_close(torch.func.jacrev(module)(x[0]), matrix)
    torch.testing.assert_close(torch.func.jacfwd(module)(x[0]), matrix)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gaussian(5, 8, dtype=np.float64),
        lambda: Fourier(5, 8, dtype=np.complex128),
        lambda: Fourier(5, 8, dtype=np.complex128, real_input=True),
        lambda: Gaussian(5, 8, seed=np.arange(3), dtype=np.float64),
    ],
    ids=["real", "complex", "on reals", "batch"],
)
def test_compiles_and_exports(make):
    """Graphs have one op a product, with shapes, gradients and batches of calls."""
    op = make()
    module = op.to_torch()
    x = torch.from_numpy(draw(np.random.default_rng(1), (3, 8), op.input_dtype)).requires_grad_()

    def loss(x):
        return (module.adjoint(module(2 * x)) * x).abs().sum()

    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="aot_eager")
    for call in (loss, compiled):
        y = call(x)
        torch.testing.assert_close(y, loss(x))
        torch.testing.assert_close(torch.autograd.grad(y, x), torch.autograd.grad(loss(x), x))
    for strict in (False, True):
        program = torch.export.export(module, (x.detach(),), strict=strict)
        names = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
        assert names == ["homfast.measure.default"]
        torch.testing.assert_close(program.module()(x.detach()), module(x.detach()))
    key, ops = module.key, torch.ops.homfast
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    for adjoint, rows in ((False, x), (True, module(x).detach().requires_grad_())):
        torch.library.opcheck(ops.measure.default, (rows, key, adjoint), test_utils=checks)


def test_compiled_errors():
    module = Gaussian(5, 8).to_torch()
    compiled = torch.compile(lambda x: module(x), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match=r"x: got shape \(2, 7\), wanted \(\.\.\., 8\)"):
        compiled(torch.ones(2, 7))
    with pytest.raises(Exception, match=r"x: got torch.float64, wanted torch.float32"):
        compiled(torch.ones(2, 8, dtype=torch.float64))
    gone = Gaussian(5, 8).to_torch().key
    with pytest.raises(RuntimeError, match="keep the module that"):
        torch.ops.homfast.measure(torch.ones(2, 8), gone, False)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gaussian(9, 7, dtype=np.complex128),
        lambda: Fourier(5, 7, dtype=np.complex128, real_input=True),
        lambda: Hadamard(6, 7, dtype=np.float64),
        lambda: Gaussian(9, 7, seed=np.arange(3), dtype=np.float64),
    ],
    ids=["complex", "on reals", "hadamard", "batch"],
)
def test_gradients_of_other_families(make):
    op = make()
    module = op.to_torch()
    kind = torch.complex128 if op.input_dtype.kind == "c" else torch.float64
    x = torch.from_numpy(draw(np.random.default_rng(1), (3, 7), op.input_dtype)).requires_grad_()
    assert x.dtype == kind
    assert torch.autograd.gradcheck(module, (x,))
    assert torch.autograd.gradcheck(lambda v: module.adjoint(module(v)), (x,))


def test_module_refuses_and_copies():
    op = Gaussian(M, N)
    module = op.to_torch()
    with pytest.raises(TypeError, match=r"x: got torch.float64, wanted torch.float32"):
        module(torch.ones(N, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"^x: got torch.complex64 for a real operator"):
        module(torch.ones(N, dtype=torch.complex64))
    assert repr(op) in repr(module)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert other.operator == op


def test_derivatives_by_finite_differences(case):
    product, plain, x, _ = case
    close(product(x), plain(x))
    if x.dtype in (torch.float64, torch.complex128):
        x.requires_grad_()
        options = {"check_forward_ad": True, "check_batched_grad": True}
        assert torch.autograd.gradcheck(product, x, check_batched_forward_grad=True, **options)
        assert torch.autograd.gradgradcheck(product, x, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(size(product), x, check_fwd_over_rev=True)


def test_transforms(case):
    product, plain, x, v = case
    close(along(product)(x, v), plain(v))
    close(dual(product)(x, v), plain(v))
    close(grad(size(product))(x), grad(size(plain))(x))
    close(functionalize(product)(x), plain(x))
    stack = torch.stack([x, v, x + v])
    for dim in range(2):
        close(vmap(product, dim)(stack.movedim(0, dim)), vmap(plain)(stack))
    close(vmap(grad(size(product)))(stack), vmap(grad(size(plain)))(stack))
    if not x.is_complex():
        close(hessian(size(product))(x), hessian(size(plain))(x))
        if not plain(x).is_complex():  # of which jacrev and jacfwd take nobody's
            close(jacrev(product)(x), jacrev(plain)(x))
            nested = jacfwd(jacfwd(lambda x: product(x * x)))(x)
            close(nested, jacfwd(jacfwd(lambda x: plain(x * x)))(x))


def test_a_batch_of_gradients_at_once(case):
    product, plain, x, _ = case
    x.requires_grad_()
    y, wanted = product(x), plain(x)
    rows = torch.stack([torch.ones_like(y), wanted.detach()])
    close(*(torch.autograd.grad(z, x, rows, is_grads_batched=True)[0] for z in (y, wanted)))


def test_a_graph_keeps_its_operator():
    """Of modules that nobody else keeps."""
    op, x = Gaussian(5, 8), torch.ones(2, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(op.to_torch()(x).sum(), x)
    close(gradient, torch.from_numpy(op.adjoint(np.ones((2, 5), np.float32))))


def test_real_input_of_a_complex_operator():
    """As the operators take it; its gradients are real."""
    product, plain, _, _ = make_case(CASES["complex"](), "forward")
    x = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    close(product(x), plain(x))
    (gradient,) = torch.autograd.grad(size(product)(x), x)
    close(gradient, torch.autograd.grad(size(plain)(x), x)[0])
    assert torch.autograd.gradcheck(product, x, check_forward_ad=True)
    assert product(x.to("meta")).dtype is torch.complex128


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 2)])
def test_empty_batches(shape):
    """With the strides that PyTorch gives them."""
    for make in (CASES["single"], lambda: Fourier(5, 8)):
        product, _, x, _ = make_case(make(), "forward")
        x = x.new_empty((*shape, 8)).requires_grad_()
        y = product(x)
        assert y.shape == (*shape, 5) and y.stride() == torch.empty(*shape, 5).stride()
        (gradient,) = torch.autograd.grad(y.real.sum(), x)
        assert gradient.shape == x.shape
        layer = homfast.torch.linear_relu(x.detach().real, torch.ones(5, 8))
        assert layer.stride() == y.stride()


# Graphs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("derivative", [along, dual])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_tangents(case, compiled, derivative, backend):
    """Also where only the graph enters a level of forward mode."""
    product, plain, x, v = case
    close(compiled(derivative(product), backend=backend)(x, v), plain(v))


def test_compiled_gradients(case, compiled):
    product, plain, x, _ = case
    close(compiled(grad(size(product)))(x), grad(size(plain))(x))
    if not x.is_complex() and not plain(x).is_complex():
        for jacobian in (jacrev, jacfwd):
            torch._dynamo.reset()
            close(compiled(jacobian(product))(x), jacobian(plain)(x))


def test_compiled_tangents_of_a_network(compiled):
    weights = [torch.randn(6, 8), torch.randn(5, 6)]
    x, v = torch.randn(3, 8), torch.randn(3, 8)

    def ours(x):
        return homfast.torch.relu_network(x, weights)

    wanted = along(ours)(x, v)
    close(compiled(along(ours))(x, v), wanted)
    close(compiled(dual(ours), backend="eager")(x, v), wanted)
    torch._dynamo.reset()
    close(along(compiled(ours))(x, v), wanted)


def test_transforms_of_compiled_modules(compiled):
    """Dynamo then sees eager calls, and must leave what computes alone."""
    product, plain, x, v = make_case(CASES["single"](), "forward")
    transforms = (vmap, lambda f: grad(size(f)), lambda f: lambda x: along(f)(x, v))
    for transform in transforms:
        torch._dynamo.reset()
        close(transform(compiled(product))(x), transform(plain)(x))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx(case, mode):
    method, plain, x, v = case

    def product(x):  # make_fx counts self among the arguments of a method
        return method(x)

    close(make_fx(product, tracing_mode=mode)(x)(v), plain(v))
    close(make_fx(grad(size(product)), tracing_mode=mode)(x)(v), grad(size(plain))(v))
    close(make_fx(along(product), tracing_mode=mode)(x, x)(x, v), plain(v))
    close(make_fx(vmap(product), tracing_mode=mode)(x[None])(v[None]), plain(v)[None])


def test_opcheck(case):
    product, _, x, _ = case
    module = getattr(product, "__self__", product)
    arguments = (x.requires_grad_(), module.key, product is not module)
    torch.library.opcheck(torch.ops.homfast.measure.default, arguments)


def test_torchscript_traces():
    product, plain, x, v = make_case(CASES["single"](), "forward")
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(product, x), file)
    file.seek(0)
    close(torch.jit.load(file)(v), plain(v))


def test_graphs_of_another_process_find_nothing():
    """Rather than an operator that happens to have the number."""
    assert Gaussian(5, 8).to_torch().key > 1 << 32


# Tensors that are not plain -----------------------------------------------------------------------


def test_fake_and_meta_tensors(case):
    product, plain, x, _ = case
    wanted, mode = plain(x), FakeTensorMode()
    for requires_grad in (False, True):
        fake = product(mode.from_tensor(x.requires_grad_(requires_grad)))
        assert type(fake).__name__ == "FakeTensor"
        meta = product(x.detach().to("meta").requires_grad_(requires_grad))
        for y in (fake, meta):
            assert (y.shape, y.dtype) == (wanted.shape, wanted.dtype)


class Named(torch.Tensor):
    """A subclass without anything of its own."""


def test_subclasses_stay_what_they_are():
    product, plain, x, _ = make_case(CASES["single"](), "forward")
    y = product(x.as_subclass(Named))
    assert type(y) is Named
    close(y.as_subclass(torch.Tensor), plain(x))
    leaf = x.clone().requires_grad_()
    product(leaf.as_subclass(Named)).sum().backward()
    close(leaf.grad, grad(lambda x: plain(x).sum())(x))
    assert type(product(torch.nn.Parameter(x))) is torch.Tensor


# Modules ------------------------------------------------------------------------------------------


class Measured(homfast.torch.operators.OperatorModule):
    """Somebody's own."""


def note(module, inputs, output):
    module.seen = output.shape


def test_copies_are_whole():
    module = Measured(Gaussian(5, 8))
    module.register_buffer("scale", torch.ones(3))
    module.inner = torch.nn.Linear(2, 2)
    module.note = "kept"
    module.register_forward_hook(note)
    module.eval()
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    copies = (
        copy.copy(module), copy.deepcopy(module), pickle.loads(pickle.dumps(module)),
        torch.load(file, weights_only=False),
    )  # fmt: skip
    x = torch.randn(2, 8)
    for other in copies:
        assert type(other) is Measured and other.note == "kept" and not other.training
        assert list(other.state_dict()) == list(module.state_dict())
        close(other(x), module(x), rtol=0, atol=0)
        assert other.seen == (2, 5)
    assert len({m.key for m in (module, *copies)}) == 5


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda x: x.numpy(), r"got numpy.ndarray, wanted a torch.Tensor"),
        (lambda x: x.double(), r"got torch.float64, wanted torch.float32, .* pass \w.to\("),
        (lambda x: x.bfloat16(), r"got torch.bfloat16, wanted torch.float32"),
        (lambda x: x.to(torch.complex64), r"got torch.complex64 for a real operator"),
        (lambda x: x.to_sparse(), r"got a tensor of layout torch.sparse_coo"),
        (lambda x: x.to_sparse_csr(), r"got a tensor of layout torch.sparse_csr"),
        (lambda x: torch.nested.nested_tensor([x, x]), r"got a nested tensor"),
        (lambda x: x[:, :3], r"got shape \(2, 3\), wanted \(\.\.\., \d\)"),
        (lambda x: x[0, 0], r"got shape \(\), wanted \(\.\.\., \d\)"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of layouts in beta
def test_refusals_name_the_argument(way, what, message):
    product, _, _, _ = make_case(CASES["single"](), way)
    x, name = torch.ones(2, 8 if way == "forward" else 5), "x" if way == "forward" else "y"
    with pytest.raises((TypeError, ValueError), match=f"^{name}: {message}"):
        product(what(x))


def test_a_batch_of_operators_wants_its_axis():
    module = CASES["batch"]().to_torch()
    for device in ("cpu", "meta"):
        with pytest.raises(ValueError, match=r"^x: got leading axes \(2,\), wanted \(3, \.\.\.\)"):
            module(torch.ones(2, 8, dtype=torch.float64, device=device))


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_layers_refuse_sparse_tensors(rows, layout):
    weights, x = [torch.ones(8, 8), torch.ones(4, 8)], torch.ones(rows, 8)
    sparse = getattr(weights[1], layout)()
    for leaf in (x, x.clone().requires_grad_()):
        with pytest.raises(TypeError, match=r"^weights\[1\]: got a tensor of layout"):
            homfast.torch.relu_network(leaf, [weights[0], sparse])
        with pytest.raises(TypeError, match=r"^x: got a tensor of layout"):
            homfast.torch.relu_network(getattr(leaf, layout)(), weights)
