"""Bias-free ReLU networks, layers and measurement operators, compiled.

Positively homogeneous maps, f(t y) = t f(y) for t >= 0, for linear inverse problems: compressed
sensing, single-pixel cameras, MRI, phase retrieval, low-rank recovery.
"""

from homfast._backends import backends
from homfast._version import __version__
from homfast.config import (
    get_num_threads,
    get_target,
    set_batch_invariant,
    set_num_threads,
    set_target,
    show_config,
)
from homfast.layers import linear, linear_relu, linear_relu_backward
from homfast.network import ReLUNetwork
from homfast.training import fit

__all__ = [
    "ReLUNetwork",
    "__version__",
    "backends",
    "construct",
    "fit",
    "get_num_threads",
    "get_target",
    "injectivity",
    "linear",
    "linear_nets",
    "linear_relu",
    "linear_relu_backward",
    "measure",
    "selftest",
    "set_batch_invariant",
    "set_num_threads",
    "set_target",
    "show_config",
]


def __getattr__(name):
    if name in ("construct", "injectivity", "jax", "linear_nets", "measure", "torch"):
        import importlib

        return importlib.import_module(f"homfast.{name}")
    if name == "selftest":
        from homfast.selftesting.run import selftest

        return selftest
    raise AttributeError(f"module 'homfast' has no attribute {name!r}")


def __dir__():
    return sorted(set(__all__) | set(globals()))
