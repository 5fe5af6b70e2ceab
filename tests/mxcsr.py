"""The control register of floating point: MXCSR, on aarch64 FPCR.

MXCSR is read and written by four bytes of machine code. Its bits: 0-5 sticky flags, 6 denormals are
zero, 7-12 exception masks, 13-14 rounding, 15 flush to zero. FPCR is read and written by glibc's
fegetmode and fesetmode. Its bits: 22-23 rounding, 24 flush to zero, of operands too.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct

_LINUX = platform.system() == "Linux"
_ARM = _LINUX and platform.machine() == "aarch64"
_X86 = _LINUX and platform.machine() in ("x86_64", "AMD64")
AVAILABLE = _X86 or _ARM
CONTROL = 0x07C00000 if _ARM else 0xFFC0  # all but the sticky flags
FLUSH, DENORMALS_ARE_ZERO = (1 << 24, 1 << 24) if _ARM else (0x8000, 0x0040)
ROUND_DOWN, ROUND_UP = (2 << 22, 1 << 22) if _ARM else (0x2000, 0x4000)

if AVAILABLE:
    _word = ctypes.create_string_buffer(4)
if _ARM:
    _libm = ctypes.CDLL("libm.so.6")
    _store, _load = _libm.fegetmode, _libm.fesetmode
    _store.argtypes = _load.argtypes = [ctypes.c_void_p]
elif _X86:
    _code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    _code.write(b"\x0f\xae\x1f\xc3\x0f\xae\x17\xc3")  # stmxcsr [rdi]; ret; ldmxcsr [rdi]; ret
    _base = ctypes.addressof(ctypes.c_char.from_buffer(_code))
    _call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    _store, _load = _call(_base), _call(_base + 4)


def read():
    """The control bits of this thread."""
    _store(ctypes.addressof(_word))
    return struct.unpack("<I", _word.raw)[0] & CONTROL


def write(value):
    """Set the control bits of this thread, and clear the flags."""
    _word.raw = struct.pack("<I", value)
    _load(ctypes.addressof(_word))
