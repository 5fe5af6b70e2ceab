"""The floating-point mode of this thread: rounding, and what denormals are.

By fegetenv and fesetenv of the C library where their layout is known: MXCSR is the last word of
glibc's fenv_t on x86-64, FPCR the first on aarch64.
"""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class _Register(NamedTuple):
    offset: int  # in fenv_t, in bytes
    controls: int  # all bits but the sticky flags
    modes: dict[str, int]


_REGISTERS = {
    "x86_64": _Register(
        28,
        0xFFC0,
        {"flush": 0x8000, "denormals are zero": 0x0040, "both": 0x8040, "up": 0x4000,
         "down": 0x2000, "towards zero": 0x6000},
    ),
    "aarch64": _Register(
        0,
        0x07C00000,
        {"flush": 1 << 24, "up": 1 << 22, "down": 2 << 22, "towards zero": 3 << 22},
    ),
}  # fmt: skip
DEFAULT = "default"
MODES = (DEFAULT, *_REGISTERS["x86_64"].modes)


def _find_library() -> Any:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    try:
        return ctypes.CDLL("libm.so.6")
    except OSError:
        return None


_libm = _find_library()
_register = _REGISTERS.get(platform.machine()) if _libm else None


def available(mode: str) -> bool:
    """Whether `computing_in` can set it here."""
    return mode == DEFAULT or (_register is not None and mode in _register.modes)


def control() -> int | None:
    """The control bits of this thread, None where they cannot be read."""
    if _register is None:
        return None
    environment = ctypes.create_string_buffer(64)
    _libm.fegetenv(environment)
    return int(struct.unpack_from("<I", environment, _register.offset)[0]) & _register.controls


@contextmanager
def computing_in(mode: str) -> Iterator[None]:
    """Within, this thread has a mode that is `available`; the one it had is put back."""
    if _register is None or mode == DEFAULT:
        yield
        return
    before = ctypes.create_string_buffer(64)
    _libm.fegetenv(before)
    within = ctypes.create_string_buffer(before.raw)
    word = struct.unpack_from("<I", before, _register.offset)[0] | _register.modes[mode]
    struct.pack_into("<I", within, _register.offset, word)
    _libm.fesetenv(within)
    try:
        yield
    finally:
        _libm.fesetenv(before)
