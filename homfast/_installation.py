"""What a bug report needs of the surroundings: processor, NumPy, packages, homfast's origin."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

# Of the features that kernels of ours, or of NumPy and PyTorch, choose by.
_FEATURES = re.compile(r"sse4_2|avx.*|fma|f16c|bmi[12]|amx.*|asimd.*|sve.*|bf16|i8mm|fphp")

# What pyproject.toml names in extras, which tests compare; CuPy has a name for each CUDA.
EXTRAS = (
    "array-api-strict", "cupy-cuda12x", "cupy-cuda13x", "dask", "hypothesis", "jax", "matplotlib",
    "ml_dtypes", "numba", "onnx", "onnxruntime", "pylops", "pytest", "pytest-benchmark",
    "pytest-xdist", "PyWavelets", "safetensors", "scikit-image", "scikit-learn", "scipy",
    "tensorly", "threadpoolctl", "torch", "tqdm",
)  # fmt: skip


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    return _of_processor("model name") or platform.processor() or platform.machine()


def cpu_features() -> list[str]:
    """What the system says that the processor has, of vectors and matrices."""
    words = (_of_processor("flags") or _of_processor("features")).split()
    return sorted(word for word in words if _FEATURES.fullmatch(word))


def python_build() -> dict[str, Any]:
    """Which Python this is."""
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return {
        "implementation": platform.python_implementation(),
        "compiler": platform.python_compiler(),
        "libc": " ".join(platform.libc_ver()),
        "gil": "enabled" if has_gil else "disabled",
    }


def numpy_blas() -> str:
    """The library under NumPy's products, which the reference and peers use."""
    found = np.show_config(mode="dicts")
    blas = (found or {}).get("Build Dependencies", {}).get("blas", {})
    return " ".join(str(blas[key]) for key in ("name", "version") if blas.get(key)) or "unknown"


def extras() -> dict[str, str]:
    """Each package that an extra of homfast names, with its version or "not installed"."""
    return {name: _version(name) for name in EXTRAS}


def wheel() -> str:
    """How homfast was installed: the tag of its wheel, or that it is a checkout."""
    if source_commit() is not None:
        return "none: a checkout"
    try:
        text = metadata.distribution("homfast").read_text("WHEEL") or ""
    except metadata.PackageNotFoundError:
        return "none: not installed"
    return ", ".join(re.findall(r"^Tag: (\S+)", text, re.MULTILINE)) or "unknown"


def source_commit() -> str | None:
    """The commit of the sources in use, "-dirty" behind it if they differ; None outside of git."""
    package = Path(__file__).parent
    sources = [str(package), str(package.parent / "csrc")]
    if _git(package, "ls-files", "__init__.py") != "__init__.py":
        return None  # an installed package below somebody else's repository
    commit = _git(package, "rev-parse", "--short=12", "HEAD")
    if commit and _git(package, "status", "--porcelain", "--", *sources):
        commit += "-dirty"
    return commit


def processors() -> dict[str, int]:
    """How many there are, and how many this process may use."""
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return {"all": count, "usable": usable}


def environment() -> dict[str, str]:
    """The variables that homfast reads."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith("HOMFAST_") or name == "OMP_NUM_THREADS"
    }


def _of_processor(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip().lower() == name and value.strip():
            return value.strip()
    return ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
