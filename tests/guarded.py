"""Arrays that lie against a page which may not be touched, at full speed and seen by every load."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE
_PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Guarded:
    """Pages that can be used, between two that trap."""

    def __init__(self, size):
        self.size = -(-max(size, 1) // PAGE) * PAGE
        self._map = mmap.mmap(-1, self.size + 2 * PAGE)
        self._bytes = np.frombuffer(self._map, np.uint8)
        base = self._bytes.ctypes.data
        for page in (base, base + PAGE + self.size):
            if _libc.mprotect(page, PAGE, _PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")

    def place(self, array, edge, fill=0xFF):
        """A copy of ``array`` flush against the ``edge``; every other usable byte is ``fill``."""
        usable = self._bytes[PAGE : PAGE + self.size]
        usable[...] = fill
        start = 0 if edge == "start" else self.size - array.nbytes
        view = usable[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        view[...] = array
        return view

    def written_outside(self, array):
        """Whether a byte beside the array that was placed is no longer the fill."""
        usable = self._bytes[PAGE : PAGE + self.size]
        start = array.ctypes.data - usable.ctypes.data
        beside = usable[:start], usable[start + array.nbytes :]
        return any((part != 0xFF).any() for part in beside)
