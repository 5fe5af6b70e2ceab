"""Networks in safetensors files: tensors and a few words, and nothing that could be executed."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from homfast import _arrays

_WITHOUT = "saving and loading networks needs the package safetensors: pip install homfast[demo]"


def checked_path(path: Any) -> str:
    """`path` as a string; TypeError for what is no path."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path: got {type(path).__name__}, wanted a string or a path")
    return os.fspath(path)


def write(net: Any, path: Any) -> None:
    """Write the weights of `net` as ``layers.0.weight`` and so on, its options as metadata."""
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
    try:
        with safe_open(source, "numpy") as file:
            metadata = file.metadata() or {}
            names = set(file.keys())
            wanted = [f"layers.{i}.weight" for i in range(len(names))]
            if any(name.endswith("bias") for name in names):
                raise ValueError(
                    f"path: {source} has biases, {sorted(names)}; networks here have none: "
                    "homfast.construct.homogenize makes one without"
                )
            if not names or names != set(wanted):
                raise ValueError(f"path: tensors {sorted(names)} in {path}, wanted {wanted}")
            weights = [file.get_tensor(name) for name in wanted]
    except (OSError, ValueError):
        raise
    except Exception as error:  # safetensors raises its own class, and KeyError for odd dtypes
        raise ValueError(f"path: {path} is not a safetensors file ({error})") from error
    try:
        slope = float(metadata.get("negative_slope", "0.0"))
    except ValueError as error:
        raise ValueError(f"path: negative_slope in {path} is not a number") from error
    return weights, {
        "negative_slope": slope,
        "precision": metadata.get("precision", "highest"),
    }
