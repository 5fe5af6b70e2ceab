"""The memory that a product on the fly takes beside its input and its result.

Measured in a process of its own, ``python -m homfast.bench.operators_memory FAMILY M N BATCH
PRODUCT THREADS``: the greatest resident size during the first product, less what is resident before
it. ``getrusage`` would not do: its greatest size is inherited from the process that starts another.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from homfast.bench.operators_cases import MemoryProbe

_STATUS = Path("/proc/self/status")
_TIMEOUT = 600


def extra_bytes(probe: MemoryProbe, threads: int) -> int | None:
    """Bytes, the kernels' workspaces among them; None where the system does not tell."""
    if not _STATUS.exists():
        return None
    words = (probe.family, probe.m, probe.n, probe.batch, probe.product, threads)
    command = [sys.executable, "-m", __name__, *map(str, words)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return int(done.stdout) if done.returncode == 0 else None


def main(words: list[str]) -> None:
    """Print what one product takes."""
    import homfast
    from homfast._backends import native

    family, product = words[0], words[4]
    m, n, batch, threads = (int(words[i]) for i in (1, 2, 3, 5))
    if native.is_available():
        homfast.set_num_threads(threads)
    op = getattr(homfast.measure, family)(m, n, seed=7, store=False)
    sizes = {"forward": (n, m), "adjoint": (m, n), "gram": (n, n)}[product]
    x, out = (np.ones((batch, size), op.dtype) for size in sizes)
    call = getattr(op, product)
    before = _kilobytes("VmRSS")
    call(x, out=out)
    print((_kilobytes("VmHWM") - before) * 1024)


def _kilobytes(name: str) -> int:
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


if __name__ == "__main__":
    main(sys.argv[1:])
