"""Networks in safetensors files: tensors and a few words, and nothing that could be executed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from homfast import _arrays

MOST_LAYERS = 4096
MOST_HEADER = 1 << 20  # bytes: names, shapes and words, of which a layer takes about a hundred
_WITHOUT = "saving and loading networks needs the package safetensors: pip install homfast[demo]"


def checked_path(path: Any) -> str:
    """`path` as a string; TypeError for what is no path."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path: got {type(path).__name__}, wanted a string or a path")
    return os.fspath(path)


def write(net: Any, path: Any) -> None:
    """Write the weights of `net` as ``layers.0.weight`` and so on, its options as metadata."""
    if len(net.weights) > MOST_LAYERS:
        raise ValueError(
            f"net: got {len(net.weights):,} layers, wanted {MOST_LAYERS:,} at most in a file"
        )
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file
    except ImportError as error:
        raise ImportError(_WITHOUT) from error
    if net.dtype == _arrays.BFLOAT16:
        raise ImportError(
            "bfloat16 in safetensors needs the package ml_dtypes: pip install homfast[test]"
        )
    target = checked_path(path)
    if os.path.isdir(target) or not os.path.basename(target):
        raise IsADirectoryError(f"path: got {target!r}, a folder, wanted a file in it")
    if not os.path.isdir(os.path.dirname(os.path.abspath(target))):
        raise FileNotFoundError(f"path: the folder of {target!r} does not exist")
    if os.path.exists(target) and not os.path.isfile(target):
        # Writing would put a file in its place.
        raise OSError(f"path: {target!r} is a device or a pipe, wanted a file")
    weights = [net._place.to_host(w) for w in net.weights]
    tensors = {f"layers.{i}.weight": np.asarray(w) for i, w in enumerate(weights)}
    metadata = {
        "format": "homfast.ReLUNetwork",
        "negative_slope": repr(net.negative_slope),
        "precision": net.precision,
    }
    try:
        save_file(tensors, target, metadata)
    except SafetensorError as error:  # its own class, for what the system refused
        raise OSError(f"path: {target!r} cannot be written: {error}") from error


def read(path: Any) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The weights and options that `write` wrote; ValueError for any other file."""
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise ImportError(_WITHOUT) from error
    source = checked_path(path)
    if os.path.isdir(source):
        raise IsADirectoryError(f"path: {source!r} is a folder, wanted a file")
    if not os.path.exists(source):
        raise FileNotFoundError(f"path: {source!r} does not exist")
    _check_header(source)
    try:
        with safe_open(source, "numpy") as file:
            metadata = file.metadata() or {}
            wanted = _layers(set(file.keys()), source)
            weights = [file.get_tensor(name) for name in wanted]
    except MemoryError:
        raise
    except OSError as error:
        if type(error) is not OSError:
            raise
        # A device, or a file of /proc: it cannot be mapped.
        raise OSError(f"path: {source!r} cannot be read ({error})") from error
    except _NoNetwork as error:
        raise ValueError(f"path: {error}") from None
    except Exception as error:  # safetensors raises its own class, and NumPy's for odd tensors
        raise ValueError(
            f"path: {source} is not a safetensors file ({short(str(error))})"
        ) from error
    try:
        slope = float(metadata.get("negative_slope", "0.0"))
    except ValueError as error:
        raise ValueError(f"path: negative_slope in {source} is not a number") from error
    return weights, {
        "negative_slope": slope,
        "precision": short(metadata.get("precision", "highest")),
    }


class _NoNetwork(Exception):
    pass


def _layers(names: set[str], source: str) -> list[str]:
    """The tensors of a network, in its order, if these are all."""
    if len(names) > MOST_LAYERS:
        raise _NoNetwork(f"{len(names):,} tensors in {source}, wanted {MOST_LAYERS:,} at most")
    if any(name.endswith("bias") for name in names):
        raise _NoNetwork(
            f"{source} has biases, {_some(names)}; networks here have none: "
            "homfast.construct.homogenize makes one without"
        )
    wanted = [f"layers.{i}.weight" for i in range(max(1, len(names)))]
    if names != set(wanted):
        raise _NoNetwork(f"tensors {_some(names)} in {source}, wanted {_some(wanted)}")
    return wanted


def _check_header(source: str) -> None:
    """Refuse what would take many times its size to be parsed, and is no network."""
    try:
        with open(source, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
    except OSError:
        return  # safe_open says why
    if MOST_HEADER < size < os.path.getsize(source):
        raise ValueError(
            f"path: the header of {source} has {size:,} bytes, wanted {MOST_HEADER:,} at most"
        )


def short(words: str) -> str:
    """As an error may show words of a file."""
    return words if len(words) <= 200 else f"{words[:200]} ..."


def _some(names: Iterable[str]) -> str:
    """The first of many names."""
    listed = sorted(names)
    shown = ", ".join(repr(short(name)) for name in listed[:4])
    return f"[{shown}]" if len(listed) <= 4 else f"[{shown}, ...], {len(listed):,} in all"
