"""Whether an operator keeps its matrix: the rule of ``store="auto"``.

Products give the same bits either way; what is chosen here is time and memory. The rule looks at
the size of the matrix, at what its entries are, and at what the machine has in all, not at what is
free just now: an operator does the same in every run.

- What takes more than a quarter of the memory is made on the fly: a stored matrix is held plain,
  and packed for each of its two products.
- Signs are made on the fly from 8 MiB on, where the backend makes them faster than it reads them.
  One row times a stored matrix is bound by memory. Time stored over time on the fly, AVX2, one
  thread, float32, forward and adjoint; below, both run from the cache:

      matrix        1 row       16 rows     64 rows
        2 MiB    0.89  0.74   0.84  0.79   0.99  0.97
       16 MiB    1.47  1.07   1.15  1.10   1.00  1.01
      128 MiB    2.21  1.63   1.19  1.10   1.00  1.03

- Normal entries are stored while they fit: made on the fly they take 9 to 11 times as long with one
  row, and 1.3 times with 256.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _backends, _memory

_COPIES = 4  # of the matrix that must fit for it to be stored
_CACHED = 8 << 20  # bytes of a matrix of signs that is worth storing


def is_stored(store: bool | str, size: int, signs: bool = False) -> bool:
    """Whether a matrix of `size` bytes is to be stored; `signs`: its entries are +1 and -1."""
    if store != "auto":
        return bool(store)
    if signs and size >= _CACHED and _backends.automatic().fast_signs:
        return False
    return _COPIES * size <= _memory.capacity()


def check_store(store: Any) -> bool | str:
    """`store` as "auto", True or False."""
    if isinstance(store, str) and store == "auto":
        return store
    if not isinstance(store, (bool, np.bool_)):
        raise ValueError(f"store: got {store!r}, wanted 'auto', True or False")
    return bool(store)
