"""The control and status register of SSE, read and written by four bytes of machine code.

Bits: 0-5 sticky flags, 6 denormals are zero, 7-12 exception masks, 13-14 rounding, 15 flush to
zero.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct

AVAILABLE = platform.machine() in ("x86_64", "AMD64") and platform.system() == "Linux"
CONTROL = 0xFFC0  # all but the sticky flags
FLUSH, DENORMALS_ARE_ZERO = 0x8000, 0x0040
ROUND_DOWN, ROUND_UP = 0x2000, 0x4000

if AVAILABLE:
    _code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    _code.write(b"\x0f\xae\x1f\xc3\x0f\xae\x17\xc3")  # stmxcsr [rdi]; ret; ldmxcsr [rdi]; ret
    _base = ctypes.addressof(ctypes.c_char.from_buffer(_code))
    _call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    _store, _load = _call(_base), _call(_base + 4)
    _word = ctypes.create_string_buffer(4)


def read():
    """The control bits of this thread."""
    _store(ctypes.addressof(_word))
    return struct.unpack("<I", _word.raw)[0] & CONTROL


def write(value):
    """Set the control bits of this thread, and clear the flags."""
    _word.raw = struct.pack("<I", value)
    _load(ctypes.addressof(_word))
