"""The (backend, target) pairs of this machine, best target first, reference last."""

from __future__ import annotations

from dataclasses import dataclass

import homfast
from homfast import _backends
from homfast._backends import native


@dataclass(frozen=True)
class Engine:
    """One way to compute: a backend, and for `native` the target it runs on."""

    backend: str
    target: str | None = None

    def __str__(self):
        return f"{self.backend}-{self.target}" if self.target else self.backend

    @property
    def fused(self):
        """False on matrix units that flush denormals, where the bound has one more term."""
        return self.target != "amx"

    @property
    def module(self):
        return _backends.load(self.backend)

    def use(self):
        """Make its target current."""
        if self.target:
            homfast.set_target(self.target)


def targets():
    """Each target that was compiled, with "available" or the reason why not; {} without native."""
    return {} if native._native is None else dict(native._native.targets())


REFERENCE = Engine("reference")
# Numba is imported, and compiles, in the tests that run on it; a broken one fails them.
NUMBA_ENGINES = [] if _backends.load("numba").why_unavailable() else [Engine("numba")]
NATIVE_ENGINES = [
    Engine("native", name) for name, state in targets().items() if state == "available"
]
