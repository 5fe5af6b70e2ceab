"""Few rows without a derivative: a network runs on tensors' memory, past PyTorch's dispatcher.

Other tests of modules hold for either way; here bits are compared with the op's, and it is looked
at which way a call goes.
"""

import ctypes
import itertools
import sys
from unittest import mock

import pytest
from processes import output

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import homfast  # noqa: E402
from homfast import _backends  # noqa: E402
from homfast._backends import native  # noqa: E402
from homfast.torch import FusedSequential, LinearReLU, linear_relu, relu_network, short_way  # noqa: E402

pytestmark = pytest.mark.skipif(
    not hasattr(torch.Tensor, "__dlpack_c_exchange_api__"), reason="this PyTorch has no C exchange"
)
CHAINS = [(1, 1), (5, 3), (7, 1, 9), (32, 129, 128, 64), (3, 200, 5, 200, 2)]


def chain(widths, slope=0.0, last_relu=False, dtype=torch.float32):
    children = []
    for fan_in, fan_out in itertools.pairwise(widths):
        children.append(nn.Linear(fan_in, fan_out, bias=False, dtype=dtype))
        children.append(nn.LeakyReLU(slope) if slope else nn.ReLU())
    if len(children) > 2 and not last_relu:
        children.pop()
    return FusedSequential(*children)


@torch.no_grad()
def by_the_op(net, x):
    (part,) = net._parts()
    return the_op(x, part.weights(), part.slope, part.last_relu, net.precision)


def the_op(*arguments):
    """Of PyTorch's dispatcher, and without the exchange of memory."""
    with mock.patch.object(short_way, "EXCHANGE", None):
        return torch.ops.homfast.relu_network(*arguments)


@pytest.fixture
def ways(monkeypatch, native_engine):
    """The way of each call: True for the short one."""
    monkeypatch.delenv("HOMFAST_BACKEND", raising=False)
    monkeypatch.setattr(_backends, "_automatic", None)
    taken = []

    def watch(name):
        real = getattr(native, name)

        def watched(*arguments):
            result = real(*arguments)
            taken.append(result is not None)
            return result

        monkeypatch.setattr(native, name, watched)

    for name in ("exchanged_forward", "exchanged_keep", "exchanged_backward"):
        watch(name)
    torch.manual_seed(20240823)
    return taken


@pytest.mark.parametrize("widths", CHAINS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", [{}, {"slope": 0.3}, {"last_relu": True}], ids=str)
@torch.no_grad()
def test_the_bits_of_the_op(ways, widths, dtype, options):
    net = chain(widths, dtype=dtype, **options)
    for rows in (1, 2, 15, 16, 17, 64):
        x = torch.randn(rows, widths[0], dtype=dtype)
        x[0, 0], x[-1, -1] = torch.nan, torch.inf
        y = net(x)
        assert torch.equal(y.view(torch.uint8), by_the_op(net, x).view(torch.uint8)), rows
        assert y.is_contiguous() and not y.requires_grad and y.dtype == dtype
    assert ways == [True] * 6


@torch.no_grad()
def test_layouts(ways):
    """Of x and of weights, that need no copy."""
    net = chain((6, 40, 3))
    wide, flat = torch.randn(8, 9), torch.randn(6)
    for x in (flat, wide[:, 1:7], wide[::2, :6], torch.randn(2, 3, 6), torch.randn(1, 1, 1, 6)):
        y = net(x)
        assert y.shape == (*x.shape[:-1], 3) and torch.equal(y, by_the_op(net, x)), x.shape
    net[0].weight = nn.Parameter(torch.randn(40, 9)[:, 2:8])
    net[2].weight = nn.Parameter(torch.randn(6, 40)[::2])
    assert torch.equal(net(flat), by_the_op(net, flat))
    # Axes of length one may have any stride.
    odd = torch.randn(40).as_strided((1, 6), (17, 1))
    assert torch.equal(net(odd), by_the_op(net, odd))
    assert all(ways), ways
    kept = net(flat)
    before = kept.clone()
    net(-flat)
    assert torch.equal(kept, before), "each result has memory of its own"


@torch.no_grad()
def test_what_goes_the_long_way(ways):
    """And arrives: a copy is needed, or there is nothing to compute, or much."""
    net = chain((6, 40, 3))
    misaligned = torch.frombuffer(bytearray(6 * 4 + 1), dtype=torch.float32, offset=1)
    cases = {
        "reversed axes": torch.randn(6, 5).t(),
        "axes that do not merge": torch.randn(2, 6, 6)[:, ::2],
        "every other column": torch.randn(2, 12)[:, ::2],
        "one number a row": torch.randn(3, 1).expand(3, 6),
        "no rows": torch.empty(0, 6),
        "more rows": torch.randn(65, 6),
        "negated": torch.randn(6, dtype=torch.complex64).conj().imag,
        "misaligned": misaligned,
    }
    for name, x in cases.items():
        ways.clear()
        y = net(x)
        assert any(ways) == (name == "negated"), name  # which the op has negated by then
        assert torch.equal(y, by_the_op(net, x)) and y.shape == (*x.shape[:-1], 3), name
    large, x = chain((2000, 1001)), torch.randn(1, 2000)
    assert torch.equal(large(x), by_the_op(large, x)) and not any(ways)
    square, x = chain((6, 6)), torch.randn(1, 6)
    square[0].weight.data = square[0].weight.data.t()
    assert torch.equal(square(x), by_the_op(square, x)) and not any(ways)
    none = chain((6, 40, 3))
    none[2].weight = nn.Parameter(torch.empty(0, 40))
    assert none(x).shape == (1, 0) and not any(ways)


@torch.no_grad()
def test_errors_are_those_of_the_op(ways):
    net = chain((6, 40, 3))
    cases = {
        TypeError: [torch.randn(2, 6, dtype=torch.float64), torch.ones(6, dtype=torch.int64),
                    torch.randn(2, 6, dtype=torch.complex64), torch.eye(6).to_sparse()],
        ValueError: [torch.randn(2, 5), torch.tensor(1.0)],
    }  # fmt: skip
    for error, given in cases.items():
        for x in given:
            with pytest.raises(error, match=r"^(x|weights)"):
                net(x)
    net[2].weight = nn.Parameter(torch.randn(3, 41))
    with pytest.raises(ValueError, match=r"weights\[1\]"):
        net(torch.randn(1, 6))
    assert not any(ways)


def test_who_wants_a_derivative(ways):
    net, x = chain((6, 40, 3)), torch.randn(2, 6)
    assert net(x).requires_grad
    net.requires_grad_(False)
    assert net(x.requires_grad_()).requires_grad
    assert not net(x.detach()).requires_grad
    with torch.no_grad():
        assert not net(x).requires_grad
    assert ways == [True] * 4


def results_of_training(net, x, wanted):
    leaf = x.clone().requires_grad_()
    y = net(leaf)
    y.backward(wanted)
    gradients = [leaf.grad, *(p.grad for p in net.parameters())]
    net.zero_grad()
    return [y.detach(), *gradients]


@pytest.mark.parametrize("widths", CHAINS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", [{}, {"slope": 0.3}, {"last_relu": True}], ids=str)
def test_the_bits_of_training(ways, monkeypatch, widths, dtype, options):
    net = chain(widths, dtype=dtype, **options)
    for rows in (1, 2, 15, 16, 17, 64):
        x = torch.randn(rows, widths[0], dtype=dtype)
        x[0, 0], x[-1, -1] = torch.nan, torch.inf
        wanted = torch.randn(rows, widths[-1], dtype=dtype)
        short = results_of_training(net, x, wanted)
        assert ways == [True, True], rows
        with monkeypatch.context() as patch:
            patch.setattr(short_way, "EXCHANGE", None)
            long = results_of_training(net, x, wanted)
        for ours, theirs in zip(short, long, strict=True):
            assert torch.equal(ours.view(torch.uint8), theirs.view(torch.uint8)), rows
            assert ours.is_contiguous() and ours.stride() == theirs.stride()
        assert ways == [True, True]
        ways.clear()


@pytest.mark.parametrize("needed", ["input", "weights"])
def test_one_of_the_gradients(ways, needed):
    net, x = chain((6, 40, 40, 3)), torch.randn(2, 3, 6)
    wanted = torch.randn(2, 3, 3)
    both = results_of_training(net, x, wanted)
    if needed == "input":
        net.requires_grad_(False)
        leaf = x.clone().requires_grad_()
        net(leaf).backward(wanted)
        assert torch.equal(leaf.grad, both[1]) and leaf.grad.shape == x.shape
    else:
        net(x).backward(wanted)
        for p, gradient in zip(net.parameters(), both[2:], strict=True):
            assert torch.equal(p.grad, gradient)
    assert ways == [True] * 4


def test_gradients_that_go_the_long_way(ways):
    """Of a sum they are expanded; second ones are not ours to compute at once."""
    net, x = chain((6, 40, 3)), torch.randn(2, 6)
    net(x).sum().backward()
    assert ways == [True, False]
    expected = nn.Sequential.forward(net, x).sum()
    for p, wanted in zip(
        net.parameters(), torch.autograd.grad(expected, net.parameters()), strict=True
    ):
        torch.testing.assert_close(p.grad, wanted)
    net = chain((3, 7, 2), dtype=torch.float64)
    leaf = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(net, (leaf,))
    assert torch.autograd.gradcheck(net, (leaf,))


def test_zeros_without_memory(ways):
    """As forward mode passes for tangents that nobody gave: they have no values to look at."""
    weight, x = torch.randn(3, 4, requires_grad=True), torch.randn(1, 4)
    none = torch._efficientzerotensor
    with torch.no_grad():
        assert torch.equal(linear_relu(none(1, 4), weight), torch.zeros(1, 3))
        assert torch.equal(linear_relu(x, none(3, 4)), torch.zeros(1, 3))
    linear_relu(x, weight).backward(none(1, 3))
    assert torch.equal(weight.grad, torch.zeros(3, 4))


def test_inference_mode(ways):
    net, x = chain((6, 40, 3)), torch.randn(2, 6)
    with torch.inference_mode():
        assert net(x).is_inference() == torch.from_numpy(x.numpy()).is_inference()
    assert ways == [True]


class _Table(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32)] + [
        (name, ctypes.c_void_p) for name in ("older", "allocate", "own", "to", "look", "stream")
    ]


def own_table():
    """A copy of PyTorch's, to change."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = get(short_way.EXCHANGE, b"dlpack_exchange_api")
    return _Table.from_buffer_copy(ctypes.string_at(address, ctypes.sizeof(_Table)))


def capsule(table, name=b"dlpack_exchange_api"):
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    return new(ctypes.addressof(table), name, None)


@pytest.mark.parametrize("change", [{"major": 2}, {"look": None}], ids=str)
@torch.no_grad()
def test_other_tables(ways, monkeypatch, change):
    """Of another version, or that lets nobody look, they are not used."""
    table = own_table()
    net, x = chain((6, 40, 3)), torch.randn(2, 6)
    monkeypatch.setattr(short_way, "EXCHANGE", capsule(table))
    assert torch.equal(net(x), by_the_op(net, x)) and ways == [True]
    for name, value in change.items():
        setattr(table, name, value)
    assert torch.equal(net(x), by_the_op(net, x)) and ways == [True, False]
    with pytest.raises(ValueError, match="PyCapsule_GetPointer"):
        homfast._native.exchanged_forward(capsule(table, b"other"), x, [net[0].weight], 0.0, False)


@torch.no_grad()
def test_without_an_exchange(ways, monkeypatch):
    net, x = chain((6, 40, 3)), torch.randn(2, 6)
    monkeypatch.setattr(short_way, "EXCHANGE", None)
    assert torch.equal(net(x), by_the_op(net, x)) and not ways


@torch.no_grad()
def test_no_memory_for_the_result(ways, monkeypatch):
    """What PyTorch says is what arrives, and the next call works."""
    kinds = (b"MemoryError", MemoryError), (b"RuntimeError", RuntimeError)
    table = own_table()
    say = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p)
    allocate = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
    )
    net, x = chain((6, 40, 3)), torch.randn(2, 6)
    for kind, error in kinds:

        @allocate
        def full(like, out, context, set_error, kind=kind):
            ctypes.cast(set_error, say)(context, kind, b"no memory is left")
            return -1

        table.allocate = ctypes.cast(full, ctypes.c_void_p).value
        with monkeypatch.context() as patch:
            patch.setattr(short_way, "EXCHANGE", capsule(table))
            with pytest.raises(error, match="no memory is left"):
                net(x)
        assert torch.equal(net(x), by_the_op(net, x))


@torch.no_grad()
def test_functions_and_layers(ways):
    x, weight = torch.randn(2, 6), torch.randn(40, 6)
    for slope in (0.0, -1.5):
        y = the_op(x, [weight], slope, True, "highest")
        assert torch.equal(linear_relu(x, weight, slope), y)
        layer = LinearReLU(6, 40, negative_slope=slope)
        layer.weight.copy_(weight)
        assert torch.equal(layer(x), y)
    y = the_op(x, [weight, weight.mT.contiguous()], 0.0, False, "highest")
    assert torch.equal(relu_network(x, [weight, weight.mT.contiguous()]), y)
    assert ways == [True] * 5
    ways.clear()
    y = the_op(x, [weight], 1.0, True, "highest")
    assert torch.equal(linear_relu(x, weight, 1), y), "an integer for a slope"
    assert ways == [True], "the op takes the exchange too"
    ways.clear()
    for bad in (torch.inf, torch.nan, 1e39):
        with pytest.raises(ValueError, match="negative_slope"):
            linear_relu(x, weight, bad)
    with pytest.raises(ValueError, match="precision: got 'low'"):
        linear_relu(x, weight, precision="low")
    assert not any(ways)


# Signal handlers ----------------------------------------------------------------------------------

SWAPPED = """
import signal
import torch
import homfast
import homfast.torch

homfast.set_num_threads(1)
layer = homfast.torch.LinearReLU(6000, 6000)
ones = torch.ones(6000, 6000)
x = torch.ones(64, 6000, requires_grad=True)
ran = []

def handler(*_):
    layer.weight.data = torch.empty(6000, 0)  # as model.to() does; nobody else has the old memory
    ran.append(1)

signal.signal(signal.SIGALRM, handler)
for attempt in range(10):
    layer.weight.data = ones.clone()
    signal.setitimer(signal.ITIMER_REAL, 0.014 + 0.002 * attempt)
    try:
        y = layer(x)
    except (RuntimeError, ValueError):  # the weight had no columns before the call read it
        ran.clear()
        continue
    signal.setitimer(signal.ITIMER_REAL, 0)
    if ran:
        break
assert ran and (y == 6000).all()
print("right")
"""
BRIEF = """
import os, random, signal, time
import torch
import homfast
import homfast.torch

homfast.set_num_threads(1)
torch.set_num_threads(1)
layer = homfast.torch.LinearReLU(41_000, 48)
layer.weight.data = torch.ones(48, 41_000)
x = torch.ones(1, 41_000)

def handler(number, frame):
    if "short_way" in frame.f_code.co_filename:
        old = layer.weight.data
        layer.weight.data = torch.empty(48, 0)
        old.fill_(float("nan"))  # as who is given that memory next may do

signal.signal(signal.SIGUSR1, handler)
own = os.getpid()
child = os.fork()
if not child:
    end = time.perf_counter() + 4
    while time.perf_counter() < end:  # calls stand still longer than between two looks at signals
        time.sleep(random.random() * 0.002)
        for number in (signal.SIGSTOP, signal.SIGUSR1):
            os.kill(own, number)
        time.sleep(0.011)
        os.kill(own, signal.SIGCONT)
    os._exit(0)
with torch.no_grad():
    while os.waitpid(child, os.WNOHANG) == (0, 0):  # who stops this process wakes it, and then ends
        if layer.weight.numel() == 0:
            layer.weight.data = torch.ones(48, 41_000)
        try:
            y = layer(x)
        except (RuntimeError, ValueError):  # the weight had no columns before the call read it
            continue
        assert (y == 41_000).all()
print("right")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="stops a process by signals")
@pytest.mark.parametrize("code", [SWAPPED, BRIEF], ids=["long way", "short way"])
def test_a_handler_that_gives_a_weight_other_memory(code):
    assert output(code, timeout=100) == "right"
