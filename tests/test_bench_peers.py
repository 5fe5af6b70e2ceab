"""The libraries that ``homfast bench`` measures against: their threads, and who is absent."""

import os
import sys

import pytest
from processes import output

from homfast.bench import cases, data, expected, layers, networks, peers, training

JAX_PRODUCTS = """
import os, time
from homfast.bench import cases, data, jax_peers
complaints = [jax_peers.set_threads(threads) for threads in ({first}, {second})]
operands = data.layer_data(cases.LayerCase(1024, 512, 1024), "float32")
contender = jax_peers.JaxPeer().layers_forward(operands)
contender.result()
def ticks():
    found = {{}}
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{{task}}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        found[task] = int(fields[11]) + int(fields[12])
    return found
before, end = ticks(), time.perf_counter() + 20
while time.perf_counter() < end:
    contender.result()
    spent = [n - before.get(task, 0) for task, n in ticks().items()]
    if sum(spent) > 100:
        break
print([complaint is None for complaint in complaints], sum(n > sum(spent) / 8 for n in spent))
print(complaints[1], "NPROC" in os.environ)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/task")
def test_jax_computes_on_as_many_threads_as_are_set():
    pytest.importorskip("jax")
    first, second = output(JAX_PRODUCTS.format(first=1, second=2), NPROC=None).splitlines()
    assert first == "[True, False] 1"
    assert second.startswith("JAX keeps its 1 threads, wanted 2") and second.endswith("False")


def test_jax_says_so_if_its_pool_was_made_before():
    pytest.importorskip("jax")
    code = "import jax; jax.devices()\nfrom homfast.bench import jax_peers\n"
    assert "its own number of threads" in output(code + "print(jax_peers.set_threads(1))")


def test_jax_is_absent_in_float64_with_a_reason():
    pytest.importorskip("jax")
    found = layers.comparison(cases.LayerCase(2, 3, 5), "forward", "float64", [peers.load("jax")])
    assert "float32" in found.absent["jax"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts /proc/self/task")
def test_onnx_runtime_starts_as_many_threads_as_are_set(monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from homfast.bench import onnx_peers

    operands = data.exact_layer_data(cases.LayerCase(2, 3, 5), "float32")
    for count in (1, 3):
        monkeypatch.setattr(onnx_peers, "_threads", None)
        onnx_peers.set_threads(count)
        before = len(os.listdir("/proc/self/task"))
        contender = onnx_peers.OnnxRuntimePeer().layers_forward(operands)
        assert len(os.listdir("/proc/self/task")) - before == count - 1
        expected.check_equal("onnxruntime", contender.result(), [operands.y])


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_library_that_is_not_there_is_named(monkeypatch, missing):
    """The peer by its own name, the package that it lacks by that one's."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.delitem(sys.modules, "homfast.bench.onnx_peers", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Without(missing), *sys.meta_path])
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    present, absent = peers.load_all(["onnxruntime"])
    assert not present
    assert absent == {"onnxruntime": f"needs {missing}, which is not installed"}


class Without:
    """An importer that does not find one package."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_every_peer_that_has_an_operation_takes_part_in_it():
    """By default, if it is installed: in the modules' PEERS."""
    present, _ = peers.load_all(peers.NAMES)
    kinds = {"layers": layers, "networks": networks, "training": training}
    for peer in present:
        for kind, module in kinds.items():
            offers = any(hasattr(peer, f"{kind}_{direction}") for direction in module.DIRECTIONS)
            assert (peer.name in module.PEERS) == offers, f"{peer.name} in {kind}"


def test_compiled_pytorch_passes_the_checks():
    """One layer: each compilation takes seconds."""
    pytest.importorskip("torch")
    compiler = [peers.load("torch.compile")]
    case = cases.LayerCase(20, 33, 17)
    found = layers.comparison(case, "backward", "float32", compiler)
    if found.absent:
        pytest.skip(found.absent["torch.compile"])
    assert [contender.name for contender in found.contenders] == ["homfast", "torch.compile"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_compiled_pytorch_passes_all_checks(dtype):
    pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    compiler = [peers.load("torch.compile")]
    network = cases.NetworkCase(20, (33, 17, 20))
    wanted = {"layers": cases.LayerCase(20, 33, 17), "networks": network, "training": network}
    for module in (layers, networks, training):
        case = wanted[module.__name__.rpartition(".")[2]]
        for direction in module.DIRECTIONS:
            if dtype in module.DTYPES:
                found = module.comparison(case, direction, dtype, compiler)
                assert found.absent or len(found.contenders) == 2
