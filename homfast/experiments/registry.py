"""The experiments by name, in the order of the theory. Modules are imported when they run."""

from __future__ import annotations

import importlib
from types import ModuleType

EXPERIMENTS = (
    "one-layer-bound",
    "two-layers-recover",
    "structure",
    "rip",
    "low-rank",
    "phase-retrieval",
    "universality",
    "activation",
    "lipschitz",
    "injectivity-threshold",
    "inverse-stability",
    "digits-not-injective",
    "convolution",
    "generative-prior",
    "injective-networks",
    "deep-linear",
)


def load(name: str) -> ModuleType:
    """The module of an experiment.

    Raises
    ------
    ValueError
        An unknown name; the message lists the names.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"name: got {name!r}, wanted one of {', '.join(EXPERIMENTS)}")
    return importlib.import_module(f"homfast.experiments.{name.replace('-', '_')}")
