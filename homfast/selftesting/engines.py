"""The (backend, target) pairs of this machine, best target first, reference last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import homfast
from homfast import _backends
from homfast._backends import native, threads


@dataclass(frozen=True)
class Engine:
    """One way to compute: a backend, and for `native` the target it runs on."""

    backend: str
    target: str | None = None

    def __str__(self) -> str:
        return f"{self.backend}-{self.target}" if self.target else self.backend

    @property
    def fused(self) -> bool:
        """False on matrix units that flush denormals, where the bound has one more term."""
        return self.target != "amx"

    @property
    def keeps_bits(self) -> bool:
        """Whether a row's bits are promised (contract, 2); `reference` has those of its library."""
        return self.backend in ("native", "numba")

    @property
    def module(self) -> ModuleType:
        return _backends.load(self.backend)

    def use(self) -> None:
        """Make its target current."""
        if self.target:
            homfast.set_target(self.target)


REFERENCE = Engine("reference")


def targets() -> dict[str, str]:
    """Each target that was compiled, with "available" or the reason why not; {} without native."""
    return {} if native._native is None else dict(native._native.targets())


def engines() -> list[Engine]:
    """Those that compute here with arrays on the CPU."""
    found = [Engine("native", name) for name, state in targets().items() if state == "available"]
    if not _backends.load("numba").why_unavailable():
        found.append(Engine("numba"))
    return [*found, REFERENCE]


def absent() -> dict[str, str]:
    """What does not compute here, by name, and why."""
    reasons = {
        str(Engine("native", name)): state
        for name, state in targets().items()
        if state != "available"
    }
    for name, state in _backends.backends().items():
        if name in _backends.GPU_NAMES and state == "available":
            reasons[name] = "takes arrays of a GPU, and this test makes arrays on the CPU"
        elif state != "available":
            reasons[name] = state
    return reasons


@contextmanager
def computing_on(engine: Engine) -> Iterator[None]:
    """Within, operators compute on `engine` too; process-wide settings are put back after it."""
    automatic, count = _backends._automatic, _thread_count()
    extension = native._native
    if extension is not None:
        target, invariant = homfast.get_target(), extension.get_batch_invariant()
    try:
        engine.use()
        _backends._automatic = engine.module
        yield
    finally:
        _backends._automatic = automatic
        if count:
            threads.set_num_threads(count)
        if extension is not None:
            homfast.set_target(target)
            extension.set_batch_invariant(invariant)


def _thread_count() -> int:
    """That which can be set; 0 where the reference alone computes."""
    try:
        return homfast.get_num_threads()
    except RuntimeError:
        return 0
