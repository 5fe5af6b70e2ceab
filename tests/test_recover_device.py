"""``homfast recover --device cuda``: the job through the public functions, on devices not there."""

import json
import types

import numpy as np
import pytest

from homfast import _backends
from homfast.cli import main

pytest.importorskip("PIL", reason="needs homfast[demo]")
pytest.importorskip("skimage", reason="needs homfast[demo]")
pytest.importorskip("sklearn", reason="needs homfast[demo]")
pytest.importorskip("matplotlib", reason="needs homfast[demo]")

from PIL import Image

from homfast.recovery import data, devices, estimators, networks, training

pytest_plugins = ("cuda_device", "device_libraries")


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A picture and networks so small that emulated kernels end in time; the arguments for them."""
    path = tmp_path / "tiny.png"
    Image.open(data.shipped(data.TEST_IMAGE)).crop((200, 100, 216, 116)).save(path)
    monkeypatch.setattr(training, "BATCH", 8)
    widths = {"one_hidden": (16,), "two_hidden": (8, 8)}
    monkeypatch.setattr(networks, "hidden_widths", lambda details: widths)
    monkeypatch.setattr(estimators, "_PATCHES", 4000)
    monkeypatch.setattr(estimators.SparseEstimator, "_TUNING_PIXELS", 800)
    monkeypatch.chdir(tmp_path)
    return ["recover", str(path), "--block", "4", "--seconds", "0.5", "--json", "r.json"]


def test_recover_on_a_device(device, tiny, monkeypatch, capsys, tmp_path):
    operator = {"standard": "gaussian", "torch": "hadamard", "cupy": "sparse"}[device.name]
    monkeypatch.setattr(devices, "array_of_cuda", lambda: device.array(np.zeros(0, np.float32)))
    words = [*tiny, "--device", "cuda", "--operator", operator]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert ", on cuda" in said and "to the bit: yes" in said and "peak n/a" in said
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["config"]["device"] == "cuda"
    assert found["homogeneous_to_the_bit"] is True
    assert all(run["steps"] > 0 for run in found["training"].values())
    assert main([*tiny, "--operator", operator]) == 0
    there = json.loads((tmp_path / "r.json").read_text())
    assert "on cuda" not in capsys.readouterr().out
    for name in ("linear", "classical"):  # what is not trained by the clock is the same
        assert found["psnr"][name] == pytest.approx(there["psnr"][name], abs=1e-3)


def test_an_operator_without_products_there_is_refused_before_training(device, tiny, monkeypatch):
    monkeypatch.setattr(devices, "array_of_cuda", lambda: device.array(np.zeros(0, np.float32)))
    called = []
    if device.name != "standard":  # torch and CuPy have FFTs
        assert main([*tiny, "--device", "cuda", "--operator", "cosine"]) == 0
        return
    monkeypatch.setattr(training, "train", lambda *arguments: called.append(1))
    assert main([*tiny, "--device", "cuda", "--operator", "cosine"]) == 2
    assert not called


def without_gpu(monkeypatch):
    for name in _backends.GPU_NAMES:
        stand_in = types.SimpleNamespace(why_unavailable=lambda name=name: f"no {name} here")
        monkeypatch.setitem(_backends._loaded, name, stand_in)


@pytest.mark.parametrize("command", [["recover"], ["bench", "layers"], ["bench", "operators"]])
def test_without_a_gpu_the_reasons_are_told(monkeypatch, capsys, command):
    without_gpu(monkeypatch)
    assert main([*command, "--device", "cuda"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"homfast {command[0]}: ") and said.count("\n") == 1
    assert "cuda: no cuda here; cupy: no cupy here" in said


def test_an_unknown_device(capsys):
    assert main(["recover", "--device", "tpu"]) == 2
    assert "'cpu', 'cuda'" in capsys.readouterr().err or "cpu" in capsys.readouterr().err


def test_which_library_makes_the_arrays(monkeypatch):
    """torch where `cuda` takes its tensors, else CuPy; none is told."""
    torch = types.SimpleNamespace(
        float32="f4",
        cuda=types.SimpleNamespace(is_available=lambda: True),
        empty=lambda n, dtype, device: ("torch", n, dtype, device),
    )
    cupy = types.SimpleNamespace(is_available=lambda: True, empty=lambda n, dtype: ("cupy", n))
    modules = {"torch": torch, "cupy": cupy}
    monkeypatch.setattr(devices, "find_spec", lambda name: name in modules)
    monkeypatch.setattr(devices.importlib, "import_module", modules.__getitem__)
    reasons = {"cuda": "", "cupy": ""}
    for name in reasons:
        stand_in = types.SimpleNamespace(why_unavailable=lambda name=name: reasons[name])
        monkeypatch.setitem(_backends._loaded, name, stand_in)
    assert devices.array_of_cuda() == ("torch", 0, "f4", "cuda")
    reasons["cuda"] = "not built"
    assert devices.array_of_cuda() == ("cupy", 0)
    del modules["cupy"]
    with pytest.raises(RuntimeError, match="no library makes arrays on the CUDA device"):
        devices.array_of_cuda()
    reasons["cupy"] = "not installed"
    with pytest.raises(RuntimeError, match=r"cuda: not built; cupy: not installed\); use --device"):
        devices.array_of_cuda()
