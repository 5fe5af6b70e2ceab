"""How kernels are compiled: explicit types, no GIL, no fast math, and a cache that cannot hurt.

Division is NumPy's: by zero it gives an infinity or NaN, where Python's would raise.

Kernels allocate nothing. Numba frees an array after its last use by name, and with it memory that
is still used by address; arguments stay, for the caller holds them.

Numba's cache on disk knows the processor, Numba's version, and the file, byte code and closure of a
function, but neither the other files that went into it nor the constants of an intrinsic. So every
kernel closes over `stamp`, a hash of all files of this package, and over the sizes it is made for.
Where the cache cannot be written or read (a read-only install without a home, a full disk, a broken
file) the kernel is compiled for the process alone.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import caching
from numba.core.errors import NumbaError

from homfast._backends.threads import no_fork

T = TypeVar("T")
_logger = logging.getLogger("homfast")


@functools.cache
def stamp() -> int:
    """A number that changes with any file of this package."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        try:
            digest.update(path.read_bytes())
        except OSError:  # within an archive: the files are as old as the archive
            digest.update(path.name.encode())
    return int.from_bytes(digest.digest()[:7], "little")


def made_once(make: Callable[[np.dtype], T]) -> Callable[[np.dtype], T]:
    """`functools.cache` for what compiles, by one thread at a time, and none forks meanwhile.

    A child would wait for ever for the locks of Numba and LLVM that another thread held.
    """
    made = functools.cache(make)

    @functools.wraps(make)
    def once(dtype: np.dtype) -> T:
        with no_fork:
            return made(dtype)

    return once


# What reading or writing a cache ends in; another error is a signal handler's.
_OF_A_CACHE = (
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    caching.pickle.PickleError,
    NumbaError,
)


def compile_kernel(function: Callable[..., Any], *signatures: Any) -> Callable[..., Any]:
    """`function` compiled for these argument types and no others, which run without the GIL."""
    for cache in (True, False):
        try:
            compiled = numba.njit(nogil=True, cache=cache, error_model="numpy")(function)
            for signature in signatures:
                compiled.compile(signature)
            compiled.disable_compile()
        except _OF_A_CACHE as error:
            if not cache:
                raise
            _logger.debug("%s: Numba's cache is not used: %s", function.__qualname__, error)
        else:
            return compiled
    raise AssertionError("unreachable")
