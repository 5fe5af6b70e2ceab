"""save and load: what was saved comes back, and a malicious or corrupt file is a ValueError."""

import json
import os
import struct
import sys

import numpy as np
import pytest
from oracles import assert_same_bits

from homfast import ReLUNetwork, _arrays

safetensors_numpy = pytest.importorskip("safetensors.numpy")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("slope", [0.0, 0.1, -1.5, 1e-300])
def test_round_trip(engine, dtype, path, slope):
    net = ReLUNetwork.random(
        (5, 8, 0, 3), seed=2, dtype=dtype, negative_slope=slope, precision="high"
    )
    net.save(path)
    loaded = ReLUNetwork.load(path, backend=engine.backend)
    assert repr(loaded) == repr(net)
    assert loaded.negative_slope == slope and loaded.precision == "high"
    for weight, own in zip(loaded.weights, net.weights, strict=True):
        assert_same_bits(weight, own, f"{engine} {dtype}")
    ReLUNetwork.load(str(path), backend=engine.backend)


def test_twelve_layers_keep_their_order(path):
    net = ReLUNetwork.random([3] * 13, seed=2)
    net.save(path)
    for weight, own in zip(ReLUNetwork.load(path).weights, net.weights, strict=True):
        assert_same_bits(weight, own, "twelve layers")


def test_file_is_plain_safetensors(path):
    net = ReLUNetwork.random((5, 8, 3), seed=2)
    net.save(path)
    tensors = safetensors_numpy.load_file(path)
    assert sorted(tensors) == ["layers.0.weight", "layers.1.weight"]
    assert_same_bits(tensors["layers.1.weight"], net.weights[1], "layers.1.weight")


def test_file_of_another_program_loads(path):
    """Without our metadata: a torch user's bias-free network."""
    weights = {"layers.0.weight": np.float32([[1], [-1]]), "layers.1.weight": np.float32([[1, 1]])}
    safetensors_numpy.save_file(weights, path)
    assert np.array_equal(ReLUNetwork.load(path)(np.float32([[-3], [2]])), [[3], [2]])


def write(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def tensor(shape, offsets, dtype="F32"):
    return {"layers.0.weight": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


CORRUPT = {
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("not a network\n" * 20),
    "pickle": lambda p: p.write_bytes(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00."),
    "pickled call": lambda p: p.write_bytes(b"cos\nsystem\n(S'exit 3'\ntR."),
    "npy": lambda p: np.save(p.open("wb"), np.ones(4)),
    "header longer than the file": lambda p: write(p, {}, length=2**20),
    "header length of 2^63": lambda p: write(p, {}, length=2**63),
    "header is not JSON": lambda p: write(p, b"{" * 40),
    "header nests deeply": lambda p: write(p, b"[" * 100_000),
    "data missing": lambda p: write(p, tensor([2, 2], [0, 16])),
    "data cut": lambda p: write(p, tensor([2, 2], [0, 16]), bytes(15)),
    "offsets beyond the file": lambda p: write(p, tensor([2, 2], [2**40, 2**40 + 16]), bytes(16)),
    "offsets negative": lambda p: write(p, tensor([2, 2], [-16, 0]), bytes(16)),
    "size overflows": lambda p: write(p, tensor([2**32, 2**32], [0, 0])),
    "size of 2^62": lambda p: write(p, tensor([2**31, 2**31], [0, 16]), bytes(16)),
    "shape negative": lambda p: write(p, tensor([-2, -2], [0, 16]), bytes(16)),
    "unknown dtype": lambda p: write(p, tensor([2, 2], [0, 16], "PICKLE"), bytes(16)),
    "no tensors": lambda p: write(p, {}),
    "trailing bytes": lambda p: write(p, tensor([2, 2], [0, 16]), bytes(64)),
}


@pytest.mark.parametrize("kind", CORRUPT)
def test_corrupt_files_are_value_errors(path, kind):
    CORRUPT[kind](path)
    with pytest.raises(ValueError, match=r"^path: "):
        ReLUNetwork.load(path)


SQUARE = np.ones((2, 2), np.float32)
WRONG_TENSORS = {
    "one vector": {"layers.0.weight": SQUARE[0]},
    "layer missing": {"layers.0.weight": SQUARE, "layers.2.weight": SQUARE},
    "other names": {"weight": SQUARE},
    "a bias": {"layers.0.weight": SQUARE, "layers.0.bias": SQUARE[0]},
    "widths that do not chain": {
        "layers.0.weight": SQUARE,
        "layers.1.weight": np.ones((2, 3), np.float32),
    },
    "mixed dtypes": {"layers.0.weight": SQUARE, "layers.1.weight": SQUARE.astype(np.float64)},
    "integers": {"layers.0.weight": SQUARE.astype(np.int8)},
    "float16": {"layers.0.weight": SQUARE.astype(np.float16)},
}


@pytest.mark.parametrize("kind", WRONG_TENSORS)
def test_files_that_hold_no_network_are_value_errors(path, kind):
    safetensors_numpy.save_file(WRONG_TENSORS[kind], path)
    with pytest.raises(ValueError, match=r"^path: "):
        ReLUNetwork.load(path)


def test_bfloat16_from_a_file(path):
    pytest.importorskip("ml_dtypes")
    write(path, tensor([2, 2], [0, 8], "BF16"), bytes(8))
    assert ReLUNetwork.load(path).dtype.name == "bfloat16"


def test_bfloat16_without_ml_dtypes(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    net = ReLUNetwork([SQUARE]).to(np.zeros(1, _arrays.BFLOAT16))
    assert "dtype=bfloat16" in repr(net)
    with pytest.raises(ImportError, match=r"ml_dtypes.*homfast\[test\]"):
        net.save(path)


@pytest.mark.parametrize(
    "metadata",
    [
        {"negative_slope": "nan"},
        {"negative_slope": "NaN"},
        {"negative_slope": "Infinity"},
        {"negative_slope": "1e999"},
        {"negative_slope": "[0.1]"},
        {"negative_slope": "null"},
        {"negative_slope": "{}"},
        {"negative_slope": "__import__('os').abort()"},
        {"negative_slope": "[" * 100_000},
        {"negative_slope": "9" * 5000},
        {"precision": "best"},
        {"precision": ""},
    ],
    ids=lambda m: next(f"{k}={v[:12]}" for k, v in m.items()),
)
def test_bad_metadata_is_a_value_error(path, metadata):
    safetensors_numpy.save_file({"layers.0.weight": SQUARE}, path, metadata)
    with pytest.raises(ValueError, match=r"^path: "):
        ReLUNetwork.load(path)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^path: .*nothing"):
        ReLUNetwork.load(tmp_path / "nothing.safetensors")
    with pytest.raises(IsADirectoryError, match=r"^path: .*folder"):
        ReLUNetwork.load(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="files that cannot be mapped are Linux's")
@pytest.mark.parametrize("name", ["/dev/null", "/proc/self/status"])
def test_what_cannot_be_mapped(name):
    with pytest.raises((OSError, ValueError), match=rf"^path: .*{name}"):
        ReLUNetwork.load(name)


def test_where_a_file_cannot_be_written(tmp_path):
    net = ReLUNetwork([SQUARE])
    for path in (tmp_path, str(tmp_path), f"{tmp_path}/", f"{tmp_path}/nothing/", ""):
        with pytest.raises(IsADirectoryError, match=r"^path: got .*, a folder"):
            net.save(path)
    with pytest.raises(FileNotFoundError, match=r"^path: the folder"):
        net.save(tmp_path / "nothing" / "net.safetensors")
    with pytest.raises(OSError, match=r"^path: "):
        net.save("/proc/net.safetensors")


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match=r"^path: .*pipe"):
        ReLUNetwork([SQUARE]).save(path)
    assert path.is_fifo()


def test_without_safetensors_the_error_names_the_extra(path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"homfast\[demo\]"):
        ReLUNetwork.random((2, 1)).save(path)
    with pytest.raises(ImportError, match=r"homfast\[demo\]"):
        ReLUNetwork.load(path)


def test_flipped_bytes_load_or_raise_value_error(path, rng):
    """A small fuzz: no crash, no other exception."""
    ReLUNetwork.random((5, 8, 3), seed=2, negative_slope=0.25).save(path)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for trial in range(1500):
        damaged = bytearray(whole[: rng.integers(len(whole)) if trial % 5 == 0 else len(whole)])
        for place in rng.integers(0, min(header, max(len(damaged), 1)), rng.integers(1, 4)):
            if place < len(damaged):
                damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            net = ReLUNetwork.load(path)
        except ValueError:
            continue
        except Exception as error:
            raise AssertionError(f"trial {trial}: {error!r} from {bytes(damaged)!r}") from error
        assert len(net.weights) in (1, 2)


# Files of strangers that ask for memory -----------------------------------------------------------


def write_header(path, header, rest=b""):
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 8)
    path.write_bytes(len(words).to_bytes(8, "little") + words + rest)


EMPTY = {"dtype": "F32", "shape": [0, 0], "data_offsets": [0, 0]}


@pytest.mark.parametrize(
    "header", [{"x" * (1 << 20): EMPTY}, {"__metadata__": {"a": "x" * (1 << 20)}}]
)
def test_headers_beyond_a_mebibyte_are_refused_unread(path, header, monkeypatch):
    write_header(path, header, b" " * 8)
    monkeypatch.setattr("safetensors.safe_open", None)
    with pytest.raises(ValueError, match=r"^path: the header of .* wanted 1,048,576 at most"):
        ReLUNetwork.load(path)


@pytest.mark.parametrize("words", ["{}", "layers.{}.weight", "layers.{}.bias", "layers.{}.more"])
@pytest.mark.parametrize("count", [1, 5, 4000, 5000])
def test_many_or_long_names_make_no_long_message(path, words, count):
    long = "x" * (200_000 // count)
    write_header(
        path, {words.format(i) + (long if count < 4000 else ""): EMPTY for i in range(count)}
    )
    if words == "layers.{}.weight" and count == 4000:
        assert len(ReLUNetwork.load(path).weights) == count
        return
    with pytest.raises(ValueError, match=r"^path: ") as caught:
        ReLUNetwork.load(path)
    assert len(str(caught.value)) < 2500
    assert count < 4000 or f"{count:,}" in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [{**EMPTY, "shape": [1] * 100_000, "data_offsets": [0, 4]}, {**EMPTY, "dtype": "F" * 500_000}],
    ids=["shape", "dtype"],
)
@pytest.mark.parametrize("precision", ["highest", "x" * 500_000])
def test_long_words_of_a_file_make_no_long_message(path, entry, precision):
    write_header(
        path, {"__metadata__": {"precision": precision}, "layers.0.weight": entry}, b"0000"
    )
    with pytest.raises(ValueError, match=r"^path: ") as caught:
        ReLUNetwork.load(path)
    assert len(str(caught.value)) < 2500


def test_as_many_layers_as_are_read_are_written(path, monkeypatch):
    layer = np.ones((1, 1), np.float32)
    net = ReLUNetwork([layer] * 4096)
    net.save(path)
    assert ReLUNetwork.load(path).widths == net.widths
    with pytest.raises(ValueError, match=r"^net: got 4,097 layers, wanted 4,096 at most"):
        ReLUNetwork([layer] * 4097).save(path)
