"""What cannot be on a CUDA device is refused by name, and the next call works."""

import types

import numpy as np
import pytest

import homfast
from homfast import _backends, measure
from homfast._backends import cuda, device_library

pytest_plugins = ("cuda_device",)


@pytest.fixture
def machine(emulation, monkeypatch):
    """The emulated machine, and the choice of a backend made anew."""
    monkeypatch.setattr(_backends, "_automatic_on_gpu", None)
    return emulation


@pytest.fixture
def pair(machine):
    x, weight = np.ones((3, 4), np.float32), np.ones((2, 4), np.float32)
    return machine.array(x), machine.array(weight)


def works(pair):
    assert (homfast.linear(*pair).host == 4).all()


# Devices -----------------------------------------------------------------------------------------


def test_arrays_on_two_devices(machine, pair):
    x, weight = pair
    other = machine.array(np.ones((2, 4), np.float32), 1)
    with pytest.raises(TypeError, match=r"^weight: got an array on GPU 1 beside x on GPU 0, .*"):
        homfast.linear(x, other)
    with pytest.raises(TypeError, match=r"^out: got an array on GPU 1 beside the inputs on GPU 0"):
        homfast.linear(x, weight, out=machine.empty((3, 2), np.float32, 1))
    with pytest.raises(TypeError, match=r"^x: got an array on GPU 1 beside the weights of the net"):
        homfast.ReLUNetwork([weight])(machine.array(np.ones((3, 4), np.float32), 1))
    with pytest.raises(TypeError, match=r"^matrix: got an array on GPU 0 beside the rows on GPU 1"):
        measure.Dense(weight)(machine.array(np.ones((3, 4), np.float32), 1))
    works(pair)
    second = machine.array(np.ones((3, 4), np.float32), 1)
    assert homfast.linear(second, other).device == 1  # each device by itself
    assert measure.Gaussian(2, 4, seed=1)(second).device == 1
    assert measure.SparseSign(2, 4, nonzeros_per_column=1)(second).device == 1
    assert measure.SparseSign(2, 4, nonzeros_per_column=1)(x).device == 0


def test_tables_of_an_operator_are_of_their_device(machine, rng):
    op = measure.Hadamard(5, 8, seed=2)
    x = rng.integers(-3, 4, (2, 8)).astype(np.float32)
    for device in (0, 1, 0):
        found = op(machine.array(x, device))
        assert found.device == device
        np.testing.assert_array_equal(found.host, op(x))
    for op in (measure.Entries([5, 1, 5], (2, 4)), measure.RankOne(5, (2, 4))):
        for device in (0, 1, 0):
            found = op.gram(machine.array(x, device))
            assert found.device == device
            np.testing.assert_allclose(found.host, op.gram(x), rtol=1e-5)
            factors = [machine.array(np.ones((d, 1), np.float32), device) for d in (2, 4)]
            assert op.forward_factors(*factors).device == device
        with pytest.raises(TypeError, match=r"^V: got an array on GPU 0 beside U on GPU 1"):
            op.forward_factors(
                machine.array(np.ones((2, 1), np.float32), 1),
                machine.array(np.ones((4, 1), np.float32), 0),
            )


def test_arrays_of_two_libraries(machine, pair, monkeypatch):
    other = type("Tensor", (), {})()
    monkeypatch.setattr(device_library, "_KNOWN", {"elsewhere": device_library._Torch})
    type(other).__module__ = "elsewhere"
    interface = pair[1].__cuda_array_interface__
    other.dtype, other.is_cuda = np.dtype(np.float32), True
    other.__cuda_array_interface__ = interface
    monkeypatch.setattr(device_library._Torch, "bits", lambda array: array)
    with pytest.raises(TypeError, match=r"^weight: got a elsewhere\.Tensor beside x.* one library"):
        homfast.linear(pair[0], other)
    works(pair)


def test_a_library_without_a_namespace(machine, pair):
    bare = types.SimpleNamespace(
        __cuda_array_interface__=pair[0].__cuda_array_interface__, dtype=np.dtype(np.float32)
    )
    with pytest.raises(TypeError, match=r"^x: got a types\.SimpleNamespace .* cupy\.asarray\(x\)"):
        homfast.linear(bare, pair[1])
    with pytest.raises(TypeError, match=r"^x: got a types\.SimpleNamespace on a GPU, .*move it"):
        homfast.ReLUNetwork([np.ones((2, 4), np.float32)])(bare)


def test_arrays_that_only_dlpack_tells_about(pair):
    dlpack = {
        name: lambda *given, **options: (2, 0) for name in ("__dlpack__", "__dlpack_device__")
    }
    other = type("Tensor", (), dlpack)()
    with pytest.raises(TypeError, match=r"^x: got a .*Tensor on a device .*cupy\.from_dlpack"):
        homfast.linear(other, other)
    with pytest.raises(TypeError, match=r"^weight: got a .*Tensor on GPU 0 beside arrays on a GPU"):
        homfast.linear(pair[0], other)


# Streams -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stream", ["7", 7.0, True, object()], ids=["str", "float", "bool", "object"]
)
def test_a_stream_of_a_wrong_type(pair, stream):
    x, weight = pair
    x.stream = stream
    with pytest.raises(TypeError, match=r"^x: its __cuda_array_interface__ names the stream .*int"):
        homfast.linear(x, weight)
    x.stream = None
    works(pair)


@pytest.mark.parametrize("stream", [0, -1, 1 << 70])
def test_a_stream_that_is_forbidden(pair, stream):
    x, weight = pair
    weight.stream = stream
    with pytest.raises(ValueError, match=rf"^weight: .* names stream {stream}, .*legacy default"):
        homfast.linear(x, weight)
    weight.stream = None
    works(pair)


def test_the_stream_of_the_interface_is_waited_for(machine, pair):
    """What was launched on it before is in x; the result is on the stream that its library has."""
    works(pair)
    machine.waits()
    works(pair)
    assert machine.waits() == 0
    assert machine.last_stream() == 1
    pair[0].stream = 64
    works(pair)
    assert machine.waits() == 1 and machine.last_stream() == 1


def test_runs_on_the_current_stream_of_torch(machine, monkeypatch, rng):
    """On every path: nothing is launched on another, nothing waits."""
    torch = pytest.importorskip("torch")
    from device_libraries import torch_as_cuda

    torch_as_cuda(machine, monkeypatch)
    x, weight = torch.ones(3, 8), torch.ones(8, 8)
    net = homfast.ReLUNetwork([weight, weight])
    calls = {
        "linear": lambda: homfast.linear(x, weight),
        "backward": lambda: homfast.linear_relu_backward(x, x, weight, None),
        "network": lambda: net(x),
        "vjp": lambda: net.vjp(x)[1](x),
        "jacobian": lambda: net.jacobian(x),
        "fit": lambda: homfast.fit(net, [(x, x)], learning_rate=0.1),
        "gaussian": lambda: measure.Gaussian(3, 8).gram(x),
        "hadamard": lambda: measure.Hadamard(3, 8).gram(x),
        "sparse": lambda: measure.SparseSign(3, 8, nonzeros_per_column=2).gram(x),
        "walsh_hadamard": lambda: measure.walsh_hadamard(x),
        "entries": lambda: measure.Entries(np.arange(3), (2, 4)).gram(x),
        "rank one": lambda: measure.RankOne(3, (2, 4)).gram(x),
        "factors": lambda: measure.RankOne(3, (8, 8)).vjp_factors(x.T, x.T, x[0, :3]),
        "cosine": lambda: measure.Cosine(3, 8).gram(x),
        "complex": lambda: measure.Gaussian(3, 8, dtype=np.complex64).gram(x),
    }
    for name, call in calls.items():
        machine.waits(), machine.launches()
        call()
        assert machine.launches() and machine.last_stream() == 64, name
        assert not machine.waits(), name


@pytest.mark.parametrize(
    "change",
    [
        {"shape": None}, {"shape": (3, -4)}, {"shape": 12}, {"typestr": "junk"}, {"typestr": None},
        {"data": None}, {"data": (0,)}, {"data": ("a", False)}, {"strides": (4,)},
        {"strides": "ab"},
    ],
    ids=str,
)  # fmt: skip
def test_an_interface_that_is_wrong(pair, change):
    class Told:
        dtype = np.dtype(np.float32)

        @property
        def __cuda_array_interface__(self):
            return {**pair[0].__cuda_array_interface__, **change}

        def __array_namespace__(self):
            return pair[0].__array_namespace__()

    (field,) = change
    with pytest.raises(TypeError, match=rf"^x: its __cuda_array_interface__ has {field} .*wanted"):
        homfast.linear(Told(), pair[1])
    works(pair)


# The machine -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "driver", "reason", "fix"),
    [
        (2, 0, "no NVIDIA driver is installed", "install one for CUDA"),
        (2, 12090, "too old: it knows CUDA 12.9, homfast was built with", "update the driver"),
        (0, 13000, "no CUDA device is visible", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_the_machine_lacks_something(machine, pair, devices, driver, reason, fix):
    machine.machine(devices, driver)
    assert reason in homfast.backends()["cuda"] and fix in homfast.backends()["cuda"]
    with pytest.raises(TypeError, match=rf"for which no backend .*cuda: .*{reason}.*{fix}"):
        homfast.linear(*pair)
    with pytest.raises(
        RuntimeError, match=rf"^backend: 'cuda' is not available: .*{reason}.*{fix}"
    ):
        homfast.linear(*pair, backend="cuda")
    with pytest.raises(RuntimeError, match=rf"^backend: 'cuda' is not available: .*{reason}"):
        homfast.ReLUNetwork([np.ones((2, 4), np.float32)], backend="cuda")
    machine.machine(2, 13000)
    works(pair)


def test_the_extension_is_not_installed(machine, pair, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(cuda, "_cuda", None)
        patch.setattr(
            cuda, "_missing", "the extension homfast._cuda is not installed (gone): again"
        )
        with pytest.raises(TypeError, match=r"cuda: the extension homfast\._cuda is not .*; cupy:"):
            homfast.linear(*pair)
        with pytest.raises(RuntimeError, match=r"'cuda' is not available: the extension .*again"):
            homfast.linear(*pair, backend="cuda")
    works(pair)


def test_the_reason_names_the_fix():
    if cuda._cuda is None:
        assert "HOMFAST_CUDA=1" in cuda.why_unavailable()


def test_out_of_memory(machine, pair, monkeypatch):
    def empty(shape, dtype, device=0, row_stride=None, align=1):
        raise MemoryError("the pool is full")

    with monkeypatch.context() as patch:
        patch.setattr(machine, "empty", empty)
        wanted = r"shape \(3, 2\) needs .* GiB on GPU 0, .*the pool is full.*fewer rows"
        with pytest.raises(MemoryError, match=wanted):
            homfast.linear(*pair)
        with pytest.raises(MemoryError, match=r"shape \(2, 4\) needs .*the pool is full"):
            homfast.ReLUNetwork([np.ones((2, 4), np.float32)]).to(pair[0])
    works(pair)
    machine.refuse(2)  # of a launch
    with pytest.raises(MemoryError, match=r"^fma_product: cudaErrorMemoryAllocation: .*fewer rows"):
        homfast.linear(*pair)
    machine.refuse(0)
    works(pair)


def test_out_of_memory_of_torch(machine, monkeypatch):
    torch = pytest.importorskip("torch")

    def empty(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(torch, "empty", empty)
    with pytest.raises(MemoryError, match=r"shape \(1024, 5\) needs .* GiB on GPU 0, .*Tried to"):
        device_library._Torch.empty((1024, 5), np.float32, torch.zeros(1))


def test_a_launch_that_fails(machine, pair):
    machine.refuse(1)
    with pytest.raises(RuntimeError, match="fma_product: cudaErrorEmulated"):
        homfast.linear(*pair)
    machine.refuse(0)
    works(pair)
    assert machine.current_device() == 0


# Arrays ------------------------------------------------------------------------------------------


def test_tensors_whose_graph_or_sign_would_be_lost(machine, monkeypatch):
    torch = pytest.importorskip("torch")
    from device_libraries import torch_as_cuda

    torch_as_cuda(machine, monkeypatch)
    x = torch.ones(3, 4)
    with pytest.raises(TypeError, match=r"^x: got a tensor that requires grad.*x\.detach\(\)"):
        homfast.linear(torch.ones(3, 4, requires_grad=True), x)
    with pytest.raises(TypeError, match=r"^weight: got a tensor that requires grad"):
        homfast.linear(x, torch.ones(3, 4, requires_grad=True))
    with pytest.raises(TypeError, match=r"^x: .*(float16|int16|f2)"):
        homfast.linear(x.to(torch.float16), x)
    assert (homfast.linear(x, x) == 4).all()


def test_a_read_only_result(pair, machine):
    x, weight = pair
    out = machine.empty((3, 2), np.float32)
    out.read_only = True
    with pytest.raises(ValueError, match=r"^out: got a read-only array, wanted a writable one"):
        homfast.linear(x, weight, out=out)
    works(pair)


def test_the_choice_follows_the_array(machine, pair, monkeypatch):
    """An array that the backend chosen before does not take is not given to it."""
    works(pair)
    stranger = types.SimpleNamespace(name="cupy", accepts=lambda array: False)
    monkeypatch.setattr(_backends, "_automatic_on_gpu", stranger)
    works(pair)
    assert _backends._automatic_on_gpu is cuda
