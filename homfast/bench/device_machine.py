"""A CUDA device as ``homfast bench`` sees it: arrays there, time by events, and what it is."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from homfast import _backends, _places
from homfast._arrays import BFLOAT16, is_bfloat16
from homfast.bench import machine

_MOST_COPIES = 512  # of the operands of small shapes, which then stay within the L2 cache


class Machine:
    """The device of `like`, an array of a library that computes there.

    A library is a subclass with `event`, `seconds`, `properties` and `versions`.
    """

    def __init__(self, like: Any):
        self.like = like
        self._place = _places.place_of(like)

    def upload(self, array: np.ndarray) -> Any:
        """A copy of a host array there."""
        if is_bfloat16(array.dtype):
            array = array.view(BFLOAT16)
        return self._place.upload(np.ascontiguousarray(array), self.like)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An array there."""
        return self._place.empty(shape, np.dtype(dtype), self.like)

    def assign(self, array: Any, values: Any) -> None:
        """array[...] = values, by the library's copy."""
        self._place.assign(array, values)

    def event(self) -> Any:
        """A CUDA event, recorded on the current stream."""
        raise NotImplementedError

    def seconds(self, first: Any, last: Any) -> float:
        """Between two events, of which `last` is waited for."""
        raise NotImplementedError

    def properties(self) -> dict[str, Any]:
        """``device``, ``compute_capability``, ``l2_bytes`` and ``memory_bytes``."""
        raise NotImplementedError

    @property
    def backend(self) -> str:
        """The name of ours that computes there."""
        return str(_backends.resolve(None, self.like).name)

    def copies(self, read_bytes: int) -> int:
        """So many copies of operands that one has left the L2 cache when its turn comes again."""
        cached = int(self.properties()["l2_bytes"])
        return min(_MOST_COPIES, 1 + -(-cached // max(1, read_bytes)))

    def describe(self, peers: Iterable[Any]) -> dict[str, Any]:
        """The machine line as a dictionary: the device, its driver, and the host that launches."""
        host = machine.describe(1, peers)
        host = {key: host[key] for key in host if key not in ("target", "threads")}
        return {**self.properties(), "driver": driver(), **host, "backend": self.backend}


class TorchMachine(Machine):
    """PyTorch's."""

    def event(self) -> Any:
        event = importlib.import_module("torch").cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, first: Any, last: Any) -> float:
        last.synchronize()
        return float(first.elapsed_time(last)) / 1e3

    def properties(self) -> dict[str, Any]:
        found = importlib.import_module("torch").cuda.get_device_properties(self.like.device)
        return {
            "device": found.name,
            "compute_capability": f"{found.major}.{found.minor}",
            "l2_bytes": int(found.L2_cache_size),
            "memory_bytes": int(found.total_memory),
        }


class CupyMachine(Machine):
    """CuPy's."""

    def event(self) -> Any:
        event = importlib.import_module("cupy").cuda.Event()
        event.record()
        return event

    def seconds(self, first: Any, last: Any) -> float:
        last.synchronize()
        return float(importlib.import_module("cupy").cuda.get_elapsed_time(first, last)) / 1e3

    def properties(self) -> dict[str, Any]:
        runtime = importlib.import_module("cupy").cuda.runtime
        found = runtime.getDeviceProperties(self.like.device.id)
        return {
            "device": found["name"].decode(),
            "compute_capability": f"{found['major']}.{found['minor']}",
            "l2_bytes": int(found["l2CacheSize"]),
            "memory_bytes": int(found["totalGlobalMem"]),
        }


class EventClock:
    """Seconds on the device, read by an event that is waited for.

    An event's time is a float32 of milliseconds since another: each reading is taken from the one
    before and added, so that what lies between two of them is exact however long the process runs.
    """

    def __init__(self, at: Machine):
        self._machine, self._last, self._now = at, at.event(), 0.0

    def __call__(self) -> float:
        event = self._machine.event()
        self._now += self._machine.seconds(self._last, event)
        self._last = event
        return self._now


def find() -> Machine:
    """The device that the public functions would compute on.

    Raises
    ------
    RuntimeError
        It cannot be had; the message has the reason of each backend, and what to do.
    """
    from homfast.recovery import devices

    like = devices.array_of_cuda()
    library = type(like).__module__.partition(".")[0]
    return {"torch": TorchMachine, "cupy": CupyMachine}[library](like)


def line(description: dict[str, Any]) -> str:
    """`Machine.describe`'s dictionary as one line."""
    versions = ", ".join(f"{name} {version}" for name, version in description["versions"].items())
    return (
        f"{description['device']}, compute capability {description['compute_capability']}, "
        f"{description['l2_bytes'] / 2**20:.0f} MiB of L2, driver {description['driver']} "
        f"(backend {description['backend']}); {description['cpu']}; {versions}, "
        f"Python {description['python']}; commit {description['commit'] or 'unknown'}"
    )


def driver(path: str = "/proc/driver/nvidia/version") -> str:
    """The version of the kernel's driver, "unknown" where that is not told."""
    try:
        first = Path(path).read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return "unknown"
    found = re.search(r"\b\d+\.\d+(\.\d+)*\b", first)
    return found.group() if found else "unknown"
